"""Pretraining on lymph node patches: an ImageNet backbone learns normal against tumor; it is registered as an encoder.

    mlflow run . -e camelyon -P data=DIR

About three minutes on two cores for the 2400 training patches that it was developed on. Registers
`hemacell-camelyon-encoder`: the whole backbone, fine-tuned, without its head.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hemacell.cli import main
from hemacell.config.jobs import CamelyonSettings
from hemacell.tracking.schema import MODEL_SUMMARY, ROC

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.jobs.context import RunContext

logger = logging.getLogger(__name__)


def run(settings: CamelyonSettings) -> str:
    """Fine-tune, evaluate, log and register; returns the id of the run that holds the result."""
    from hemacell.core.files import sha256_of
    from hemacell.data.sources.base import SourceOptions
    from hemacell.data.sources.resolve import read_manifest
    from hemacell.data.splits import official_splits
    from hemacell.data.subsets import limit
    from hemacell.jobs.context import start_job

    job = start_job("camelyon", settings)
    options = SourceOptions(masks=job.settings.masks == "on", classes=job.settings.classes, group=job.settings.group)
    manifest = official_splits(read_manifest(job.source.root, "camelyon", options))
    if job.settings.limit:
        manifest = limit(manifest, job.settings.limit)
    weights = Path(job.settings.weights).expanduser()  # a file may change under its name
    key = job.key({"data": manifest.digest, "weights": sha256_of(weights) if weights.is_file() else ""})
    return job.finished(key) or _train(job, manifest, key)


def _train(job: RunContext[CamelyonSettings], manifest: Manifest, key: str) -> str:
    import torch

    from hemacell.encoders.description import EncoderConfig
    from hemacell.encoders.timm_backbone import Backbone, create_backbone
    from hemacell.evaluation.paired import right_by_image
    from hemacell.jobs.copies import report_findings
    from hemacell.jobs.evaluation import evaluate_and_log
    from hemacell.jobs.images import decode, log_training_images
    from hemacell.jobs.training import register_encoder, set_up, train
    from hemacell.reporting.figures import roc
    from hemacell.training.tasks.patches import patch_probabilities, patch_task

    settings, device = job.settings, set_up(job)
    torch.manual_seed(settings.seed)
    network = Backbone(create_backbone(settings.arch, settings.weights, len(manifest.classes)))
    patches = decode(job, manifest, settings.patch_size)
    rows = patches.rows_of_splits()
    with job.open(manifest, key) as run:
        log_training_images(job, run, manifest, patches, rows["train"])
        report_findings(job, run, patches)
        run.text(str(network), MODEL_SUMMARY)
        task = patch_task(patches, settings, device)
        steps = settings.training_steps(len(task.rows))
        trained = train(job, run, task, network, steps)
        val, test = (
            patch_probabilities(trained.network, patches.array, rows[split], task.size, 8, settings.precision)
            for split in ("val", "test")
        )
        parts = {split: patches.manifest.select(rows[split]) for split in ("val", "test")}
        scores = evaluate_and_log(run, parts["test"], test, patches.array[rows["test"]], step=steps).scores
        run.figure(roc(parts["test"].labels, test, manifest.classes), ROC)
        config = EncoderConfig(kind="backbone", body={"arch": settings.arch}, input_size=settings.patch_size)
        val_images = right_by_image(parts["val"], val)
        backbone = cast(Backbone, trained.network).network
        backbone.reset_classifier(0)
        uri = register_encoder(job, run, manifest, config, backbone.state_dict(), trained.val_score, val_images, scores)
        job.cleanup(run)
    said = f"test accuracy {scores['accuracy']:.3f}, AUROC {scores['auroc']:.3f} on {len(parts['test'])} patches"
    logger.info(f"camelyon: {said}; {uri}, run {run.run_id}")
    return run.run_id


if __name__ == "__main__":
    main(CamelyonSettings, run)
