"""A figure of your own in the report of a study: the spread between draws.

Import this file before the report is written, or let an installed package name it under the entry-point group
`hemacell.figures`. The figure gets a section of its own; with `section="scores"` it would stand next to the scores.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from hemacell.evaluation.comparison.records import Comparison, RunRecord
from hemacell.evaluation.comparison.words import amount_words, arm_words
from hemacell.reporting.figures.registry import add_study_figure
from hemacell.reporting.figures.style import new_figure, styled


@styled
def spread_between_draws(comparison: Comparison, runs: Sequence[RunRecord]) -> Figure:
    """Standard deviation of the macro-F1 over draws, one line per arm."""
    figure = new_figure(7.2, 3.6)
    axes = figure.subplots()
    for arm in comparison.arms:
        scores = [comparison.score(arm, amount) for amount in comparison.amounts]
        points = [(amount_words(score.amount), score.sd) for score in scores if score and score.sd is not None]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", label=arm_words(arm))
    axes.set_ylabel("standard deviation of macro-F1")
    axes.set_xlabel("labelled training images")
    axes.legend()
    return figure


add_study_figure(
    "spread_between_draws",
    spread_between_draws,
    caption=lambda comparison: "The fewer the labels, the more the choice of training images matters.",
    alt=lambda comparison: "Chart of the standard deviation of the macro-F1 between draws, one line per arm.",
    section="spread",
    heading="Spread between draws",
)
