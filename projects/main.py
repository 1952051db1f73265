"""Everything, small, on the built-in sample: both pretrainings, then the cell classifier with and without them.

    mlflow run .          (or: make demo)

Takes three to four minutes on two cores. Its scores show that the parts work together; they are no result.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hemacell.cli import main
from hemacell.config.jobs import CamelyonSettings, MainSettings, PrccSettings, WbcSettings
from hemacell.core.errors import UserError

if TYPE_CHECKING:
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)

ARMS = {"prcc-camelyon": ("prcc", "camelyon"), "none": ("none",)}
SHOWN = ("test/accuracy", "test/macro_f1", "test/auroc")


def run(settings: MainSettings) -> str:
    """Run the jobs one after the other; returns the id of the run that they are children of."""
    from hemacell.data.sources.resolve import read_manifest
    from hemacell.jobs.context import start_job
    from hemacell.reporting.tables import score_table
    from hemacell.tracking.runs.existing import scores_of

    job = start_job("main", settings)
    cells = read_manifest(job.source.root, "wbc")
    parts = {
        "wbc": cells.digest,
        "camelyon": read_manifest(job.source.root, "camelyon").digest,
        "prcc": read_manifest(job.source.root, "prcc").digest,
    }
    if job.source.kind != "sample":
        raise UserError(
            f"{job.source.root}: this job is the quick demonstration, and encoders trained so briefly on real images "
            "would be taken by later jobs; type -e wbc -P data=DIR, or unset HEMACELL_DATA"
        )
    key = job.key(parts)
    run_id = job.finished(key)
    if not run_id:
        with job.open(cells, key) as parent:
            run_id = parent.run_id
            _all_jobs(job.settings, parent)
        logger.info(f"main: run {run_id}")
    scores = scores_of(run_id)
    rows = [
        (
            f"encoders={','.join(encoders)}",
            {name: scores[metric] for name in SHOWN if (metric := f"{name}/{arm}") in scores},
        )
        for arm, encoders in ARMS.items()
    ]
    print(f"\ntest scores, {job.settings.fraction:.0%} of the labels\n{score_table(rows, SHOWN)}")
    return run_id


def _all_jobs(settings: MainSettings, parent: Tracker) -> None:
    from hemacell.tracking.runs.existing import scores_of
    from projects import camelyon, prcc, wbc

    logger.info("1/4 pretraining on kidney tiles (prcc)")
    prcc.run(PrccSettings.checked(**settings.inherited_by(PrccSettings), steps=settings.prcc_steps))
    logger.info("2/4 pretraining on lymph node patches (camelyon)")
    camelyon.run(CamelyonSettings.checked(**settings.inherited_by(CamelyonSettings), steps=settings.camelyon_steps))
    children = {}
    for number, (arm, encoders) in enumerate(ARMS.items(), start=3):
        name = ",".join(encoders)
        logger.info(f"{number}/4 white blood cells, {settings.fraction:.0%} of the labels, encoders={name}")
        own = {"fraction": settings.fraction, "steps": settings.wbc_steps, "encoders": encoders}
        cells = WbcSettings.checked(**settings.inherited_by(WbcSettings), **own)
        children[arm] = wbc.run(cells)
        scores = scores_of(children[arm])
        parent.metrics({f"{score}/{arm}": scores[score] for score in SHOWN if score in scores})
    parent.json(children, "runs.json")


if __name__ == "__main__":
    main(MainSettings, run)
