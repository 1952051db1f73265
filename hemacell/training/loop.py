"""The one training loop. It knows neither MLflow nor the task: a task gives losses, a callback takes evaluations."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from hemacell.core.device import chosen_device
from hemacell.core.errors import UserError
from hemacell.core.random import seed_of
from hemacell.training.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from hemacell.training.ema import EmaNetwork
from hemacell.training.schedule import Schedule, learning_rate

Row = dict[str, float]


class Task(Protocol):
    """What is learnt."""

    batch_size: int
    #: the metric of `validate` by which `checkpoint_selection=best` selects; larger is better
    monitor: str

    def loss(self, network: nn.Module, step: int) -> Tensor:
        """The loss of one step's batch, a scalar. All its randomness comes from the step and from torch's own seed."""

    def validate(self, network: nn.Module) -> Row:
        """Metrics on the validation images, for a network in eval mode."""


@dataclass(frozen=True)
class LoopSettings:
    """How a task is learnt: number of steps, AdamW's peak rate and decay, and what is kept in the end."""

    steps: int
    learning_rate: float
    weight_decay: float = 0.05
    adam_beta1: float = 0.9
    adam_beta2: float = 0.98
    schedule: Schedule = "onecycle"
    warmup: float | None = None
    max_grad_norm: float = 1.0
    ema_decay: float = 0.99
    ema_ramp: float = 10.0
    checkpoint_selection: str = "last"
    num_evals: int = 10
    checkpoint_seconds: float = 30.0
    seed: int = 0
    device: str = "auto"
    precision: str = "bf16"


@dataclass
class Trained:
    """The network that was selected (averaged weights, eval mode), and what was reported on the way."""

    network: nn.Module
    history: list[Row]
    seconds: float
    val_score: float
    """Of this network: the entry of `validate` that the task monitors."""


_FABRIC_PRECISION: dict[str, Literal["bf16-mixed", "32-true"]] = {"bf16": "bf16-mixed", "float32": "32-true"}


def make_fabric(device: str = "auto", precision: str = "bf16") -> Fabric:
    """Device and precision: `auto`, `cpu` or `cuda`; `bf16` (mixed) or `float32`.

    Raises:
        UserError: a GPU is asked for and the machine has no GPU.
        KeyError: another precision, such as `auto`, which `Settings.resolved` decides.
    """
    return Fabric(accelerator=chosen_device(device).type, devices=1, precision=_FABRIC_PRECISION[precision])


def _optimizer(network: nn.Module, settings: LoopSettings) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019); biases and normalisation are not decayed."""
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
    )


def fit(
    task: Task,
    network: nn.Module,
    settings: LoopSettings,
    report: Callable[[Row], None] | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Train a network, from its beginning or from where its checkpoint stopped; both end with the same numbers.

    Args:
        task: gives losses and validation metrics.
        network: float32 weights; trained in place.
        settings: see `LoopSettings`.
        report: called `settings.num_evals` times with `step`, `train/loss`, `lr`, `images_per_second` and what
            `task.validate` gave for the averaged weights.
        progress: called after each step with steps done, steps in all and the loss.
        checkpoint: a file that is written every `settings.checkpoint_seconds` and continued from where it exists.

    Raises:
        UserError: the loss is not a number any more, or the checkpoint cannot be read or written.
    """
    fabric = make_fabric(settings.device, settings.precision)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(network, settings)
    averaged = EmaNetwork(network.to(fabric.device), settings.ema_decay, settings.ema_ramp)
    trained, optimizer = fabric.setup(network, optimizer)
    state = _State()
    if checkpoint is not None and checkpoint.exists():
        state = _restore(checkpoint, network, averaged, optimizer)
    started = saved = resumed = time.monotonic()
    first = state.step  # since the last validation, which does not count for the speed
    for step in range(state.step, settings.steps):
        rate = learning_rate(step, settings.steps, settings.learning_rate, settings.schedule, settings.warmup)
        loss = _learn(fabric, task, trained, optimizer, settings, step, rate)
        averaged.update(network, step)
        state.step, state.losses = step + 1, [*state.losses, loss]
        if progress is not None:
            progress(step + 1, settings.steps, loss)
        if _is_report(step, settings):
            speed = (step + 1 - first) * task.batch_size / max(time.monotonic() - resumed, 1e-9)
            row = {"step": step + 1, "train/loss": sum(state.losses) / len(state.losses), "lr": rate}
            metrics = task.validate(averaged.network)
            first, resumed = step + 1, time.monotonic()
            state.report({**row, "images_per_second": speed, **metrics})
            if settings.checkpoint_selection == "best":
                state.select(metrics[task.monitor], averaged.network)
            if report is not None:
                report(state.history[-1])
        if checkpoint is not None and time.monotonic() - saved > settings.checkpoint_seconds:
            _save(checkpoint, state, network, averaged, optimizer, state.seconds + time.monotonic() - started)
            saved = time.monotonic()
    state.seconds += time.monotonic() - started
    if checkpoint is not None and state.step == settings.steps:
        _save(checkpoint, state, network, averaged, optimizer, state.seconds)
    if state.best:
        averaged.network.load_state_dict(state.best)
    score = state.best_score if state.best else state.history[-1][task.monitor]
    return Trained(averaged.network.eval(), state.history, state.seconds, score)


