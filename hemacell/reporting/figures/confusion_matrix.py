"""What is taken for what."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from hemacell.evaluation.checks import checked_labels
from hemacell.evaluation.metrics import confusion_counts
from hemacell.reporting.figures.style import new_figure, styled


@styled
def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: Sequence[str]) -> Figure:
    """Counts, and in smaller print the share of the row, which is also the shade of the cell.

    Args:
        labels: int [N], what the images are (rows).
        predicted: int [N], what they were classified as (columns).
        classes: names, indexed by both.
    """
    y, found = checked_labels(labels, len(classes)), checked_labels(predicted, len(classes))
    counts = confusion_counts(y, found, len(classes))
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
    axes.set_title(f"{np.trace(counts)} of {len(y)} correct ({np.trace(counts) / len(y):.1%})")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(1.0, decimals=0))
    bar.set_label("share of the row")
    bar.outline.set_visible(False)
    return figure
