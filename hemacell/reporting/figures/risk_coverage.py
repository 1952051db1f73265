"""Selective prediction: the error among accepted predictions."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from hemacell.evaluation import selective
from hemacell.evaluation.intervals import binomial_limits
from hemacell.reporting.figures.style import BLUE, VERMILION, new_figure, styled


@styled
def risk_coverage(labels: ArrayLike, probabilities: ArrayLike, threshold: float, groups: Sequence[str] = ()) -> Figure:
    """The error among the most confident predictions, against the share of images that these are.

    The band is the exact 95 % interval of each share; the mark is the threshold.

    Args:
        labels: int [N].
        probabilities: float [N, C].
        threshold: probability from which a prediction is accepted without review.
        groups: N, patient or slide of each image; empty where they are not known.
    """
    curve = selective.risk_coverage(labels, probabilities)
    counts = np.rint(curve.coverage * len(np.asarray(labels))).astype(int)
    chosen = np.unique(np.linspace(0, len(counts) - 1, 400).astype(int))  # of thousands, for the band
    coverage, risk = curve.coverage[chosen], curve.risk[chosen]
    wrong = np.rint(risk * counts[chosen]).astype(int)
    worth = selective.effective_counts(labels, probabilities, groups)[chosen] / counts[chosen]
    low, high = binomial_limits(wrong * worth, counts[chosen] * worth)

    figure = new_figure(5.4, 4.0)
    axes = figure.subplots()
    axes.fill_between(coverage, low, high, color=BLUE, alpha=0.15, linewidth=0, label="exact 95 % interval")
    axes.plot(coverage, risk, color=BLUE, label=f"area below the curve {curve.area:.4f}")
    here = selective.accepted(labels, probabilities, threshold)
    if here.accepted:
        text = f"threshold {threshold:.2f}: {here.coverage:.1%} accepted, {here.error:.1%} of these wrong"
        axes.plot(
            [here.coverage], [here.error], "o", color=VERMILION, markersize=6, label=text, clip_on=False, zorder=3
        )
    axes.set_xlim(0, 1.005)
    top = max(2 * curve.risk[-1], 2 * here.error, 0.02)
    axes.set_ylim(0, min(1.0, top))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=2 if top < 0.1 else 0))
    axes.set_xlabel("coverage: share of images accepted, most confident first")
    axes.set_ylabel("error among the accepted")
    axes.legend(loc="upper left")
    return figure