def _learn(
    fabric: Fabric,
    task: Task,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: LoopSettings,
    step: int,
    rate: float,
) -> float:
    """Change the weights by one step, at one learning rate; returns the loss before it."""
    torch.manual_seed(seed_of(settings.seed, "step", step))
    for group in optimizer.param_groups:
        group["lr"] = rate
    network.train()
    loss = task.loss(network, step)
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    fabric.clip_gradients(network, optimizer, max_norm=settings.max_grad_norm, error_if_nonfinite=False)
    optimizer.step()
    value = loss.item()
    if not math.isfinite(value):
        raise UserError(
            f"the loss is {value} at step {step + 1} of {settings.steps}: expected a finite number; "
            "type a smaller learning_rate= or precision=float32"
        )
    return value


def _is_report(step: int, settings: LoopSettings) -> bool:
    """`num_evals` steps, evenly spread, the last of them the last step."""
    return (step + 1) * settings.num_evals // settings.steps > step * settings.num_evals // settings.steps


@dataclass
class _State:
    """How far a training has come, apart from the tensors of network and optimizer."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    """since the last report"""
    history: list[Row] = field(default_factory=list)
    best_score: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)

    def report(self, row: Row) -> None:
        self.history.append(row)
        self.losses = []

    def select(self, score: float, network: nn.Module) -> None:
        if score > self.best_score:
            self.best_score = score
            self.best = {name: tensor.clone() for name, tensor in network.state_dict().items()}


def _save(
    file: Path,
    state: _State,
    network: nn.Module,
    averaged: EmaNetwork,
    optimizer: torch.optim.Optimizer,
    seconds: float,
) -> None:
    facts = {"step": state.step, "seconds": seconds, "losses": state.losses, "history": state.history}
    if state.best:
        facts["best_score"] = state.best_score
    tensors = {
        "network": network.state_dict(),
        "averaged": averaged.network.state_dict(),
        "optimizer": optimizer_tensors(optimizer),
        "best": state.best,
    }
    save_checkpoint(file, tensors, facts)


def _restore(file: Path, network: nn.Module, averaged: EmaNetwork, optimizer: torch.optim.Optimizer) -> _State:
    tensors, facts = load_checkpoint(file)
    network.load_state_dict(tensors["network"])
    averaged.network.load_state_dict(tensors["averaged"])
    restore_optimizer(optimizer, tensors.get("optimizer", {}))
    return _State(**facts, best=tensors.get("best", {}))
