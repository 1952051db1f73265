"""The differences of each class."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hemacell.evaluation.comparison.records import Comparison, Difference
from hemacell.evaluation.comparison.words import amount_words, arm_words, named, signed
from hemacell.reporting.figures.arms import PAGE_WIDTH
from hemacell.reporting.figures.registry import add_study_figure
from hemacell.reporting.figures.style import BLACK, message, new_figure, styled


@styled
def class_gains(comparison: Comparison) -> Figure:
    """Difference of each class's F1 to the baseline, a panel an amount; in brackets where the interval holds zero."""
    panels = []
    for amount in comparison.amounts:
        found = {
            arm: [comparison.difference(arm, amount, f"f1/{name}") for name in comparison.classes]
            for arm in comparison.arms
            if arm != comparison.baseline
        }
        found = {arm: row for arm, row in found.items() if any(row)}
        if found:
            panels.append((amount, found))
    if not panels:
        return message(f"nothing to compare with {named(comparison.baseline)}", PAGE_WIDTH)
    across = 2 if len(panels) > 1 and len(comparison.classes) <= 6 else 1
    down = math.ceil(len(panels) / across)
    heights = [max(len(found) for _, found in panels[row * across :][:across]) for row in range(down)]
    figure = new_figure(PAGE_WIDTH, max(2.4, 1.1 + 0.42 * down + 0.26 * sum(heights)))
    grid = figure.subplots(down, across, squeeze=False, height_ratios=heights)
    limit = max(0.01, *(abs(each.mean) for _, found in panels for row in found.values() for each in row if each))
    image = None
    for number, (amount, found) in enumerate(panels):
        axes = grid.flat[number]
        shades = np.array([[each.mean if each else math.nan for each in row] for row in found.values()])
        image = axes.imshow(shades, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        for place, row in enumerate(found.values()):
            for column, each in enumerate(row):
                _write_gain(axes, column, place, each, limit)
        axes.set_title(f"{amount_words(amount)}: {comparison.labels[amount]:,.0f} labels", fontsize=9)
        axes.set_xticks(np.arange(len(comparison.classes)), comparison.classes, rotation=25, ha="right", fontsize=7.5)
        axes.set_yticks(np.arange(len(found)), [arm_words(arm) for arm in found], fontsize=7.5)
        axes.tick_params(length=0, labelbottom=number + across >= len(panels))
        if number % across and list(found) == list(panels[number - 1][1]):
            axes.tick_params(labelleft=False)
        axes.grid(False)
        axes.spines[:].set_visible(False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=min(1.0, 2.3 / figure.get_figheight()), aspect=14, pad=0.02)
        bar.set_label(f"F1 minus that of {named(comparison.baseline)}", fontsize=8)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7)
    figure.supxlabel("bold: the 95 % interval lies on one side of zero; (in brackets): it holds zero", fontsize=8)
    return figure


def _write_gain(axes: Axes, column: int, row: int, gain: Difference | None, limit: float) -> None:
    if gain is None:
        axes.text(column, row, "–", ha="center", va="center", fontsize=6.8)
        return
    holds_zero = gain.low <= 0 <= gain.high
    axes.text(
        column,
        row,
        f"({signed(gain.mean)})" if holds_zero else signed(gain.mean),
        ha="center",
        va="center",
        fontsize=6.8,
        color="white" if abs(gain.mean) > 0.62 * limit else BLACK,
        fontweight="normal" if holds_zero else "bold",
        in_layout=False,
    )


def _caption(comparison: Comparison) -> str:
    return (
        f"F1 of each class minus that of {named(comparison.baseline)}. These are many comparisons without a "
        "correction: by chance alone, one interval in twenty excludes zero."
    )


def _alt(comparison: Comparison) -> str:
    def words(each: Difference) -> str:
        where = f"{arm_words(each.arm)}, {each.metric.removeprefix('f1/')}, {amount_words(each.amount)}"
        return f"{signed(each.mean)} ({where})"

    found = sorted((each for each in comparison.differences if each.metric.startswith("f1/")), key=lambda d: d.mean)
    ends = f": from {words(found[0])} to {words(found[-1])}" if found else ""
    return f"Heat map of the differences in F1 of each class{ends}."


add_study_figure(
    "class_gains",
    lambda comparison, runs: class_gains(comparison),
    _caption,
    _alt,
    section="classes",
    heading="Differences by class",
    applies=lambda comparison: len(comparison.arms) > 1,
)
