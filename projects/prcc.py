"""Pretraining on kidney tiles: an autoencoder learns from unlabelled pRCC images; its encoder is registered.

    mlflow run . -e prcc -P data=DIR

About eight minutes on two cores for the 576 tiles of 256 px that it was developed on. Registers
`hemacell-prcc-encoder`. A linear code of the same size is scored too, to show what the network adds.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hemacell.cli import main
from hemacell.config.jobs import PrccSettings
from hemacell.tracking.schema import MODEL_SUMMARY

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.jobs.context import RunContext

logger = logging.getLogger(__name__)


def run(settings: PrccSettings) -> str:
    """Pretrain, evaluate, log and register; returns the id of the run that holds the result."""
    from hemacell.data.sources.resolve import read_manifest
    from hemacell.data.splits import prcc_splits
    from hemacell.data.subsets import limit
    from hemacell.jobs.context import start_job

    job = start_job("prcc", settings)
    manifest = prcc_splits(read_manifest(job.source.root, "prcc"))
    if job.settings.limit:
        manifest = limit(manifest, job.settings.limit)
    key = job.key({"data": manifest.digest})
    return job.finished(key) or _train(job, manifest, key)


def _train(job: RunContext[PrccSettings], manifest: Manifest, key: str) -> str:
    import torch

    from hemacell.core.progress import Progress
    from hemacell.data.decoding import tile_pieces
    from hemacell.encoders.autoencoder import Autoencoder
    from hemacell.encoders.description import EncoderConfig
    from hemacell.jobs.images import log_training_images
    from hemacell.jobs.reconstruction import evaluate_reconstructions, pictures_of
    from hemacell.jobs.training import register_encoder, set_up, train
    from hemacell.training.tasks.tiles import tile_task

    settings, device = job.settings, set_up(job)
    size, progress = 2 * settings.tile_size, Progress("decoding")
    tiles = tile_pieces(manifest, size, job.cache, settings.pieces, settings.max_bad, progress=progress)
    with job.open(manifest, key) as run:
        log_training_images(job, run, manifest, tiles, tiles.rows_of_splits()["train"])
        torch.manual_seed(settings.seed)
        network = Autoencoder(latent_channels=settings.latent_channels)
        run.text(str(network), MODEL_SUMMARY)
        task = tile_task(tiles, settings, device, pictures_of(run))
        steps = settings.training_steps(len(task.rows))
        trained = train(job, run, task, network, steps)
        scores, val_images = evaluate_reconstructions(job, run, tiles, trained.network, steps)
        body = {"widths": list(network.widths), "latent_channels": settings.latent_channels}
        config = EncoderConfig(kind="autoencoder", body=body, input_size=96)
        weights = trained.network.state_dict()
        uri = register_encoder(job, run, manifest, config, weights, trained.val_score, val_images, scores)
        job.cleanup(run)
    logger.info(
        f"prcc: test SSIM {scores['ssim']:.3f}, PSNR {scores['psnr']:.1f} dB on {len(manifest.part('test'))} tiles "
        f"(linear code of the same size: {scores['ssim_linear']:.3f}, {scores['psnr_linear']:.1f} dB); "
        f"{uri}, run {run.run_id}"
    )
    return run.run_id


if __name__ == "__main__":
    main(PrccSettings, run)
