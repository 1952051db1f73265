"""Pretraining on lymph node patches: an ImageNet backbone learns normal against tumor; it is registered as an encoder.

    mlflow run . -e camelyon -P data=DIR

About three minutes on two cores for the 2400 training patches that it was developed on. Registers
`hemacell-camelyon-encoder`: the whole backbone, fine-tuned, without its head.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hemacell.cli import main
from hemacell.config.jobs import CamelyonSettings

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.jobs.context import RunContext

logger = logging.getLogger(__name__)


def run(settings: CamelyonSettings) -> str:
    """Fine-tune, evaluate, log and register; returns the id of the run that holds the result."""
    from hemacell.data import splits
    from hemacell.data.sources.base import SourceOptions
    from hemacell.data.sources.resolve import read_manifest
    from hemacell.data.subsets import limit
    from hemacell.jobs.context import start_job

    job = start_job("camelyon", settings)
    manifest = splits.official_splits(
        read_manifest(job.source.root, "camelyon", SourceOptions(masks=job.settings.masks == "on"))
    )
    if job.settings.limit:
        manifest = limit(manifest, job.settings.limit)
    key = job.key({"data": manifest.digest, "weights": _weights_digest(job.settings.weights)})
    return job.finished(key) or _train(job, manifest, key)


def _weights_digest(weights: str) -> str:
    """sha256 of a file with weights, which may change under its name; '' for a word such as imagenet."""
    import hashlib
    from pathlib import Path

    file = Path(weights).expanduser()
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _train(job: RunContext[CamelyonSettings], manifest: Manifest, key: str) -> str:
    from typing import cast

    import torch

    from hemacell.core.device import chosen_device
    from hemacell.core.progress import Progress
    from hemacell.core.threads import set_threads
    from hemacell.data import decoding, splits
    from hemacell.data.augmentation import AugmentationConfig
    from hemacell.data.balance import balanced, class_weights
    from hemacell.encoders.description import EncoderConfig
    from hemacell.encoders.frozen import save_encoder
    from hemacell.encoders.registry import ENCODERS
    from hemacell.encoders.timm_backbone import Backbone, create_backbone
    from hemacell.evaluation.paired import right_by_image
    from hemacell.jobs.data_checks import log_channel_stats, report_problems, report_unreadable
    from hemacell.jobs.evaluation import evaluate_and_log
    from hemacell.jobs.training import train
    from hemacell.reporting import figures, model_card
    from hemacell.tracking import registry
    from hemacell.tracking.schema import MODEL_SUMMARY, ROC
    from hemacell.training.tasks.patches import PatchTask, patch_probabilities

    settings = job.settings
    set_threads(job.threads)
    device = chosen_device(settings.device)
    torch.manual_seed(settings.seed)
    network = Backbone(create_backbone(settings.arch, settings.weights, len(manifest.classes)))
    patches = decoding.decode(manifest, settings.patch_size, job.cache, settings.max_bad, progress=Progress("decoding"))
    parts = {split: patches.manifest.part(split) for split in ("train", "val", "test")}
    rows = {split: patches.rows(part) for split, part in parts.items()}
    chosen, sampler_weights = balanced(parts["train"].labels, settings.balance)
    steps = settings.training_steps(len(chosen))
    with job.open(manifest, key, report_problems(manifest)) as run:
        run.data_input(manifest.digest32, manifest.name, str(job.source.root), manifest.counts(), "training")
        report_unreadable(run, patches.bad)
        if settings.channel_stats:
            log_channel_stats(run, patches.array, rows["train"])
        run.text(str(network), MODEL_SUMMARY)
        task = PatchTask(
            patches.array,
            rows["train"][chosen],
            parts["train"].labels[chosen],
            rows["val"],
            parts["val"].labels,
            size=settings.patch_size,
            batch_size=settings.batch_size,
            seed=settings.seed,
            augmentation=AugmentationConfig(**settings.augmentation),
            label_smoothing=settings.label_smoothing,
            class_weights=class_weights(parts["train"].labels, len(manifest.classes))
            if settings.class_weights
            else None,
            sampler_weights=sampler_weights,
            precision=settings.precision,
            device=device,
        )
        trained = train(job, run, task, network, steps)
        probabilities = patch_probabilities(
            trained.network, patches.array, rows["test"], settings.patch_size, 8, settings.precision
        )
        val_probabilities = patch_probabilities(
            trained.network, patches.array, rows["val"], settings.patch_size, 8, settings.precision
        )
        pixels = patches.array[rows["test"]]
        scores = evaluate_and_log(run, parts["test"], probabilities, pixels, step=steps).scores
        run.figure(figures.roc(parts["test"].labels, probabilities, manifest.classes), ROC)

        backbone = cast(Backbone, trained.network).network
        backbone.reset_classifier(0)
        config = EncoderConfig(kind="backbone", body={"arch": settings.arch}, input_size=settings.patch_size)
        val_scores = [row[task.monitor] for row in trained.history]
        with registry.scratch() as folder:
            version = registry.register(
                save_encoder(folder, config, backbone.state_dict()),
                ENCODERS["camelyon"].registered_name,
                run=run,
                model="encoder",
                kind=job.source.kind,
                trial=settings.limit > 0,
                val_score=max(val_scores) if settings.checkpoint_selection == "best" else val_scores[-1],
                val_images=right_by_image(parts["val"], val_probabilities),
                cache=job.cache,
                card=model_card.encoder_card(
                    "Camelyon16 backbone", job, manifest, {f"test/{k}": v for k, v in scores.items()}
                ),
            )
        job.cleanup(run)
    logger.info(
        f"camelyon: test accuracy {scores['accuracy']:.3f}, AUROC {scores['auroc']:.3f} "
        f"on {splits.split_counts(manifest)['test']} patches; {version.uri}, run {run.run_id}"
    )
    return run.run_id


if __name__ == "__main__":
    main(CamelyonSettings, run)
