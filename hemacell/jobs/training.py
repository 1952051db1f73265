"""The training loop of a job: its settings, its progress on the screen, its curves in the run."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any

from torch import nn

from hemacell.core.progress import Progress
from hemacell.jobs.context import RunContext
from hemacell.reporting import figures
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import HISTORY, LOSS_CURVES
from hemacell.training.loop import LoopSettings, Task, Trained, fit

logger = logging.getLogger(__name__)


def train(job: RunContext[Any], run: Tracker, task: Task, network: nn.Module, steps: int, **others: Any) -> Trained:
    """Train a job's network, and log metrics on the way, loss curves and the seconds at the end.

    Args:
        job: settings that bear the name of a field of `LoopSettings` are passed on to it.
        run: the open run.
        task, network: see `hemacell.training.loop.fit`.
        steps: of the training.
        others: further fields of `LoopSettings`.
    """
    known = {each.name for each in fields(LoopSettings)} & set(type(job.settings).model_fields)
    given = {name: getattr(job.settings, name) for name in known} | {"steps": steps} | others
    if job.settings.resume and not job.checkpoint(run).exists():
        logger.info(f"resume: no checkpoint of this run in {job.checkpoint(run).parent}; it starts from its first step")
    progress = Progress("training")
    trained = fit(
        task,
        network,
        LoopSettings(**given),
        report=lambda row: run.metrics(
            # MLflow's comparison opens on the metric that a run has logged first
            {task.monitor: row[task.monitor]} | {name: value for name, value in row.items() if name != "step"},
            int(row["step"]),
        ),
        progress=lambda done, total, loss: progress(done, total, f"loss {loss:.3f}", task.batch_size),
        checkpoint=job.checkpoint(run),
    )
    run.json(trained.history, HISTORY)
    run.figure(figures.loss_curves(trained.history), LOSS_CURVES)
    run.metrics({"train_seconds": trained.seconds}, steps)
    logger.info(f"{job.name}: trained {steps} steps in {trained.seconds:.0f} s")
    return trained
