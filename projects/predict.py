"""Classify any number of images with a registered classifier: a folder, a table of paths or one file -> a table.

    mlflow run . -e predict -P model=models:/hemacell-wbc@champion -P images=DIR -P output=cells.csv
    mlflow run . -e predict -P images=cells.parquet -P output=answers.parquet -P differential=true

Files are read ahead while the network works, and answers are kept part by part in `cells.csv.partial`: the same command
goes on where it was stopped, and gives the same file. With `differential=true` the cells of each smear are counted;
with `explain=24` so many are shown with what spoke for their answers.
"""

from __future__ import annotations

import logging

from hemacell.cli import main
from hemacell.config.jobs import PredictSettings

logger = logging.getLogger(__name__)


def run(settings: PredictSettings) -> str:
    """Classify, write and log; returns the id of the run that holds the result."""
    from hemacell.prediction.inputs import read_inputs
    from hemacell.tracking.runs.prediction import log_predictions, prediction_summary, prepare

    job = prepare(settings, read_inputs(settings.images))
    if job.done:
        return job.done
    with job.open() as (run, parts):
        if job.whole:
            logger.info(f"predict: {job.output} has these answers already")
        else:
            _classify(job, run, parts)
        tally = log_predictions(job, run)
        if settings.differential:
            from hemacell.tracking.runs.differential import log_differential

            log_differential(job, run, tally)
        if settings.explain:
            from hemacell.tracking.runs.saliency import log_saliency

            log_saliency(job, run)
    print(prediction_summary(tally))
    logger.info(f"predict: {job.output}; run {run.run_id}")
    return run.run_id


def _classify(job, run, parts) -> None:
    from hemacell.core.progress import Progress
    from hemacell.prediction.predict_images import classify
    from hemacell.tracking.runs.prediction import publish

    speed = classify(
        job.predictor(), job.inputs, parts, job.model.uri, job.settings.batch, progress=Progress("classifying")
    )
    publish(job, run, parts, speed)


if __name__ == "__main__":
    main(PredictSettings, run)
