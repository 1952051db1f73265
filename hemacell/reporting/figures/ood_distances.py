"""Out-of-distribution detection: how far images of several kinds lie from the training cells."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hemacell.reporting.figures.style import BLUE, GREY, VERMILION, new_figure, styled

_DOTS = 300  # for each kind: more would merge into one blot
_SHOWN = (0.1, 1000.0)  # distances that are drawn where they lie; others at the border


@styled
def ood_distances(kinds: Mapping[str, ArrayLike], limit: float) -> Figure:
    """One line of dots for each kind of image, on a logarithmic scale, with the share beyond the limit.

    Args:
        kinds: name -> float [N], distances above 0; the first kind are cells that should not be flagged.
        limit: distance above which an image is flagged.
    """
    rng = np.random.default_rng(0)
    figure = new_figure(6.6, 1.1 + 0.36 * len(kinds))
    axes = figure.subplots()
    for y, values in enumerate(kinds.values()):
        found = np.asarray(values, dtype=np.float64)
        shown = np.clip(rng.permutation(found)[:_DOTS], *_SHOWN)
        height = y + rng.uniform(-0.28, 0.28, len(shown))
        axes.plot(shown, height, ".", color=BLUE if y == 0 else VERMILION, markersize=3, alpha=0.4)
        text = f"{(found > limit).mean():.1%} of {len(found)} flagged"
        axes.annotate(text, (1, y), (6, 0), axes.get_yaxis_transform(), "offset points", va="center", fontsize=8)
    axes.axvline(limit, color=GREY, linestyle="--", linewidth=1, zorder=0.9)
    axes.set_xscale("log")
    axes.set_yticks(range(len(kinds)), [name.replace("_", " ") for name in kinds])
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set_xlabel("distance from the training cells; images beyond the dashed line are flagged")
    return figure
