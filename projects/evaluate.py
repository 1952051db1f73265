"""Any registered classifier on any labelled folder, compared with the scores on its own test images.

    mlflow run . -e evaluate -P model=models:/hemacell-wbc@champion -P data=DIR
    mlflow run . -e evaluate -P model=models:/hemacell-wbc/3 -P data=DIR -P crop=1.0

DIR is a folder of class folders, of another laboratory for instance, or one of the course layout, of which the test
split is taken; or whole fields with boxes (a table, VOC, COCO, YOLO), whose cells are found and classified. Nothing is
trained and nothing registered.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hemacell.cli import main
from hemacell.config.jobs import EvaluateSettings

if TYPE_CHECKING:
    from hemacell.jobs.context import RunContext
    from hemacell.jobs.labelled import Labelled
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)


def run(settings: EvaluateSettings) -> str:
    """Score, compare and log; returns the id of the run that holds the result."""
    from hemacell.data.groups import groups_digest
    from hemacell.data.masks import masks_digest
    from hemacell.jobs.context import start_job
    from hemacell.jobs.field_evaluation import are_fields, run_on_fields
    from hemacell.jobs.labelled import find_labelled

    job = start_job("evaluate", settings)
    if are_fields(job):
        return run_on_fields(job)
    found = find_labelled(job, job.settings.split)
    images = found.images
    inputs = {"data": images.digest, "groups": groups_digest(images), "masks": masks_digest(images)}
    key = job.key({"model": found.model.model_id, **inputs})
    run_id = job.finished(key)
    if not run_id:
        with job.open(images, key) as opened:
            run_id = opened.run_id
            _evaluate(job, opened, found)
    _show(run_id)
    return run_id


def _evaluate(job: RunContext[EvaluateSettings], run: Tracker, labelled: Labelled) -> None:
    from hemacell.config.laboratories import laboratory_name
    from hemacell.evaluation.groups import units_in_a_sentence
    from hemacell.jobs.copies import report_findings
    from hemacell.jobs.evaluation import compare_with_own_test, embed_images, evaluate_adapted, evaluate_images
    from hemacell.jobs.labelled import load_labelled
    from hemacell.tracking.registry.classifiers import doubts

    settings, images = job.settings, labelled.images
    tags, doubtful = doubts(labelled.model, labelled.folder, images)
    run.tags(tags)
    model, cells = load_labelled(job, run, labelled, "evaluation", settings.precision, settings.device, settings.crop)
    report_findings(job, run, cells.whole)
    embedded = embed_images(model, cells, "images") if settings.adapt else None
    evaluation = evaluate_images(run, model, cells, "test", cells=embedded)
    logger.info(f"evaluate: {units_in_a_sentence(evaluation.groups)}")
    if embedded:
        evaluate_adapted(run, model, cells, laboratory_name(images.root), embedded)
    facts = {
        "images": f"{len(cells.decoded)} of {images.root} (sha256 of the set {images.digest[:16]}…)",
        "scale": cells.site.in_words() if cells.site else f"crop {model.config.crop:g} of the image's side",
    }
    compare_with_own_test(run, evaluation, labelled.model, facts, doubtful, settings.resamples)


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
