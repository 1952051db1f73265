"""Any registered classifier on any labelled folder, beside the scores that it had on its own test images.

    mlflow run . -e evaluate -P model=models:/hemacell-wbc@champion -P data=DIR
    mlflow run . -e evaluate -P model=models:/hemacell-wbc/3 -P data=DIR -P crop=1.0

DIR is a folder of class folders, of another laboratory for instance, or one of the course layout, of which the test
split is taken. Nothing is trained and nothing registered.
"""

from __future__ import annotations

import logging

from hemacell.cli import main
from hemacell.config.jobs import EvaluateSettings

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


def _evaluate(job, run, model, folder, images) -> None:
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.classifiers.loading import load_for_use
    from hemacell.core.errors import UserError
    from hemacell.core.progress import Progress
    from hemacell.core.threads import set_threads
    from hemacell.data import decoding
    from hemacell.evaluation.reference_scores import cautions, compare_with_reference, drop_in_words
    from hemacell.jobs.data_checks import report_problems, report_unreadable
    from hemacell.prediction.scoring import predict_with_progress
    from hemacell.tracking.registry.classifiers import doubts
    from hemacell.tracking.runs.reference_scores import log_reference_comparison, reference_scores_of
    from hemacell.tracking.runs.reliability import log_selective_prediction
    from hemacell.tracking.runs.results import log_classification

    settings = job.settings
    set_threads(job.threads)
    run.model_inputs([model.uri], "classifier")
    run.data_input(images.digest32, images.name, str(job.source.root), images.counts(), "evaluation")
    tags, doubtful = doubts(model, folder, images)
    run.tags({**report_problems(images), **tags})

    predictor = load_for_use(folder, settings.precision, settings.device, settings.crop)
    cells = decoding.decode(
        images, predictor.config.decoded_size, job.cache, settings.max_bad, progress=Progress("decoding")
    )
    report_unreadable(run, cells.bad)
    if not len(cells):
        raise UserError(f"{images.root}: none of its {len(images)} images can be read; mend them")
    answers = predict_with_progress(predictor, cells.array, Progress("scoring"))
    labels, probabilities = cells.manifest.labels, answers.probabilities
    explain = GradCAM.of(predictor.network, predictor.config)
    log_classification(run, cells.manifest, probabilities, cells.array, explain=explain)
    kept, _ = log_selective_prediction(run, labels, answers, predictor.config)

    own, unknown = reference_scores_of(model)
    rows = compare_with_reference(labels, probabilities, images.classes, own, settings.resamples)
    warnings = [*filter(None, (drop_in_words(rows), unknown)), *doubtful, *cautions(labels, rows, images.classes)]
    facts = {
        "classifier": model.uri,
        "its own test scores": f"run {model.run_id}" if own else "not known",
        "images": f"{len(cells)} of {images.root} (sha256 of the set {images.digest[:16]}…)",
        "crop": f"{predictor.config.crop:g} of the picture's side",
        "accepted without review": kept.in_words(),
        "interval": f"percentile bootstrap over images, {settings.resamples} resamples",
    }
    log_reference_comparison(run, rows, facts, warnings)


def _show(run_id: str) -> None:
    from hemacell.evaluation.reference_scores import text_table
    from hemacell.tracking.runs.reference_scores import comparison_of

    rows, warnings = comparison_of(run_id)
    print(text_table(rows))
    for line in warnings:
        logger.warning(line)
    logger.info(f"evaluate: comparison.md and all other scores are in run {run_id}")


if __name__ == "__main__":
    main(EvaluateSettings, run)
