"""One confusion matrix for each arm."""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hemacell.evaluation.comparison.records import Comparison
from hemacell.evaluation.comparison.words import amount_words, arm_words, number_of_images
from hemacell.reporting.figures.arms import PAGE_WIDTH
from hemacell.reporting.figures.registry import add_study_figure
from hemacell.reporting.figures.style import BLACK, new_figure, styled


@styled
def confusion_matrices(comparison: Comparison, amount: str | None = None) -> Figure:
    """One confusion matrix an arm, with one amount of labels: shares of the row, and counts summed over the draws.

    Args:
        comparison: what is drawn.
        amount: one of its amounts; the smallest without it.

    Raises:
        ValueError: no run with that amount.
    """
    amount = comparison.amounts[0] if amount is None else amount
    arms = [arm for arm in comparison.arms if (arm, amount) in comparison.confusion]
    if not arms:
        raise ValueError(f"no run with the amount {amount}; there are {', '.join(comparison.amounts)}")
    across = len(arms) if len(arms) <= 4 else 3 if len(arms) <= 6 else 4
    down = math.ceil(len(arms) / across)
    size = min(2.4, (PAGE_WIDTH - 0.9) / across)
    figure = new_figure(max(0.9 + size * across, 4.4), 1.1 + down * (size + 0.3))
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    count = len(comparison.classes)
    large = min(7.5, 58 * size / (count * 2.6))
    for axes, arm in zip(grid.flat, arms, strict=False):
        counts = comparison.confusion[arm, amount]
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts.shape):
            n, share = int(counts[row, column]), shares[row, column]
            if not n:
                continue
            ink = "white" if share > 0.55 else BLACK
            centred: dict[str, Any] = {"xy": (column, row), "textcoords": "offset points", "ha": "center", "color": ink}
            centred["in_layout"] = False  # lies within its cell: measuring hundreds of them takes longer than drawing
            axes.annotate(f"{100 * share:.1f}", xytext=(0, 0), fontsize=large, **centred)
            axes.annotate(f"{n:,}", xytext=(0, -large), fontsize=0.78 * large, **centred)
        right = np.trace(counts) / max(counts.sum(), 1)
        axes.set_title(f"{arm_words(arm)}\n{100 * right:.1f} % right", fontsize=8)
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    for number, axes in enumerate(grid.flat):
        axes.set_xticks(np.arange(count), comparison.classes, rotation=90, fontsize=7)
        axes.set_yticks(np.arange(count), comparison.classes, fontsize=7)
        axes.tick_params(labelbottom=number + across >= len(arms))
        if number + across < across * down:
            for label in axes.get_xticklabels():
                label.set_in_layout(False)  # they hang into the empty place below, for which nothing is moved
        if number >= len(arms):
            axes.set_axis_off()
    figure.supxlabel("predicted", fontsize=8.5)
    figure.supylabel("labelled", fontsize=8.5)
    words = f"{comparison.labels[amount]:,.0f} labels"
    figure.suptitle(f"{amount_words(amount)} ({words}): per cent of the row; small: counts over all runs", fontsize=9)
    return figure


def _caption(comparison: Comparison) -> str:
    amount = amount_words(comparison.amounts[0])
    return f"With {amount}, the fewest labels, on {number_of_images(comparison)}."


def _alt(comparison: Comparison) -> str:
    amount = comparison.amounts[0]
    shares = [
        f"{arm_words(arm)} {100 * np.trace(counts) / max(counts.sum(), 1):.1f} % correct"
        for arm in comparison.arms
        if (counts := comparison.confusion.get((arm, amount))) is not None
    ]
    return f"Confusion matrices at {amount_words(amount)}: {', '.join(shares)}."


add_study_figure(
    "confusion_matrices",
    lambda comparison, runs: confusion_matrices(comparison),
    _caption,
    _alt,
    section="confusion",
    heading="Confusion matrices",
)
