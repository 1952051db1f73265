"""Everything, small, on the built-in sample: both pretrainings, then the cell classifier with and without them.

    mlflow run .          (or: make demo)

Takes four to five minutes on two cores. Its scores show that the parts work together; they are no result.
"""

from __future__ import annotations

import json
import logging

from hemacell.cli import main
from hemacell.config.jobs import CamelyonSettings, MainSettings, PrccSettings, WbcSettings

logger = logging.getLogger(__name__)

ARMS = {"prcc-camelyon": ("prcc", "camelyon"), "none": ("none",)}
SHOWN = ("test/accuracy", "test/macro_f1", "test/auroc")


def run(settings: MainSettings) -> str:
    """Run the jobs one after the other; returns the id of the run that they are children of."""
    from hemacell.core.errors import UserError
    from hemacell.data.sources.resolve import read_manifest
    from hemacell.jobs.context import start_job
    from hemacell.reporting.tables import score_table
    from hemacell.tracking.runs.existing import existing_run, read_file
    from hemacell.tracking.schema import STUDY_RUNS
    from projects import camelyon, prcc, wbc

    job = start_job("main", settings)
    if job.source.kind != "sample":
        raise UserError(
            f"{job.source.root}: this job is the quick demonstration, and encoders trained so briefly on real images "
            "would be taken by later jobs; type -e wbc -P data=DIR, or unset HEMACELL_DATA"
        )
    settings, root = job.settings, job.source.root
    cells = read_manifest(root, "wbc")
    tissues = {part: read_manifest(root, part).digest for part in ("camelyon", "prcc")}
    key = job.key({"wbc": cells.digest, **tissues})
    run_id = job.finished(key)
    if not run_id:
        with job.open(cells, key) as parent:
            run_id = parent.run_id
            logger.info("1/4 pretraining on kidney tiles (prcc)")
            prcc.run(PrccSettings.checked(**settings.inherited_by(PrccSettings), steps=settings.prcc_steps))
            logger.info("2/4 pretraining on lymph node patches (camelyon)")
            given = settings.inherited_by(CamelyonSettings)
            camelyon.run(CamelyonSettings.checked(**given, steps=settings.camelyon_steps))
            children = {}
            for number, (arm, encoders) in enumerate(ARMS.items(), start=3):
                labels = f"{settings.fraction:.0%} of the labels"
                logger.info(f"{number}/4 white blood cells, {labels}, encoders={','.join(encoders)}")
                given = settings.inherited_by(WbcSettings) | {"fraction": settings.fraction}
                children[arm] = wbc.run(WbcSettings.checked(**given, steps=settings.wbc_steps, encoders=encoders))
            parent.json(children, STUDY_RUNS)  # a finished run without files is taken for a deleted one
        logger.info(f"main: run {run_id}")

    children = json.loads(read_file(run_id, STUDY_RUNS))
    rows = [
        (f"encoders={','.join(encoders)}", existing_run(children[arm]).data.metrics) for arm, encoders in ARMS.items()
    ]
    print(f"\ntest scores, {settings.fraction:.0%} of the labels\n{score_table(rows, SHOWN)}")
    return run_id


if __name__ == "__main__":
    main(MainSettings, run)
