"""What is wrong with images, before any training: copies, doubtful labels, odd files, splits that differ.

    mlflow run . -e audit -P data=DIR
    mlflow run . -e audit -P data=DIR -P model=models:/hemacell-wbc@champion

Nothing is trained that stays. The run holds one page, audit.html, and the same as tables: copies.csv and
doubtful_labels.csv, whose corrected column `label` other jobs take as `labels=corrected.csv`; `drop=duplicates` leaves
the copies out.
"""

from __future__ import annotations

import logging

from hemacell.cli import main
from hemacell.config.jobs import AuditSettings

logger = logging.getLogger(__name__)


def run(settings: AuditSettings) -> str:
    """Look at the images, and log what is wrong with them; returns the id of the run that holds the result."""
    from hemacell.jobs import audit as steps
    from hemacell.jobs.context import start_job
    from hemacell.jobs.copies import copies_among

    job = start_job("audit", settings)
    found = steps.find_images(job)
    key = found.key(job)
    run_id = job.finished(key)
    if not run_id:
        with job.open(found.images, key) as opened:
            run_id = opened.run_id
            looked_at = steps.decode_images(job, opened, found)
            copies = copies_among(looked_at)
            measured = steps.measure_images(looked_at)
            doubts = steps.doubt_labels(job, looked_at, copies, found.encoders)
            distances = steps.distances_from(job, looked_at, found)
            audit = steps.summarise(found, looked_at, copies, measured, doubts, distances)
            steps.log_audit(job, opened, audit)
    steps.show(run_id)
    if settings.output:
        steps.copy_page(run_id, settings.output)
    logger.info(f"audit: audit.html, audit.json and the tables are among the files of run {run_id}")
    return run_id


if __name__ == "__main__":
    main(AuditSettings, run)
