"""Any registered classifier on any labelled folder, compared with the scores on its own test images.

    mlflow run . -e evaluate -P model=models:/hemacell-wbc@champion -P data=DIR
    mlflow run . -e evaluate -P model=models:/hemacell-wbc/3 -P data=DIR -P crop=1.0

DIR is a folder of class folders, of another laboratory for instance, or one of the course layout, of which the test
split is taken. Nothing is trained and nothing registered.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hemacell.cli import main
from hemacell.config.jobs import EvaluateSettings

if TYPE_CHECKING:
    from pathlib import Path

    from hemacell.data.manifest import Manifest
    from hemacell.jobs.context import RunContext
    from hemacell.tracking.registry.lookup import RegisteredModel
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)


def run(settings: EvaluateSettings) -> str:
    """Score, compare and log; returns the id of the run that holds the result."""
    from hemacell.data.masks import masks_digest
    from hemacell.data.sources.labelled import labelled_images
    from hemacell.data.subsets import limit
    from hemacell.jobs.context import start_job
    from hemacell.tracking.registry.classifiers import classes_of, find_classifier
    from hemacell.tracking.registry.lookup import fetch

    job = start_job("evaluate", settings)
    model = find_classifier(settings.model, job.source.kind)
    folder = fetch(model, job.cache)
    images = labelled_images(job.source.root, classes_of(folder), settings.wbc_folder, settings.split)
    if settings.limit:
        images = limit(images, settings.limit)
    inputs = {"model": model.model_id, "data": images.digest, "masks": masks_digest(images)}
    key = job.key(inputs)
    run_id = job.finished(key)
    if not run_id:
        with job.open(images, key) as opened:
            run_id = opened.run_id
            _evaluate(job, opened, model, folder, images)
    _show(run_id)
    return run_id


def _evaluate(
    job: RunContext[EvaluateSettings], run: Tracker, model: RegisteredModel, folder: Path, images: Manifest
) -> None:
    from hemacell.classifiers.folder import load_folder
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.core.errors import UserError
    from hemacell.core.progress import Progress
    from hemacell.core.threads import set_threads
    from hemacell.data import decoding
    from hemacell.jobs.data_checks import report_problems, report_unreadable
    from hemacell.jobs.evaluation import acceptance_of, compare_with_own_test, evaluate_and_log
    from hemacell.tracking.registry.classifiers import doubts

    settings = job.settings
    set_threads(job.threads)
    run.model_inputs([model.uri], "classifier")
    run.data_input(images.digest32, images.name, str(job.source.root), images.counts(), "evaluation")
    tags, doubtful = doubts(model, folder, images)
    run.tags({**report_problems(images), **tags})

    predictor = load_folder(folder, settings.precision, settings.device, settings.crop)
    cells = decoding.decode(
        images, predictor.config.decoded_size, job.cache, settings.max_bad, progress=Progress("decoding")
    )
    report_unreadable(run, cells.bad)
    if not len(cells):
        raise UserError(f"{images.root}: none of its {len(images)} images can be read: check the files")
    found = predictor.predict_pixels(cells.array, progress=Progress("scoring"))
    config = predictor.config
    evaluation = evaluate_and_log(
        run,
        cells.manifest,
        found.probabilities,
        cells.array,
        acceptance=acceptance_of(config, found),
        grad_cam=GradCAM.if_possible(predictor),
    )
    facts = {
        "images": f"{len(cells)} of {images.root} (sha256 of the set {images.digest[:16]}…)",
        "crop": f"{config.crop:g} of the image's side",
    }
    compare_with_own_test(run, evaluation, model, facts, doubtful, settings.resamples)


def _show(run_id: str) -> None:
    from hemacell.reporting.reference_tables import reference_table
    from hemacell.tracking.runs.reference_scores import comparison_of

    rows, warnings = comparison_of(run_id)
    print(reference_table(rows))
    for line in warnings:
        logger.warning(line)
    logger.info(f"evaluate: comparison.md and all other scores are in run {run_id}")


if __name__ == "__main__":
    main(EvaluateSettings, run)
