"""A study before it is computed: its arms, and the runs that it plans."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hemacell.config.jobs import CellSettings, StudySettings, WbcSettings
from hemacell.config.roles import Role
from hemacell.execution.executor import get_executor
from hemacell.jobs.context import RunContext, start_job
from hemacell.jobs.data_checks import report_problems
from hemacell.jobs.pretraining import missing_encoders
from hemacell.jobs.wbc_inputs import Images, draw_images, read_images, run_key

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.tracking.registry.encoders import EncoderSpec
    from hemacell.tracking.registry.lookup import RegisteredModel
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)


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
