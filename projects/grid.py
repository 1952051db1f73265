"""The grid of a study: which cells there are, which are done already, and the processes that compute the rest."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.config.jobs import CellSettings, StudySettings, WbcSettings
from hemacell.core.text import slug

if TYPE_CHECKING:
    from hemacell.execution.local import Outcome
    from hemacell.jobs.context import RunContext
    from hemacell.tracking.registry.encoders import EncoderSpec
    from hemacell.tracking.runs.tracker import Tracker
    from projects.wbc import Images

logger = logging.getLogger(__name__)

#: Seconds of a cell beside its steps, and of a step on one core: only where no finished cell tells more.
SECONDS_PER_RUN, SECONDS_PER_STEP = 30.0, 0.5
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Planned:
    """One cell of the grid."""

    arm: str
    fraction: float
    draw: int
    settings: WbcSettings
    key: str
    """Tells whether it has been computed already; '' while one of its encoders is not registered yet."""

    @property
    def name(self) -> str:
        """What its run is called."""
        return f"{self.arm} {self.fraction * 100:g} % draw {self.draw}"


def plan(
    job: RunContext[StudySettings], images: Images, encoders: Mapping[tuple[str, ...], Sequence[EncoderSpec]]
) -> list[Planned]:
    """The cells in the order in which they are computed: draw by draw, so that a study that is stopped has whole draws.

    Within a draw the long ones come first, which keeps all workers busy until the end.
    """
    from hemacell.jobs.context import RunContext
    from projects.wbc import drawn, run_key

    settings = job.settings
    recipe = {name: getattr(settings, name) for name in CellSettings.model_fields}
    recipe |= {"threads": job.threads, "register_model": False, "resume": "", "run_name": "", "experiment": ""}
    planned = []
    for draw in range(settings.first_draw, settings.first_draw + settings.draws):
        for fraction in sorted(settings.fractions, reverse=True):
            own = recipe | {"fraction": fraction, "draw": draw, "seed": settings.seed + draw}
            manifest = drawn(WbcSettings.checked(**own), images, job.source.root)
            own["steps"] = settings.training_steps(len(manifest.part("train")))
            for arm in settings.arm_list:
                cell = WbcSettings.checked(**own, encoders=arm)
                cell = cell.model_copy(update={"run_name": Planned(",".join(arm), fraction, draw, cell, "").name})
                known = not any(spec.missing for spec in encoders[arm])
                cell_job = RunContext("wbc", cell, job.source, job.cache, job.threads)
                specs = [replace(spec, seed=cell.seed) for spec in encoders[arm]]
                key = run_key(cell_job, manifest, images, specs) if known else ""
                planned.append(Planned(",".join(arm), fraction, draw, cell, key))
    return planned


def study_key(job: RunContext[StudySettings], cells: Sequence[Planned]) -> str:
    """The digest of all that decides a study's result."""
    both = hashlib.sha256("".join(cell.key for cell in cells).encode()).hexdigest()
    return job.key({"cells": both})


def seconds_left(job: RunContext[StudySettings], cells: Sequence[Planned]) -> float:
    """About how long these cells will take, from finished cells of as many steps where there are any."""
    from hemacell.tracking.runs.study import seconds_of_runs

    measured = seconds_of_runs(job.threads)
    each = []
    for cell in cells:
        guess = SECONDS_PER_RUN + cell.settings.steps * SECONDS_PER_STEP / job.threads
        each.append(measured.get((str(cell.settings.steps), str(cell.settings.image_size)), guess))
    return max(sum(each) / job.settings.workers, max(each, default=0.0))


