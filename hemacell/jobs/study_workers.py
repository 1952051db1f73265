"""The workers of a study: they compute the runs that are not finished yet, and the study shows how far they are."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hemacell.config.jobs import StudySettings, WbcSettings
from hemacell.core.cache import cache_dir
from hemacell.core.errors import UserError
from hemacell.core.progress import Progress
from hemacell.core.text import slug
from hemacell.data.sources.resolve import resolve_data
from hemacell.execution.executor import Outcome, Task, get_executor
from hemacell.jobs.context import RunContext
from hemacell.jobs.study import PlannedRun, Study
from hemacell.jobs.study_overview import to_do
from hemacell.jobs.wbc_inputs import Images, image_settings, read_images
from hemacell.tracking.runs.mlflow_environment import child_environment
from hemacell.tracking.runs.search import finished_runs_of_keys, stopped_children
from hemacell.tracking.schema import STUDY_RUNS

if TYPE_CHECKING:
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ATTEMPTS = 2


@dataclass
class Computed:
    """The finished runs of a study, and the failed ones."""

    planned: Sequence[PlannedRun]
    run_ids: dict[str, str]
    """Name of a planned run -> id of its finished run."""
    failed: dict[str, str] = field(default_factory=dict)
    """Name of a planned run -> the reason, in one line."""

    @property
    def listing(self) -> list[dict[str, Any]]:
        """The finished runs as the study's own run holds them; `settings` are those that the arm overrides."""
        return [
            {
                "arm": run.arm,
                "fraction": run.fraction,
                "draw": run.draw,
                "settings": list(run.overrides),
                "run_id": self.run_ids[run.name],
            }
            for run in self.planned
            if run.name in self.run_ids
        ]

    def check(self) -> None:
        """Raise an error for runs that failed, at the end of everything that can be done without them.

        Raises:
            UserError: these runs and why.
        """
        if self.failed:
            reasons = "; ".join(f"{name}: {error}" for name, error in self.failed.items())
            raise UserError(
                f"{len(self.failed)} of {len(self.planned)} runs failed twice, and the report is made without them; "
                f"remove the cause and type the same command again, which computes these alone: {reasons}"
            )


def compute(study: Study, parent: Tracker, wbc: Callable[[WbcSettings, Images], str]) -> Computed:
    """Compute the runs that are not finished yet, as children of the study's run.

    Args:
        study: the plan, without missing encoders.
        parent: the open run of the study. It gets the list of finished runs, and the logs of workers if a run fails.
        wbc: computes one run and returns its id; a function of a module, since the workers import it.
    """
    job = study.job
    # Under force=true only what this very study has computed counts, which matters where it was stopped.
    found = finished_runs_of_keys([run.key for run in study.runs], under=parent.run_id if job.settings.force else "")
    computed = Computed(study.runs, {run.name: found[run.key] for run in study.runs if run.key in found})
    left = [run for run in study.runs if run.name not in computed.run_ids]
    counts = f"{len(study.runs)} runs, {len(computed.run_ids)} done"
    logger.info(f"{job.name}: {counts}, {to_do(job, left)}; run {parent.run_id}")
    parent.json(computed.listing, STUDY_RUNS)
    if not left:
        return computed
    stopped = stopped_children(parent.run_id)
    tasks = [
        Task(run.name, run.settings.model_copy(update={"resume": stopped.get(run.key, "")}).canonical()) for run in left
    ]
    logs = job.cache / "studies" / parent.run_id
    # Its share of the cores before torch is imported, the study's store, and the run above its own.
    environment = dict.fromkeys(_THREAD_VARIABLES, str(job.threads)) | child_environment(parent.run_id)
    executor = get_executor(job.settings.executor)(job.settings.workers, environment, logs)
    report = _Report(job, parent, computed, left)
    executor.map(
        functools.partial(_compute_one, wbc), tasks, attempts=_ATTEMPTS, on_outcome=report.outcome, on_wait=report.show
    )
    if computed.failed:
        for log in sorted(logs.glob("*.log")):
            parent.artifact(log, f"failures/{log.name}")
    return computed


class _Report:
    """What a study shows and logs while its runs are computed."""

    def __init__(
        self, job: RunContext[StudySettings], parent: Tracker, computed: Computed, left: Sequence[PlannedRun]
    ) -> None:
        self.job, self.parent, self.computed = job, parent, computed
        self.steps = {run.name: run.settings.steps for run in left}
        self.done = 0
        self.progress = Progress(job.name, "steps", seconds=60)

    def outcome(self, outcome: Outcome, running: Sequence[str]) -> None:
        """Log the end of one attempt at a run."""
        name = outcome.task.name
        if outcome.error:
            again = "; it is tried again later" if outcome.attempt < _ATTEMPTS else ""
            logger.info(f"{self.job.name}: {name} failed ({outcome.error}){again}")
            self.parent.tags({f"hemacell.failed.{slug(name, keep='._- ')}.{outcome.attempt}": outcome.error[:500]})
            if again:
                return
            self.computed.failed[name] = outcome.error
        else:
            self.computed.run_ids[name] = outcome.result
            self.parent.json(self.computed.listing, STUDY_RUNS)
        self.done += self.steps[name]
        self.show(running)

    def show(self, running: Sequence[str]) -> None:
        """Show how far the study is, and which runs are in progress."""
        count = f"{len(self.computed.run_ids)} of {len(self.computed.planned)} runs"
        now = f"; now {'; '.join(running)}" if running else ""
        self.progress(self.done, sum(self.steps.values()), f"; {count}{now}")


def _compute_one(wbc: Callable[[WbcSettings, Images], str], texts: dict[str, str]) -> str:
    """In a worker: compute one run; the images are read once for all runs of the worker that share them."""
    settings = WbcSettings.from_strings(texts)
    wanted = image_settings(settings)
    if wanted not in _images_of_worker:
        _images_of_worker[wanted] = read_images(settings, resolve_data(settings.data, cache_dir()).root)
    return wbc(settings, _images_of_worker[wanted])


_images_of_worker: dict[tuple[str, ...], Images] = {}
