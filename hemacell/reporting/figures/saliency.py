"""Images with what supported their predictions."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hemacell.reporting.figures.gallery import check_images, draw_gallery
from hemacell.reporting.figures.style import message, styled


@styled
def saliency_maps(
    images: NDArray[np.uint8], texts: Sequence[str], title: str, saliency: NDArray[np.float32], crop: float = 1.0
) -> Figure:
    """Images, each next to what supported its prediction.

    Args:
        images: uint8 [N, H, W, 3]; without any the figure says so.
        texts: N, what stands above each.
        title: above all.
        saliency: float [N, H, W] in 0 to 1.
        crop: side of the central part that the classifier sees, in sides of the image; framed.
    """
    if not len(images):
        return message("no images to show")
    check_images(images, len(texts))
    return draw_gallery(images, texts, title, saliency, crop)
