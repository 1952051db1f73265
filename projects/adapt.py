"""A registered classifier brought to another laboratory, by pictures of it: with or without labels.

    mlflow run . -e adapt -P model=models:/hemacell-wbc@champion -P images=DIR -P site=lisc
    mlflow run . -e adapt -P images=DIR -P labels=labelled.csv -P site=lisc

The new version is registered under the alias `site-lisc`, and the champion stays what it is. Pictures without labels
give the laboratory's scale, stain and statistics; labels of some move the last layers as well.
"""

from __future__ import annotations

import logging

from hemacell.cli import main
from hemacell.config.jobs import AdaptSettings

logger = logging.getLogger(__name__)


def run(settings: AdaptSettings) -> str:
    """Adapt, compare, log and register; returns the id of the run that holds the result."""
    from hemacell.jobs.adapt import adapt_to_pictures, load, log_adaptation, prepare, register_site

    job = prepare(settings)
    if job.done:
        return job.done
    with job.open() as run:
        model, pictures = load(job, run)
        found = adapt_to_pictures(job, model, pictures)
        page = log_adaptation(job, run, found, pictures)
        registered = register_site(job, run, found, page)
    print(page)
    logger.info(f"adapt: {found.model.config.calibration_in_words()}")
    logger.info(f"adapt: {registered.uri}@site-{settings.site}; run {run.run_id}")
    return run.run_id


if __name__ == "__main__":
    main(AdaptSettings, run)
