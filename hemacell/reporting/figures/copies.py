"""Copies of one picture side by side."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hemacell.reporting.figures.gallery import check_images
from hemacell.reporting.figures.style import new_figure, styled

_COLUMNS = 3
_GAP = 0.04  # between two images, in widths of an image


@styled
def copies(first: NDArray[np.uint8], second: NDArray[np.uint8], texts: Sequence[tuple[str, str]]) -> Figure:
    """Pairs of copies, each with what is said of both.

    Args:
        first, second: uint8 [N, H, W, 3].
        texts: N pairs, such as the split and the name of each image.
    """
    check_images(first, len(texts))
    check_images(second, len(texts))
    rows = math.ceil(len(texts) / _COLUMNS)
    columns = min(_COLUMNS, len(texts))
    figure = new_figure(max(2.4, 2.4 * columns), 1.62 * rows + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False)
    white = np.full((first.shape[1], max(1, round(_GAP * first.shape[2])), 3), 255, np.uint8)
    for panel in grid.flat:
        panel.set_axis_off()
    for panel, left, right, (said, other) in zip(grid.flat, first, second, texts, strict=False):
        panel.imshow(np.concatenate([left, white, right], 1), interpolation="antialiased")
        panel.set_title(f"{said}\n= {other}", fontsize=6.5, loc="left", pad=3, parse_math=False)
    figure.suptitle("Images that show the same", x=0.01, ha="left", fontsize=9)
    return figure
