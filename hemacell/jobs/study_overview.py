"""A study in a table for the screen: what is finished, what is to compute, and about how long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hemacell.config.jobs import StudySettings
from hemacell.tracking.runs.search import finished_runs_of_keys, seconds_of_runs

if TYPE_CHECKING:
    from hemacell.jobs.context import RunContext
    from hemacell.jobs.study import PlannedRun, Study

#: Seconds of a run besides its steps, and of a step on one core: for an estimate without finished runs.
SECONDS_PER_RUN, SECONDS_PER_STEP = 30.0, 0.5


def overview(study: Study) -> str:
    """The grid as a table: arms, amounts, what is finished already, and an estimate of the time."""
    done = finished_runs_of_keys([run.key for run in study.runs if run.key])
    fractions = sorted(set(study.job.settings.fractions))
    width = max(13, *(len(arm.name) for arm in study.arms))
    lines = [" ".join([f"{'runs done of':<{width}}", *(f"{fraction * 100:>9g} %" for fraction in fractions)])]
    for arm in study.arms:
        texts = []
        for fraction in fractions:
            own = [run for run in study.runs if (run.arm, run.fraction) == (arm.name, fraction)]
            texts.append(f"{sum(run.key in done for run in own)} of {len(own)}")
        lines.append(" ".join([f"{arm.name:<{width}}", *(f"{text:>11}" for text in texts)]))
    steps = {
        fraction: sorted({run.settings.steps for run in study.runs if run.fraction == fraction})
        for fraction in fractions
    }
    lines.append(
        " ".join([f"{'steps per run':<{width}}", *(f"{','.join(map(str, steps[each])):>11}" for each in fractions)])
    )
    left = [run for run in study.runs if run.key not in done]
    lines.append(f"{len(study.runs)} runs, {len(study.runs) - len(left)} done, {to_do(study.job, left)}")
    if study.missing:
        names = ", ".join(spec.name for spec in study.missing)
        lines.append(f"not registered yet, and pretrained first (5 to 10 minutes each): {names}")
    return "\n".join(lines)


def to_do(job: RunContext[StudySettings], left: Sequence[PlannedRun]) -> str:
    """What is left to compute, in words."""
    if not left:
        return "nothing to compute"
    minutes = _seconds(job, left) / 60
    time = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{max(1, round(minutes))} minutes"
    workers = f"{job.settings.workers} side by side" if job.settings.workers > 1 else "one after the other"
    return f"{len(left)} to compute, {workers}: about {time}"


def _seconds(job: RunContext[StudySettings], runs: Sequence[PlannedRun]) -> float:
    """About how long these runs take, from finished runs with as many steps where there are any."""
    measured = seconds_of_runs(job.threads)
    each = []
    for run in runs:
        guess = SECONDS_PER_RUN + run.settings.steps * SECONDS_PER_STEP / job.threads
        each.append(measured.get((str(run.settings.steps), str(run.settings.image_size)), guess))
    return max(sum(each) / job.settings.workers, max(each, default=0.0))
