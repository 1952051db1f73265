"""Pretraining on kidney tiles: an autoencoder learns from unlabelled pRCC images; its encoder is registered.

    mlflow run . -e prcc -P data=DIR

About eight minutes on two cores for the 576 tiles of 256 px that it was developed on. Registers
`hemacell-prcc-encoder`. Beside the network stands a linear code of the same size, so that one sees what the network
adds.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hemacell.cli import main
from hemacell.config.jobs import PrccSettings

if TYPE_CHECKING:
    import numpy as np
    import torch

    from hemacell.data.manifest import Manifest
    from hemacell.jobs.context import RunContext

logger = logging.getLogger(__name__)


def run(settings: PrccSettings) -> str:
    """Pretrain, evaluate, log and register; returns the id of the run that holds the result."""
    from hemacell.data import splits
    from hemacell.data.sources.resolve import read_manifest
    from hemacell.jobs.context import start_job

    job = start_job("prcc", settings)
    manifest = splits.prcc_splits(read_manifest(job.source.root, "prcc"))
    if job.settings.limit:
        from hemacell.data.subsets import limit

        manifest = limit(manifest, job.settings.limit)
    key = job.key({"data": manifest.digest})
    return job.finished(key) or _train(job, manifest, key)


def _train(job: RunContext[PrccSettings], manifest: Manifest, key: str) -> str:
    import numpy as np
    import torch

    from hemacell.core.device import chosen_device
    from hemacell.core.progress import Progress
    from hemacell.core.threads import set_threads
    from hemacell.data import decoding, splits
    from hemacell.encoders.autoencoder import Autoencoder, reconstruct
    from hemacell.encoders.description import EncoderConfig
    from hemacell.encoders.frozen import save_encoder
    from hemacell.encoders.patch_pca import PatchPCA
    from hemacell.encoders.registry import ENCODERS
    from hemacell.evaluation.image_metrics import image_metrics, ssim_per_image
    from hemacell.evaluation.paired import mean_by_image
    from hemacell.jobs.data_checks import log_channel_stats, report_unreadable
    from hemacell.jobs.training import train
    from hemacell.reporting import figures, model_card
    from hemacell.tracking import registry
    from hemacell.tracking.schema import MODEL_SUMMARY, RECONSTRUCTIONS
    from hemacell.training.tasks.tiles import TileTask, resize_tiles

    settings = job.settings
    set_threads(job.threads)
    device = chosen_device(settings.device)
    tiles = decoding.tile_pieces(
        manifest, 2 * settings.tile_size, job.cache, settings.pieces, settings.max_bad, progress=Progress("decoding")
    )
    rows = {split: np.flatnonzero(tiles.manifest.table["split"] == split) for split in ("train", "val", "test")}
    steps = settings.training_steps(len(rows["train"]))
    with job.open(manifest, key) as run:
        run.data_input(manifest.digest32, manifest.name, str(job.source.root), manifest.counts(), "training")
        report_unreadable(run, tiles.bad)
        if settings.channel_stats:
            log_channel_stats(run, tiles.array, rows["train"])
        torch.manual_seed(settings.seed)
        network = Autoencoder(latent_channels=settings.latent_channels)
        run.text(str(network), MODEL_SUMMARY)
        shown = iter(range(10**9))

        def show(originals: torch.Tensor, restored: torch.Tensor) -> None:
            picture = figures.reconstructions(
                _pixels(originals), _pixels(restored), ssim_per_image(originals, restored)
            )
            run.figure(picture, f"reconstructions/{next(shown):02}.png")

        task = TileTask(
            tiles.array,
            rows["train"],
            rows["val"],
            size=settings.tile_size,
            batch_size=settings.batch_size,
            seed=settings.seed,
            l1_loss_weight=settings.l1_loss_weight,
            device=device,
            show=show,
        )
        trained = train(job, run, task, network, steps)

        test = resize_tiles(tiles.array[rows["test"]], settings.tile_size)
        restored = reconstruct(trained.network, test.to(device)).cpu()
        scores = image_metrics(test, restored)
        val = resize_tiles(tiles.array[rows["val"]], settings.tile_size)
        restored_val = reconstruct(trained.network, val.to(device)).cpu()
        side = 8  # 9 numbers a patch of 8 x 8: the very size of the code of 36 channels at 1/16
        components = max(1, settings.latent_channels * side**2 // 16**2)
        linear = PatchPCA(side, components).fit(
            resize_tiles(tiles.array[rows["train"]], settings.tile_size), settings.seed
        )
        baseline = image_metrics(test, linear.reconstruct(test))
        run.metrics({f"test/{name}": value for name, value in scores.items()}, steps)
        run.metrics({f"test/{name}_linear": value for name, value in baseline.items()}, steps)
        run.figure(
            figures.reconstructions(_pixels(test), _pixels(restored), ssim_per_image(test, restored)),
            RECONSTRUCTIONS,
        )

        config = EncoderConfig(
            kind="autoencoder",
            body={"widths": list(network.widths), "latent_channels": settings.latent_channels},
            input_size=96,
        )
        val_score = trained.history[-1]["val/ssim"]
        with registry.scratch() as folder:
            version = registry.register(
                save_encoder(folder, config, trained.network.state_dict()),
                ENCODERS["prcc"].registered_name,
                run=run,
                model="encoder",
                kind=job.source.kind,
                trial=settings.limit > 0,
                val_score=val_score,
                val_images=mean_by_image(tiles.manifest.select(rows["val"]), ssim_per_image(val, restored_val)),
                cache=job.cache,
                card=model_card.encoder_card(
                    "pRCC autoencoder", job, manifest, {f"test/{k}": v for k, v in scores.items()}
                ),
            )
        job.cleanup(run)
    sizes = splits.split_counts(manifest)
    logger.info(
        f"prcc: test SSIM {scores['ssim']:.3f}, PSNR {scores['psnr']:.1f} dB on {sizes['test']} tiles "
        f"(linear code of the same size: {baseline['ssim']:.3f}, {baseline['psnr']:.1f} dB); "
        f"{version.uri}, run {run.run_id}"
    )
    return run.run_id


def _pixels(images: torch.Tensor) -> np.ndarray:
    """Float [N, 3, H, W] in 0..1 -> uint8 [N, H, W, 3]."""
    return (images.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()


if __name__ == "__main__":
    main(PrccSettings, run)
