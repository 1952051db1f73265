"""What a classifier gets right, what it takes for what, and how far its probabilities can be believed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix as count_matrix
from sklearn.metrics import roc_curve

from hemacell.evaluation import selective
from hemacell.evaluation.calibration_error import ECE_BINS, calibration_bins
from hemacell.evaluation.checks import checked_labels, checked_probabilities
from hemacell.evaluation.intervals import binomial_limits
from hemacell.evaluation.metrics import one_vs_rest_auroc
from hemacell.reporting.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    colour,
    line_style,
    new_figure,
    say,
    styled,
)


@styled
def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: Sequence[str]) -> Figure:
    """Counts, and in smaller print the share of the row, which is also the shade of the cell.

    Args:
        labels: int [N], what the images are (rows).
        predicted: int [N], what they were taken for (columns).
        classes: names, indexed by both.
    """
    y, answer = checked_labels(labels, len(classes)), checked_labels(predicted, len(classes))
    counts = count_matrix(y, answer, labels=np.arange(len(classes)))
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    side = max(4.4, 1.6 + 0.85 * len(classes))
    figure = new_figure(side + 1.6, side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        count, share = counts[row, column], shares[row, column]
        ink = "white" if share > 0.55 else "black" if count else "#A0A0A0"
        centred: dict[str, Any] = {"xy": (column, row), "textcoords": "offset points", "ha": "center", "color": ink}
        axes.annotate(f"{count}", xytext=(0, -3), fontsize=11, **centred)
        if count:
            axes.annotate(f"{share:.1%}", xytext=(0, -14), fontsize=7, **centred)
    ticks = np.arange(len(classes))
    axes.set_xticks(ticks, list(classes))
    axes.set_yticks(ticks, [f"{name}\n(n = {n})" for name, n in zip(classes, totals[:, 0], strict=True)])
    axes.set_xlabel("predicted")
    axes.set_ylabel("labelled")
    axes.set_title(f"{np.trace(counts)} of {len(y)} right ({np.trace(counts) / len(y):.1%})")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(1.0, decimals=0))
    bar.set_label("share of the row")
    bar.outline.set_visible(False)
    return figure


@styled
def per_class(metrics: Mapping[str, float], classes: Sequence[str]) -> Figure:
    """Precision, recall and F1 of each class as bars, the macro-F1 as a line.

    Args:
        metrics: what `classification_metrics` returned; a score that it left out is drawn as a dash.
        classes: the names in it.
    """
    figure = new_figure(max(5.0, 1.2 + 1.25 * len(classes)), 4.2)
    axes = figure.subplots()
    width = 0.27
    scores = (("precision", BLUE), ("recall", ORANGE), ("f1", GREEN))
    for number, (score, fill) in enumerate(scores):
        for place, name in enumerate(classes):
            x = place + (number - 1) * width
            value = metrics.get(f"{score}/{name}")
            label = {"f1": "F1"}.get(score, score) if place == 0 else None
            axes.bar(x, value or 0.0, width * 0.92, color=fill, label=label)
            inside = value is not None and value > 0.2
            axes.annotate(
                "none" if value is None else f"{value:.3f}",
                (x, value or 0.0),
                xytext=(0, -4 if inside else 4),
                textcoords="offset points",
                rotation=90,
                ha="center",
                va="top" if inside else "bottom",
                color="black" if fill == ORANGE or not inside else "white",
                fontsize=8,
            )
    if "macro_f1" in metrics:
        macro = metrics["macro_f1"]
        axes.axhline(macro, color=GREY, linestyle="--", linewidth=1, zorder=0.9, label=f"macro-F1 = {macro:.3f}")
    axes.set_xticks(np.arange(len(classes)), list(classes))
    axes.set_ylim(0, 1.02)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel("score")
    axes.grid(False, axis="x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure


@styled
def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = ECE_BINS) -> Figure:
    """Accuracy against the probability of the answer, in bins, with the number of images in each.

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
        confidence, confidence, accuracy, color=VERMILION, linewidth=4, alpha=0.45, label="gap to the probability"
    )
    upper.errorbar(
        confidence, accuracy, (below, above), fmt="o", color=BLUE, markersize=4, label="share right, 95 % interval"
    )
    upper.set_ylim(-0.02, 1.02)
    upper.set_ylabel("share right")
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
    lower.set_xlabel("probability of the answer")
    lower.set_xlim(0, 1.02)
    return figure


