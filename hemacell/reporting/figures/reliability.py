"""Whether probabilities are what they claim to be."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from hemacell.evaluation.calibration_error import ECE_BINS, calibration_bins
from hemacell.reporting.figures.style import BLUE, GREY, VERMILION, new_figure, styled


@styled
def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = ECE_BINS) -> Figure:
    """Accuracy against the probability of the predicted class, in bins, with the number of images in each.

    The bars are 95 % intervals (Wilson 1927): a bin of three images proves little.

    Args:
        labels: int [N].
        probabilities: float [N, C].
        bins: of equal width over 0..1.
    """
    table = calibration_bins(labels, probabilities, bins)
    used = table.count > 0
    count, accuracy, confidence = table.count[used], table.accuracy[used], table.confidence[used]
    intervals = [
        binomtest(round(share * n), int(n)).proportion_ci(method="wilson")
        for share, n in zip(accuracy, count, strict=True)
    ]
    # rounding may put an end of the interval just beyond the share itself
    below = np.maximum(accuracy - [interval.low for interval in intervals], 0)
    above = np.maximum([interval.high for interval in intervals] - accuracy, 0)
    centre = (table.edges[:-1] + table.edges[1:])[used] / 2

    figure = new_figure(5.4, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="calibrated")
    upper.vlines(
        confidence,
        confidence,
        accuracy,
        color=VERMILION,
        linewidth=4,
        alpha=0.45,
        label="difference to the probability",
    )
    upper.errorbar(
        confidence, accuracy, (below, above), fmt="o", color=BLUE, markersize=4, label="accuracy, 95 % interval"
    )
    upper.set_ylim(-0.02, 1.02)
    upper.set_ylabel("accuracy")
    upper.set_title(f"expected calibration error {table.error:.4f}")
    upper.legend(loc="upper left")

    lower.bar(centre, count, 0.94 / bins, color=GREY)
    lower.set_yscale("symlog", linthresh=1)  # most images sit in the last bin
    lower.set_ylim(0, count.max() * 5)
    for x, n in zip(centre, count, strict=True):
        lower.annotate(f"{n}", (x, n), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=6.5)
    lower.set_yticks([])
    lower.minorticks_off()
    lower.set_ylabel("images (log)")
    lower.set_xlabel("probability of the predicted class")
    lower.set_xlim(0, 1.02)
    return figure
