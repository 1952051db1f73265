"""Every arm on every amount of labels and every draw, then one comparison: does pretraining help, and how sure is it?

    mlflow run . -e study -P data=DIR -P "arms=none;imagenet;prcc,camelyon" -P draws=5 -P workers=2
    mlflow run . -e study -P data=DIR -P dry_run=true

Each cell of the grid is a run of `wbc` under the study's own run. All arms of a draw see the same images and make the
same number of steps. A cell that was computed before, in whatever study, is not computed again, so that the same
command goes on where it was stopped. With `step_budget=study` a cell takes one to five minutes on two cores.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from hemacell.cli import main
from hemacell.config.jobs import StudySettings

logger = logging.getLogger(__name__)


def run(settings: StudySettings) -> str:
    """Compute the cells that are missing, and compare; returns the id of the study's run, '' for a dry run."""
    from hemacell.core.errors import UserError
    from hemacell.jobs.context import start_job
    from hemacell.jobs.data_checks import report_problems
    from hemacell.tracking.registry.encoders import resolve_encoders
    from hemacell.tracking.runs.study import shown, stopped_run
    from projects.grid import compute, overview, plan, study_key
    from projects.pretraining import check_pretraining, pretrain
    from projects.wbc import read_images

    job = start_job("study", settings)
    settings = job.settings
    # The cores are shared by the workers; the number of threads is part of what a cell depends on.
    job = replace(job, threads=settings.threads or max(1, job.threads // settings.workers))
    encoders = {arm: resolve_encoders(arm, job.source.kind, job.cache) for arm in settings.arm_list}
    for each in encoders.values():
        check_pretraining(job, each)
    missing = list({spec.name: spec for each in encoders.values() for spec in each if spec.missing}.values())
    images = read_images(settings, job.source.root)
    cells = plan(job, images, encoders)
    if settings.dry_run:
        print(overview(job, cells, [spec.name for spec in missing]))
        return ""

    key = "" if missing else study_key(job, cells)
    done = job.finished(key) if key else None
    if done:
        print(shown(done))
        return done
    if key and not settings.resume and not settings.force and (stopped := stopped_run("study", key)):
        logger.info(f"study: going on with run {stopped}, which did not come to its end")
        job = replace(job, settings=settings.model_copy(update={"resume": stopped}))
    with job.open(images.everything, key) as parent:
        parent.tags(report_problems(images.everything))
        for context, manifest in zip(("study", "external"), images, strict=True):
            if manifest is not None:
                parent.data_input(manifest.digest32, manifest.name, str(manifest.root), manifest.counts(), context)
        if missing:
            pretrain(job, missing)
            encoders = {arm: resolve_encoders(arm, job.source.kind, job.cache) for arm in settings.arm_list}
            cells = plan(job, images, encoders)
            parent.tags({"hemacell.key": study_key(job, cells)})
        _decode(job, images)
        runs, failed = compute(job, parent, cells)
        _report(job, parent, cells, runs)
        if failed:
            raise UserError(
                f"{len(failed)} of {len(cells)} cells failed twice, and the report is made without them; mend the "
                f"cause and type the same command again, which computes these alone: {'; '.join(failed)}"
            )
    print(shown(parent.run_id))
    return parent.run_id


def _decode(job, images) -> None:
    """Decode before the workers start, which would all do it at once."""
    from hemacell.core.progress import Progress
    from hemacell.data import decoding

    for manifest in filter(None, images):
        decoding.decode(
            manifest, job.settings.decoded_size, job.cache, job.settings.max_bad, progress=Progress("decoding")
        )


def _report(job, parent, cells, runs) -> None:
    from hemacell.core.errors import UserError
    from hemacell.tracking.runs.study import CELLS, facts_of, log_comparison, read_runs, runs_with

    done = [cell for cell in cells if cell.name in runs]
    if not done:
        raise UserError("no cell could be computed: see failures/ among the files of the run")
    listing = [
        {"arm": cell.arm, "fraction": cell.fraction, "draw": cell.draw, "run_id": runs[cell.name]} for cell in done
    ]
    parent.json(listing, CELLS)
    found = read_runs(runs_with([entry["run_id"] for entry in listing]))
    log_comparison(parent, found, facts_of(parent.run_id, found), baseline=job.settings.baseline)


if __name__ == "__main__":
    main(StudySettings, run)
