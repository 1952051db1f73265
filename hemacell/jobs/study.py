"""A study before it is computed: its arms, and the runs that it plans."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hemacell.config.jobs import CellSettings, StudySettings, WbcSettings
from hemacell.config.roles import Role
from hemacell.config.run_names import draw_or_fold, percent
from hemacell.evaluation.laboratories import split_of
from hemacell.execution.executor import get_executor
from hemacell.jobs.context import RunContext, start_job
from hemacell.jobs.copies import report_findings
from hemacell.jobs.images import decode, log_images
from hemacell.jobs.wbc_inputs import CellInputs, Images, draw_images, find_inputs, image_settings

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.tracking.registry.encoders import EncoderSpec
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyArm:
    """An arm with what its settings stand for on this store and these images."""

    name: str
    overrides: tuple[str, ...]
    """Settings in which the arm differs from the study."""
    job: RunContext[WbcSettings]
    """Of its runs, but for fraction, draw, seed and steps."""
    inputs: CellInputs


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
        """Encoders that must be pretrained first, each once."""
        return list({spec.name: spec for arm in self.arms for spec in arm.inputs.missing}.values())

    @property
    def images(self) -> Images:
        """The images of all arms but those with image settings of their own."""
        return self.arms[0].inputs.images

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
            runs += _runs_of_draw(settings, arms, fraction, draw)
    return Study(job, arms, runs)


def _study_arms(job: RunContext[StudySettings], registered: Mapping[str, str]) -> list[StudyArm]:
    texts = job.settings.canonical()
    passed_on = CellSettings.names(*set(Role) - {Role.EXECUTION}) | job.settings.inherited_by(CellSettings).keys()
    recipe = {name: texts[name] for name in passed_on} | {"threads": str(job.threads), "register_model": "false"}
    read: dict[tuple[str, ...], Images] = {}
    arms = []
    for arm in job.settings.arm_list:
        settings = WbcSettings.from_strings(recipe | dict(arm.overrides))
        own = RunContext("wbc", settings, job.source, job.cache, job.threads)
        inputs = find_inputs(own, read.get(image_settings(settings)), registered)
        read[image_settings(settings)] = inputs.images
        arms.append(StudyArm(arm.name, arm.settings, own, inputs))
    return arms


def _runs_of_draw(settings: StudySettings, arms: Sequence[StudyArm], fraction: float, draw: int) -> list[PlannedRun]:
    """The runs of all arms for one fraction and draw, in the order of the arms."""
    drawn: dict[tuple[str, ...], Manifest] = {}
    runs = []
    for arm in arms:
        varied = {"fraction": fraction, "draw": draw, "seed": settings.seed + draw}
        name = f"{arm.name} {percent(fraction)} {draw_or_fold(draw, settings.folds)}"
        own = arm.job.settings.model_copy(update={**varied, "run_name": name})
        images = image_settings(own)
        if images not in drawn:
            drawn[images] = draw_images(own, arm.inputs.images, arm.job.source.root)
        own = own.model_copy(update={"steps": own.training_steps(len(drawn[images].part("train")))})
        key = arm.inputs.key(replace(arm.job, settings=own), drawn[images])
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


def record_images(study: Study, parent: Tracker) -> None:
    """Record the images as inputs of the study's run."""
    log_images(parent, study.images.everything, "study")
    for name, images in study.images.external.items():
        log_images(parent, images, split_of(name))


def decode_images(study: Study, parent: Tracker) -> None:
    """Decode before the workers start, which would all do it at once, and say what is wrong with the images."""
    wanted = {
        (manifest.digest, arm.job.settings.decoded_size): manifest
        for arm in study.arms
        for manifest in (arm.inputs.images.everything, *arm.inputs.images.external.values())
    }
    for (_, size), manifest in wanted.items():
        decoded = decode(study.job, manifest, size)
        if manifest is study.images.everything:
            report_findings(study.job, parent, decoded, study.images.kept)