@styled
def roc(labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> Figure:
    """ROC curves, each class against the rest; of two classes only the second's, as the other's is its mirror.

    Args:
        labels: int [N].
        probabilities: float [N, C].
        classes: C names. One without an image, or with all of them, has no curve.
    """
    y, p = checked_probabilities(labels, probabilities, len(classes))
    areas = one_vs_rest_auroc(y, p)
    if len(classes) == 2:
        areas.pop(0, None)
    figure = new_figure(5.0, 4.9)
    axes = figure.subplots()
    if not areas:
        say(axes, "no ROC curve: all images are of one class")
        return figure
    panels = [axes]
    if min(areas.values()) > 0.97:  # the curves lie in one corner
        panels.append(axes.inset_axes((0.42, 0.40, 0.53, 0.45), xlim=(-0.002, 0.1), ylim=(0.9, 1.002)))
        panels[1].tick_params(labelsize=7)
        axes.indicate_inset_zoom(panels[1], edgecolor=GREY)
    for number, (index, area) in enumerate(areas.items()):
        wrongly, rightly, _ = roc_curve(y == index, p[:, index])
        for panel in panels:
            label = f"{classes[index]}, AUROC {area:.3f}"
            panel.plot(wrongly, rightly, linestyle=line_style(number), color=colour(number), label=label)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel("false positive rate (1 - specificity)")
    axes.set_ylabel("true positive rate (sensitivity)")
    axes.set_title("each class against the rest" if len(classes) > 2 else f"{classes[1]} against {classes[0]}")
    axes.legend(loc="lower right")
    return figure


@styled
def risk_coverage(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> Figure:
    """The share of wrong answers among the surest ones, against the share of images that these are.

    The band is the exact 95 % interval of each share; the mark is where answers are accepted.

    Args:
        labels: int [N].
        probabilities: float [N, C].
        threshold: probability from which on an answer is accepted without review.
    """
    curve = selective.risk_coverage(labels, probabilities)
    counts = np.rint(curve.coverage * len(np.asarray(labels))).astype(int)
    chosen = np.unique(np.linspace(0, len(counts) - 1, 400).astype(int))  # of thousands, for the band
    coverage, risk = curve.coverage[chosen], curve.risk[chosen]
    wrong = np.rint(risk * counts[chosen]).astype(int)
    low, high = binomial_limits(wrong, counts[chosen])

    figure = new_figure(5.4, 4.0)
    axes = figure.subplots()
    axes.fill_between(coverage, low, high, color=BLUE, alpha=0.15, linewidth=0, label="exact 95 % interval")
    axes.plot(coverage, risk, color=BLUE, label=f"area below the curve {curve.area:.4f}")
    here = selective.accepted(labels, probabilities, threshold)
    if here.accepted:
        text = f"accepted from {threshold:.2f} on: {here.coverage:.1%}, of which {here.error:.1%} wrong"
        axes.plot(
            [here.coverage], [here.error], "o", color=VERMILION, markersize=6, label=text, clip_on=False, zorder=3
        )
    axes.set_xlim(0, 1.005)
    top = max(2 * curve.risk[-1], 2 * here.error, 0.02)
    axes.set_ylim(0, min(1.0, top))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=2 if top < 0.1 else 0))
    axes.set_xlabel("share of images that are accepted, the surest first")
    axes.set_ylabel("share of these that is wrong")
    axes.legend(loc="upper left")
    return figure