def overview(job: RunContext[StudySettings], cells: Sequence[Planned], missing: Sequence[str]) -> str:
    """The grid as a table for the screen: arms, amounts, what is there already, and an estimate of the time."""
    from hemacell.tracking.runs.study import finished_runs_of_keys

    done = finished_runs_of_keys([cell.key for cell in cells if cell.key])
    fractions = sorted(set(job.settings.fractions))
    width = max(len(",".join(arm)) for arm in job.settings.arm_list)
    lines = [" ".join([f"{'cells done of':<{max(width, 13)}}", *(f"{fraction * 100:>9g} %" for fraction in fractions)])]
    for arm in map(",".join, job.settings.arm_list):
        texts = []
        for fraction in fractions:
            own = [cell for cell in cells if (cell.arm, cell.fraction) == (arm, fraction)]
            texts.append(f"{sum(cell.key in done for cell in own)} of {len(own)}")
        lines.append(" ".join([f"{arm:<{max(width, 13)}}", *(f"{text:>11}" for text in texts)]))
    steps = {cell.fraction: cell.settings.steps for cell in cells}
    lines.append(" ".join([f"{'steps a cell':<{max(width, 13)}}", *(f"{steps[each]:>11}" for each in fractions)]))
    left = [cell for cell in cells if cell.key not in done]
    lines.append(f"{len(cells)} cells, {len(cells) - len(left)} done, {_to_do(job, left)}")
    if missing:
        lines.append(f"not registered yet, and pretrained first (5 to 10 minutes each): {', '.join(missing)}")
    return "\n".join(lines)


def _to_do(job: RunContext[StudySettings], left: Sequence[Planned]) -> str:
    if not left:
        return "nothing to compute"
    minutes = seconds_left(job, left) / 60
    time = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{max(1, round(minutes))} minutes"
    workers = f"{job.settings.workers} side by side" if job.settings.workers > 1 else "one after the other"
    return f"{len(left)} to compute, {workers}: about {time}"


def compute(
    job: RunContext[StudySettings], parent: Tracker, cells: Sequence[Planned]
) -> tuple[dict[str, str], list[str]]:
    """Compute the cells that are not there yet, as children of the study's run.

    Returns:
        The name of each finished cell -> the id of its run; and for each that failed twice a text with the reason.
    """
    from hemacell.core.progress import Progress
    from hemacell.execution.local import Task, run_tasks
    from hemacell.tracking.runs.study import finished_runs_of_keys, stopped_children

    # Under force=true only what this very study has computed counts, which matters where it was stopped.
    found = finished_runs_of_keys([cell.key for cell in cells], under=parent.run_id if job.settings.force else "")
    runs = {cell.name: found[cell.key] for cell in cells if cell.key in found}
    left = [cell for cell in cells if cell.name not in runs]
    logger.info(f"{job.name}: {len(cells)} cells, {len(runs)} done, {_to_do(job, left)}; run {parent.run_id}")
    stopped = stopped_children(parent.run_id)
    tasks = []
    for cell in left:
        texts = cell.settings.canonical() | {"resume": stopped.get(cell.key, "")}
        tasks.append(Task(cell.name, {"settings": texts}))
    steps = {cell.name: cell.settings.steps for cell in left}
    total, done, failed = sum(steps.values()), 0, {}
    progress = Progress(job.name, "steps", seconds=60)

    def report(outcome: Outcome, at_work: Sequence[str]) -> None:
        nonlocal done
        name = outcome.task.name
        if outcome.error:
            again = "; it is tried again later" if outcome.attempt == 1 else ""
            logger.info(f"{job.name}: {name} failed ({outcome.error}){again}")
            parent.tags({f"hemacell.failed.{slug(name, keep='._- ')}.{outcome.attempt}": outcome.error[:500]})
            if outcome.attempt == 1:
                return
            failed[name] = outcome.error
        else:
            runs[name] = outcome.result
        done += steps[name]
        show(at_work)

    def show(at_work: Sequence[str]) -> None:
        progress(done, total, f"; {len(runs)} of {len(cells)} cells; now {'; '.join(at_work) or 'none'}")

    if tasks:
        logs = job.cache / "studies" / parent.run_id
        run_tasks(
            tasks,
            [sys.executable, "-m", "projects.worker"],
            workers=min(job.settings.workers, len(tasks)),
            environment=_environment(job, parent),
            logs=logs,
            report=report,
            waiting=show,
        )
        if failed:
            for log in sorted(logs.glob("*.log")):
                parent.artifact(log, f"failures/{log.name}")
    return runs, [f"{name}: {error}" for name, error in failed.items()]


def _environment(job: RunContext[StudySettings], parent: Tracker) -> dict[str, str]:
    """Of a worker: its share of the cores before torch is imported, the study's store, and the run above its own."""
    import mlflow

    from hemacell.tracking.runs.mlflow_environment import PARENT_VARIABLE

    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return {
        **os.environ,
        **dict.fromkeys(_THREAD_VARIABLES, str(job.threads)),
        "PYTHONPATH": os.pathsep.join(paths),
        "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
        PARENT_VARIABLE: parent.run_id,
    }
