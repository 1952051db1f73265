"""Scores on a folder of images against the classifier's own test scores, as a forest plot."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hemacell.evaluation.reference_scores import MetricComparison
from hemacell.reporting.figures.style import BLACK, BLUE, VERMILION, new_figure, styled


@styled
def reference_scores(rows: Sequence[MetricComparison]) -> Figure:
    """One line for each score: the 95 % interval and the score here, and the own test score as a hollow diamond.

    Scores whose whole interval lies below the own one are drawn in another colour, with another marker.

    Args:
        rows: at least one.
    """
    figure = new_figure(7.2, 1.5 + 0.32 * len(rows))
    axes = figure.subplots()
    for y, row in enumerate(rows):
        ink, marker = (VERMILION, "v") if row.below_reference else (BLUE, "o")
        axes.plot([row.low, row.high], [y, y], color=ink, linewidth=4.5, solid_capstyle="butt", alpha=0.4)
        axes.plot(row.value, y, marker, color=ink, markersize=5.5, zorder=3)
        if row.reference is not None:
            axes.plot(row.reference, y, "D", color=BLACK, markerfacecolor="none", markersize=6, zorder=4)
        axes.annotate(
            f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]",
            (1, y),
            (8, 0),
            axes.get_yaxis_transform(),
            "offset points",
            va="center",
            fontsize=7.5,
        )
    lowest = min(min(row.low, row.value if row.reference is None else row.reference) for row in rows)
    axes.set_xlim(max(-0.02, lowest - 0.08 * (1 - lowest) - 0.01), 1 + 0.03 * (1 - lowest) + 0.005)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [row.metric.replace("f1/", "F1 ") for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("score")
    reference_known = any(row.reference is not None for row in rows)
    shown = [
        (BLUE, "o", BLUE, "here, 95 % interval", any(not row.below_reference for row in rows)),
        (VERMILION, "v", VERMILION, "here, interval below own test", any(row.below_reference for row in rows)),
        (BLACK, "D", "none", "own test", reference_known),
    ]
    handles = [
        Line2D([], [], color=ink, marker=marker, markerfacecolor=face, linestyle="none", label=words)
        for ink, marker, face, words, there in shown
        if there
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure
