"""Images and their reconstructions."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hemacell.reporting.figures.gallery import check_images
from hemacell.reporting.figures.style import new_figure, styled


@styled
def reconstructions(
    originals: NDArray[np.uint8], reconstructions: NDArray[np.uint8], ssim: ArrayLike, most: int = 16
) -> Figure:
    """Images above what the autoencoder made of them, with the structural similarity of each pair.

    Args:
        originals, reconstructions: uint8 [N, H, W, 3].
        ssim: float [N], as `ssim_per_image` gives it.
        most: how many pairs to show at most, the first ones.
    """
    scores = np.asarray(ssim, dtype=np.float64)
    check_images(originals, len(scores))
    check_images(reconstructions, len(scores))
    count = min(most, len(scores))
    columns = min(8, count)
    bands = math.ceil(count / columns)
    figure = new_figure(max(3.0, 1.15 * columns + 0.4), 2.65 * bands)
    grid = figure.subplots(2 * bands, columns, squeeze=False)
    for panel in grid.flat:
        panel.set_xticks([])
        panel.set_yticks([])
        panel.grid(False)
        for side in panel.spines.values():
            side.set_visible(False)
    for index in range(count):
        band, column = divmod(index, columns)
        upper, lower = grid[2 * band, column], grid[2 * band + 1, column]
        upper.imshow(originals[index], interpolation="antialiased")
        lower.imshow(reconstructions[index], interpolation="antialiased")
        lower.set_xlabel(f"SSIM {scores[index]:.3f}", fontsize=7, labelpad=2)
        if column == 0:
            _name(upper, "original")
            _name(lower, "reconstructed")
    return figure


def _name(panel: Axes, text: str) -> None:
    panel.set_ylabel(text, fontsize=7, labelpad=2)
