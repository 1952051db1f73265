"""A study: the runs that it plans, which of them are finished already, and the workers that compute the rest."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hemacell.config.jobs import CellSettings, StudySettings, WbcSettings
from hemacell.config.roles import Role
from hemacell.core.cache import cache_dir
from hemacell.core.errors import UserError
from hemacell.core.text import slug
from hemacell.data.sources.resolve import resolve_data
from hemacell.execution.executor import Outcome, Task, get_executor
from hemacell.jobs.context import RunContext, start_job
from hemacell.jobs.data_checks import report_problems
from hemacell.jobs.pretraining import missing_encoders
from hemacell.jobs.wbc_inputs import Images, draw_images, read_images, run_key
from hemacell.tracking.schema import STUDY_RUNS

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.tracking.registry.encoders import EncoderSpec
    from hemacell.tracking.registry.lookup import RegisteredModel
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ATTEMPTS = 2


@dataclass(frozen=True)
class StudyArm:
    """An arm with what its settings stand for on this store and these images."""

    name: str
    overrides: tuple[str, ...]
    """Settings in which the arm differs from the study."""
    settings: WbcSettings
    """Of its runs, but for fraction, draw, seed and steps."""
    encoders: Sequence[EncoderSpec]
    start: RegisteredModel | None
    images: Images


@dataclass(frozen=True)
class PlannedRun:
    """One run of the grid."""

    arm: str
    fraction: float
    draw: int
    overrides: tuple[str, ...]
    """Settings in which the arm differs from the study."""
    settings: WbcSettings
    key: str
    """Tells whether it was computed before; '' while one of its encoders is not registered yet."""

    @property
    def name(self) -> str:
        """What the run is called: `prcc,camelyon 10 % draw 0`."""
        return self.settings.run_name


@dataclass(frozen=True)
class Study:
    """A study before it is computed: its settings, arms and runs."""

    job: RunContext[StudySettings]
    arms: Sequence[StudyArm]
    runs: Sequence[PlannedRun]
    """In the order in which they are computed."""

    @property
    def missing(self) -> list[EncoderSpec]:
        """Encoders that must be pretrained first."""
        return missing_encoders(spec for arm in self.arms for spec in arm.encoders)

    @property
    def images(self) -> Images:
        """The images of all arms but those with image settings of their own."""
        return self.arms[0].images

    @property
    def key(self) -> str:
        """The digest of all that decides the result; '' while encoders are missing."""
        if self.missing:
            return ""
        runs = hashlib.sha256("\n".join(run.key for run in self.runs).encode()).hexdigest()
        return self.job.key({"runs": runs})


def start_study(settings: StudySettings, name: str = "study") -> RunContext[StudySettings]:
    """As `start_job`; the workers share the cores, and their number of threads is part of what a run depends on.

    Raises:
        UserError: as `start_job`, or an executor that does not exist.
    """
    job = start_job(name, settings)
    get_executor(job.settings.executor)
    return replace(job, threads=job.settings.threads or max(1, job.threads // job.settings.workers))


def plan(job: RunContext[StudySettings], registered: Mapping[str, str] | None = None) -> Study:
    """Look up what the arms stand for, and list the runs.

    Draw by draw, so that a study that is stopped has whole draws. Within a draw the long runs come first, which keeps
    all workers busy until the end.

    Args:
        job: the study's.
        registered: encoder -> address of the version to take, of those that were pretrained for this study.

    Raises:
        UserError: an unknown encoder or folder.
    """
    settings = job.settings
    arms = _study_arms(job, registered or {})
    runs: list[PlannedRun] = []
    for draw in range(settings.first_draw, settings.first_draw + settings.draws):
        for fraction in sorted(settings.fractions, reverse=True):
            runs += _runs_of_draw(job, arms, fraction, draw)
    return Study(job, arms, runs)


def _study_arms(job: RunContext[StudySettings], registered: Mapping[str, str]) -> list[StudyArm]:
    from hemacell.tracking.registry.encoders import resolve_encoders
    from hemacell.tracking.registry.lookup import resolve

    settings, kind = job.settings, job.source.kind
    recipe = {name: text for name, text in settings.canonical().items() if name in CellSettings.model_fields}
    recipe |= {"threads": str(job.threads), "register_model": "false", "resume": "", "run_name": "", "experiment": ""}
    read: dict[tuple[str, ...], Images] = {}
    arms = []
    for arm in settings.arm_list:
        own = WbcSettings.from_strings(recipe | dict(arm.overrides))
        start = resolve(own.init_from, kind) if own.init_from else None
        wanted = image_settings(own)
        if wanted not in read:
            read[wanted] = read_images(own, job.source.root)
        encoders = resolve_encoders(own.encoders, kind, job.cache, used=registered)
        arms.append(StudyArm(arm.name, arm.settings, own, encoders, start, read[wanted]))
    return arms


def image_settings(settings: CellSettings) -> tuple[str, ...]:
    """What decides which images there are: where it is equal, they are read once."""
    return tuple(settings.texts(Role.IMAGES, Role.RESOLVED).values())


def _runs_of_draw(
    job: RunContext[StudySettings], arms: Sequence[StudyArm], fraction: float, draw: int
) -> list[PlannedRun]:
    """The runs of all arms for one fraction and draw, in the order of the arms."""
    settings = job.settings
    drawn: dict[int, Manifest] = {}
    runs = []
    for arm in arms:
        own = arm.settings.model_copy(
            update={
                "fraction": fraction,
                "draw": draw,
                "seed": settings.seed + draw,
                "run_name": f"{arm.name} {fraction * 100:g} % draw {draw}",
            }
        )
        if id(arm.images) not in drawn:
            drawn[id(arm.images)] = draw_images(own, arm.images, job.source.root)
        manifest = drawn[id(arm.images)]
        counting = own if any(name.startswith("steps") for name in arm.overrides) else settings
        own = own.model_copy(update={"steps": counting.training_steps(len(manifest.part("train")))})
        key = ""
        if not missing_encoders(arm.encoders):
            own_job = RunContext("wbc", own, job.source, job.cache, job.threads)
            encoders = [replace(spec, seed=own.seed) for spec in arm.encoders]
            key = run_key(own_job, manifest, arm.images.external, encoders, arm.start)
        runs.append(PlannedRun(arm.name, fraction, draw, arm.overrides, own, key))
    return runs


def resume_stopped(study: Study) -> Study:
    """The same study, set to resume its newest run that was stopped, where there is one."""
    from hemacell.tracking.runs.search import stopped_run

    settings = study.job.settings
    if not study.key or settings.resume or settings.force or not (stopped := stopped_run("study", study.key)):
        return study
    logger.info(f"study: resuming run {stopped}, which was stopped")
    return replace(study, job=replace(study.job, settings=settings.model_copy(update={"resume": stopped})))


def log_images(study: Study, parent: Tracker) -> None:
    """Record the images as inputs of the study's run, and what is wrong with them as tags."""
    parent.tags(report_problems(study.images.everything))
    for context, manifest in zip(("study", "external"), study.images, strict=True):
        if manifest is not None:
            parent.data_input(manifest.digest32, manifest.name, str(manifest.root), manifest.counts(), context)


def decode_images(study: Study) -> None:
    """Decode before the workers start, which would all do it at once."""
    from hemacell.core.progress import Progress
    from hemacell.data.decoding import decode

    settings = study.job.settings
    wanted = {
        (manifest.digest, arm.settings.decoded_size): manifest
        for arm in study.arms
        for manifest in arm.images
        if manifest is not None
    }
    for (_, size), manifest in wanted.items():
        decode(manifest, size, study.job.cache, settings.max_bad, progress=Progress("decoding"))


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
    from hemacell.jobs.study_overview import to_do
    from hemacell.tracking.runs.mlflow_environment import child_environment
    from hemacell.tracking.runs.search import finished_runs_of_keys, stopped_children

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
        from hemacell.core.progress import Progress

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
