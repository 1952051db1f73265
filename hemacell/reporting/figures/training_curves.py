"""How training went in each run."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hemacell.evaluation.comparison.records import Comparison, RunRecord
from hemacell.evaluation.comparison.words import amount_words, arm_words
from hemacell.reporting.figures.arms import PAGE_WIDTH, arm_styles
from hemacell.reporting.figures.registry import add_study_figure
from hemacell.reporting.figures.style import loss_axis, message, new_figure, styled


@styled
def training_curves(runs: Sequence[RunRecord], arms: Sequence[str] = ()) -> Figure:
    """Losses and validation accuracy of all runs: a row an amount, a thin line a run, a colour an arm.

    Args:
        runs: those without a history are left out.
        arms: the order of the arms; that of the runs without it.
    """
    drawn = [run for run in runs if run.history]
    if not drawn:
        return message("no run has a history", PAGE_WIDTH)
    looks = arm_styles([*arms, *dict.fromkeys(run.arm for run in runs if run.arm not in arms)])
    labels = {run.amount: run.labels for run in drawn}
    amounts = sorted(labels, key=lambda amount: labels[amount])
    figure = new_figure(PAGE_WIDTH, 0.75 + 1.45 * len(amounts))
    grid = figure.subplots(len(amounts), 3, squeeze=False, sharex="row")
    panels = (("train/loss", "training loss"), ("val/loss", "validation loss"), ("val/accuracy", "validation accuracy"))
    for number, amount in enumerate(amounts):
        of_amount = [run for run in drawn if run.amount == amount]
        for axes, (key, title) in zip(grid[number], panels, strict=True):
            for run in of_amount:
                points = [(each["step"], each[key]) for each in run.history if key in each]
                steps, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
                values = np.where(np.isfinite(values), values, np.nan)
                look = looks[run.arm]
                marker = look.marker if len(steps) == 1 else ""
                axes.plot(
                    steps, values, color=look.colour, linestyle=look.line, linewidth=0.7, marker=marker, alpha=0.8
                )
            if number == 0:
                axes.set_title(title, fontsize=9)
            if number == len(amounts) - 1:
                axes.set_xlabel("step")
            if key.endswith("loss"):
                loss_axis(axes)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.tick_params(labelsize=7)
        grid[number, 0].set_ylabel(f"{amount_words(amount)}\n{labels[amount]:,} labels", fontsize=8)
    used = [arm for arm in looks if any(run.arm == arm for run in drawn)]
    handles = [Line2D([], [], color=looks[arm].colour, linestyle=looks[arm].line, linewidth=1.4) for arm in used]
    figure.legend(handles, [arm_words(arm) for arm in used], loc="outside lower center", ncols=4, handlelength=3)
    return figure


def _caption(comparison: Comparison) -> str:
    return (
        "One thin line per run. The validation curves decide nothing: each run makes all its steps, and the weights at "
        "the end are evaluated."
    )


def _alt(comparison: Comparison) -> str:
    return "Training loss, validation loss and validation accuracy of all runs over their steps."


add_study_figure(
    "training_curves",
    lambda comparison, runs: training_curves(runs, comparison.arms),
    _caption,
    _alt,
    section="training",
    heading="Training curves",
)
