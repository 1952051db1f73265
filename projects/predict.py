"""Classify any number of images with a registered classifier: a folder, a table of paths or one file -> a table.

    mlflow run . -e predict -P model=models:/hemacell-wbc@champion -P images=DIR -P output=cells.csv
    mlflow run . -e predict -P images=cells.parquet -P output=predictions.parquet -P differential=true

Files are read ahead while the network works, and predictions are kept part by part in `cells.csv.partial`: the same
command goes on where it was stopped, and gives the same file. With `differential=true` the cells of each smear are
counted; with `explain=24` so many images are shown with what supported their predictions. With `find_cells=true` the
images are whole fields: each white cell that is found in them is a row.
"""

from __future__ import annotations

import logging

from hemacell.cli import main
from hemacell.config.jobs import PredictSettings

logger = logging.getLogger(__name__)


def run(settings: PredictSettings) -> str:
    """Classify, write and log; returns the id of the run that holds the result."""
    from hemacell.jobs.differential import log_differential
    from hemacell.jobs.field_copies import log_fields
    from hemacell.jobs.predict import classify_images, find_cells, log_predictions, prepare
    from hemacell.jobs.saliency import log_saliency
    from hemacell.prediction.inputs import read_inputs
    from hemacell.reporting.tables import prediction_summary

    job = prepare(settings, read_inputs(settings.images))
    if job.done:
        return job.done
    found = None
    if settings.find_cells:
        job, found = find_cells(job)
    with job.open() as (run, parts):
        classify_images(job, run, parts)
        tally = log_predictions(job, run)
        run.summary = f"```\n{prediction_summary(tally)}\n```"
        if found:
            log_fields(job, run, found)
        if settings.differential:
            log_differential(job, run, tally)
        if settings.explain:
            log_saliency(job, run)
    print(prediction_summary(tally))
    logger.info(f"predict: {job.output}; run {run.run_id}")
    return run.run_id


if __name__ == "__main__":
    main(PredictSettings, run)
