"""How training went."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hemacell.reporting.figures.style import BLUE, GREY, VERMILION, colour, line_style, loss_axis, new_figure, styled

# scores on validation images that share one axis, 0 to 1
_SCORES = {
    "val/macro_f1": "macro-F1",
    "val/accuracy": "accuracy",
    "val/balanced_accuracy": "balanced accuracy",
    "val/auroc": "AUROC",
    "val/ssim": "SSIM",
}


@styled
def loss_curves(history: Sequence[Mapping[str, float]], step_name: str = "step") -> Figure:
    """Losses, scores on the validation images and the learning rate over the steps of a training.

    Args:
        history: one row a measurement with `step` and any of `train/loss`, `val/loss`, `val/macro_f1`,
            `val/accuracy`, `val/balanced_accuracy`, `val/auroc`, `val/ssim` (all in 0..1 but the losses) and `lr`.
            Rows may lack keys; other keys are not drawn.
        step_name: what a step is, for the axis.

    Raises:
        ValueError: no row, or a row without `step`.
    """
    if not history or any("step" not in row for row in history):
        raise ValueError("history needs at least one row, and `step` in every row")
    scores = [key for key in _SCORES if any(key in row for row in history)]
    with_rate = any("lr" in row for row in history)
    panels = ["loss", "scores"] if scores else ["loss"]
    mosaic: list[Any] = [panels, ["lr"] * len(panels)] if with_rate else [panels]
    figure = new_figure(7.0 if scores else 5.0, 4.5 if with_rate else 3.4)
    axes = figure.subplot_mosaic(mosaic, height_ratios=[4, 1][: len(mosaic)])

    _losses(axes["loss"], history)
    if scores:
        _scores(axes["scores"], history, scores)
    if with_rate:
        steps, rates = _series(history, "lr")
        axes["lr"].plot(steps, rates, color=GREY, marker=_marker(steps), markersize=3)
        axes["lr"].set_ylim(0, 1.1 * np.nanmax(rates, initial=1e-12))
        axes["lr"].set_ylabel("learning\nrate")
        axes["lr"].ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    first, last = min(row["step"] for row in history), max(row["step"] for row in history)
    for panel in axes.values():
        if first == last:
            panel.set_xlim(first - 1, last + 1)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not with_rate or panel is axes.get("lr"):
            panel.set_xlabel(step_name)
    figure.align_ylabels([axes["loss"], *([axes["lr"]] if with_rate else [])])
    return figure


def _losses(panel: Axes, history: Sequence[Mapping[str, float]]) -> None:
    panel.set_title("loss")
    for key, name, ink, style in (
        ("train/loss", "training", BLUE, "-"),
        ("val/loss", "validation", VERMILION, "--"),
    ):
        steps, values = _series(history, key)
        if len(steps):
            panel.plot(steps, values, style, color=ink, label=name, marker=_marker(steps), markersize=3)
    loss_axis(panel)
    if panel.lines:
        panel.legend()


def _scores(panel: Axes, history: Sequence[Mapping[str, float]], keys: Sequence[str]) -> None:
    panel.set_title("validation scores (highest marked)")
    for number, key in enumerate(keys):
        steps, values = _series(history, key)
        ink = colour(number)
        label = _SCORES[key]
        if np.isfinite(values).any():
            best = int(np.nanargmax(values))
            label += f", best {values[best]:.3f} at {steps[best]:g}"
            panel.plot(steps[best], values[best], "o", color=ink, markersize=5, zorder=3)
        panel.plot(steps, values, linestyle=line_style(number), color=ink, label=label)
    panel.set_ylim(top=min(1.005, panel.get_ylim()[1]))
    panel.legend()


def _series(history: Sequence[Mapping[str, float]], key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = [(row["step"], row[key]) for row in history if key in row]
    steps, values = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    return steps, np.where(np.isfinite(values), values, np.nan)  # an infinite loss is a gap, not the end of the axis


def _marker(steps: NDArray[np.float64]) -> str:
    """Points where there are few: a line of one step cannot be seen."""
    return "o" if len(steps) <= 12 else ""
