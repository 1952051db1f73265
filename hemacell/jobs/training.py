"""What the jobs share that train a network: the loop with its curves, and the encoder that is registered in the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from hemacell.config.groups import TrainingSettings
from hemacell.core.device import chosen_device
from hemacell.core.progress import Progress
from hemacell.core.threads import set_threads
from hemacell.data.manifest import Manifest
from hemacell.encoders.description import EncoderConfig
from hemacell.encoders.frozen import save_encoder
from hemacell.encoders.registry import ENCODERS
from hemacell.jobs.context import RunContext
from hemacell.reporting import figures, model_card
from hemacell.tracking import registry
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import HISTORY, LOSS_CURVES
from hemacell.training.loop import LoopSettings, Task, Trained, fit

logger = logging.getLogger(__name__)


def set_up(job: RunContext[Any]) -> torch.device:
    """Let torch compute with the threads of a job; returns the device that its settings mean."""
    set_threads(job.threads)
    return chosen_device(job.settings.device)


def train(job: RunContext[Any], run: Tracker, task: Task, network: nn.Module, steps: int) -> Trained:
    """Train a job's network, and log metrics on the way, loss curves and the seconds at the end.

    Args:
        job: settings that bear the name of a field of `LoopSettings` are passed on to it.
        run: the open run.
        task, network: see `hemacell.training.loop.fit`.
        steps: of the training.
    """
    known = {each.name for each in fields(LoopSettings)} & set(type(job.settings).model_fields)
    given = {name: getattr(job.settings, name) for name in known} | {"steps": steps}
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


def register_encoder(
    job: RunContext[TrainingSettings],
    run: Tracker,
    manifest: Manifest,
    config: EncoderConfig,
    weights: dict[str, Tensor],
    val_score: float,
    val_images: Mapping[str, float],
    test_scores: Mapping[str, float],
) -> str:
    """Register the encoder that a pretraining job has made; returns its address.

    Args:
        job: the job; the registry of encoders has an entry of the same name.
        run, manifest: its open run and its images.
        config, weights: see `hemacell.encoders.frozen.save_encoder`.
        val_score, val_images: see `hemacell.tracking.registry.register`.
        test_scores: for the card.
    """
    entry = ENCODERS[job.name]
    scores = {f"test/{name}": value for name, value in test_scores.items()}
    with registry.scratch() as folder:
        return registry.register(
            save_encoder(folder, config, weights),
            entry.registered_name,
            run=run,
            model="encoder",
            kind=job.source.kind,
            trial=job.settings.limit > 0,
            val_score=val_score,
            val_images=val_images,
            cache=job.cache,
            card=model_card.encoder_card(entry.label, job, manifest, scores),
        ).uri
