"""Images side by side, with saliency or without: what the galleries share."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from hemacell.reporting.figures.style import GREY, new_figure

_LUMINANCE = np.array([0.299, 0.587, 0.114])
_GAP = 0.04  # between an image and its saliency map, in widths of the image
_OPAQUE = 0.75  # of the strongest saliency
_LEGEND, _FRAMED = (
    "Right of each image: what supported the prediction most (Grad-CAM)",
    "; framed: the crop that the classifier sees",
)


def draw_gallery(
    images: NDArray[np.uint8], texts: Sequence[str], title: str, saliency: NDArray[np.float32] | None, crop: float
) -> Figure:
    """Panels in rows, each of one image, or of an image and its saliency side by side.

    Args:
        images: uint8 [N, H, W, 3].
        texts: N, the title of each panel.
        title: of the figure.
        saliency: float [N, H, W] in 0 to 1, or None.
        crop: side of the central part that the classifier sees, in sides of the image; framed.
    """
    if saliency is None:
        columns, width, height = min(6, max(3, len(images))), 1.45, 1.72
    else:
        if saliency.shape != images.shape[:3]:
            raise ValueError(f"saliency of shape {images.shape[:3]} expected, got {saliency.shape}")
        columns, width, height = min(4, max(3, len(images))), 2.2, 1.33
    rows = math.ceil(len(images) / columns)
    figure = new_figure(width * columns, height * rows + (0.35 if saliency is None else 0.55))
    grid = figure.subplots(rows, columns, squeeze=False)
    for panel in grid.flat:
        panel.set_axis_off()
    for number, (panel, text) in enumerate(zip(grid.flat, texts, strict=False)):
        if saliency is None:
            panel.imshow(images[number], interpolation="antialiased")
        else:
            _show_saliency(panel, images[number], saliency[number], crop)
        panel.set_title(text, fontsize=7, loc="center", pad=3, parse_math=False)  # a file's name may hold a $
    figure.suptitle(title, x=0.01, ha="left", fontsize=9 if width * columns > 5.8 else 7, parse_math=False)
    if saliency is not None:
        figure.supxlabel(_LEGEND + (_FRAMED if crop < 1 else ""), x=0.01, ha="left", fontsize=7)
    return figure


def _show_saliency(panel: Axes, image: NDArray[np.uint8], saliency: NDArray[np.float32], crop: float) -> None:
    """The image, and to its right the same in grey under its saliency, with a frame around the crop."""
    height, width = saliency.shape
    gap = max(1, round(_GAP * width))
    # Grey, since the stains of cells have colours of their own; pale, so that saliency is what stands out.
    grey = 255 - 0.8 * (255 - image @ _LUMINANCE)[..., None]
    opacity = _OPAQUE * np.clip(saliency, 0, 1)[..., None]
    over = (1 - opacity) * grey + opacity * 255 * colormaps["inferno"](0.25 + 0.65 * saliency)[..., :3]
    white = np.full((height, gap, 3), 255, np.uint8)
    panel.imshow(np.concatenate([image, white, over.round().astype(np.uint8)], 1), interpolation="antialiased")
    if crop < 1:
        left, top = width + gap + (1 - crop) / 2 * width - 0.5, (1 - crop) / 2 * height - 0.5
        frame = Rectangle((left, top), crop * width, crop * height, fill=False, edgecolor=GREY, linewidth=0.6)
        panel.add_patch(frame)


def check_images(images: NDArray[np.uint8], count: int) -> None:
    """Raise ValueError unless these are `count` colour images."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != count or count == 0:
        raise ValueError(
            f"uint8 images of shape [{count}, H, W, 3] expected, got {images.dtype} of shape {images.shape}"
        )
