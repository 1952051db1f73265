"""Images side by side."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from hemacell.evaluation.checks import checked_probabilities
from hemacell.reporting.figures.style import GREY, VERMILION, new_figure, say, styled

_LUMINANCE = np.array([0.299, 0.587, 0.114])
_GAP = 0.04  # between an image and its heat, in widths of the image
_OPAQUE = 0.75  # of the strongest heat
_LEGEND, _FRAMED = (
    "Right of each image: what in it spoke most for the answer (Grad-CAM)",
    "; framed: what was looked at",
)


@styled
def mistakes(
    images: NDArray[np.uint8],
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    most: int = 24,
    heat: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None,
    crop: float = 1.0,
) -> Figure:
    """The mistakes that were made with the highest probability, each with its label and its answer.

    Args:
        images: uint8 [N, H, W, 3]; a memory map will do, only what is shown is read.
        labels: int [N].
        probabilities: float [N, C].
        classes: C names.
        most: how many to show at most.
        heat: gives for positions int [M] float [M, H, W] in 0 to 1, what spoke for the answer: it is shown beside each
            image, and asked for those only. None shows the images alone.
        crop: side of the part around the centre that was looked at, in sides of the image; framed beside the image.
    """
    y, p = checked_probabilities(labels, probabilities, len(classes))
    _check_images(images, len(y))
    predicted, confidence = p.argmax(1), p.max(1)
    wrong = np.flatnonzero(predicted != y)
    if not len(wrong):
        return _words(f"no mistakes among {len(y)} images")
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    which = "all of them" if len(shown) == len(wrong) else f"the {len(shown)} most confident"
    title = f"{len(wrong)} of {len(y)} images wrong, {which}: label → answer, its probability"
    texts = [f"{classes[y[index]]}\n→ {classes[predicted[index]]} {confidence[index]:.2f}" for index in shown]
    return _gallery(images[shown], texts, title, heat(shown) if heat else None, crop)


@styled
def explained(
    images: NDArray[np.uint8], texts: Sequence[str], title: str, heat: NDArray[np.float32], crop: float = 1.0
) -> Figure:
    """Images, each with what spoke for its answer beside it.

    Args:
        images: uint8 [N, H, W, 3]; without any the picture says so.
        texts: N, what stands above each.
        title: above all.
        heat: float [N, H, W] in 0 to 1.
        crop: side of the part around the centre that was looked at, in sides of the image; framed.
    """
    if not len(images):
        return _words("no images to show")
    _check_images(images, len(texts))
    return _gallery(images, texts, title, heat, crop)


def _words(text: str) -> Figure:
    figure = new_figure(5.0, 1.6)
    say(figure.subplots(), text)
    return figure


def _gallery(
    images: NDArray[np.uint8], texts: Sequence[str], title: str, heat: NDArray[np.float32] | None, crop: float
) -> Figure:
    """Panels in rows, each of one image, or of an image and its heat side by side."""
    if heat is None:
        columns, width, height = min(6, max(3, len(images))), 1.45, 1.72
    else:
        if heat.shape != images.shape[:3]:
            raise ValueError(f"heat of shape {images.shape[:3]} expected, got {heat.shape}")
        columns, width, height = min(4, max(3, len(images))), 2.2, 1.33
    rows = math.ceil(len(images) / columns)
    figure = new_figure(width * columns, height * rows + (0.35 if heat is None else 0.55))
    grid = figure.subplots(rows, columns, squeeze=False)
    for panel in grid.flat:
        panel.set_axis_off()
    for number, (panel, text) in enumerate(zip(grid.flat, texts, strict=False)):
        if heat is None:
            panel.imshow(images[number], interpolation="antialiased")
        else:
            _show_beside(panel, images[number], heat[number], crop)
        panel.set_title(text, fontsize=7, loc="center", pad=3, parse_math=False)  # a file's name may hold a $
    figure.suptitle(title, x=0.01, ha="left", fontsize=9 if width * columns > 5.8 else 7, parse_math=False)
    if heat is not None:
        figure.supxlabel(_LEGEND + (_FRAMED if crop < 1 else ""), x=0.01, ha="left", fontsize=7)
    return figure


def _show_beside(panel: Axes, image: NDArray[np.uint8], heat: NDArray[np.float32], crop: float) -> None:
    """The image, and to its right the same in grey under its heat, with a frame around what was looked at."""
    height, width = heat.shape
    gap = max(1, round(_GAP * width))
    # Grey, since the stains of cells have colours of their own; pale, so that heat is what stands out.
    grey = 255 - 0.8 * (255 - image @ _LUMINANCE)[..., None]
    opacity = _OPAQUE * np.clip(heat, 0, 1)[..., None]
    over = (1 - opacity) * grey + opacity * 255 * colormaps["inferno"](0.25 + 0.65 * heat)[..., :3]
    white = np.full((height, gap, 3), 255, np.uint8)
    panel.imshow(np.concatenate([image, white, over.round().astype(np.uint8)], 1), interpolation="antialiased")
    if crop < 1:
        left, top = width + gap + (1 - crop) / 2 * width - 0.5, (1 - crop) / 2 * height - 0.5
        frame = Rectangle((left, top), crop * width, crop * height, fill=False, edgecolor=GREY, linewidth=0.6)
        panel.add_patch(frame)


@styled
def answers(images: NDArray[np.uint8], table: pd.DataFrame, labels: Sequence[str] | None = None) -> Figure:
    """What a classifier answered, picture by picture: label → answer, its probability, and whether to look again.

    A picture that a person should look at has a coloured frame and `review`; one that is answered wrongly has its
    answer in bold.

    Args:
        images: uint8 [N, H, W, 3], N > 0; anything for a picture that could not be read.
        table: N rows with `class` ('' for a picture that could not be read), `probability` and `needs_review`.
        labels: N names, '' where nobody knows; None leaves them out.
    """
    _check_images(images, len(table))
    known = [""] * len(table) if labels is None else list(labels)
    if len(known) != len(table):
        raise ValueError(f"{len(table)} labels expected, got {len(known)}")
    columns = min(6, max(3, len(table)))
    rows = math.ceil(len(table) / columns)
    figure = new_figure(1.5 * columns, 1.95 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for panel in grid.flat[len(table) :]:
        panel.set_axis_off()
    for panel, image, label, (_, row) in zip(grid.flat, images, known, table.iterrows(), strict=False):
        panel.set(xticks=[], yticks=[])
        panel.grid(False)
        panel.spines[:].set(visible=True, color=VERMILION if row["needs_review"] else "white", linewidth=2.5)
        if not row["class"]:
            panel.set_title("cannot be read", fontsize=8, loc="center", pad=4)
            continue
        panel.imshow(image, interpolation="antialiased")
        wrong = label not in ("", row["class"])
        panel.set_title(
            f"{label or ' '}\n→ {row['class']} {row['probability']:.2f}",
            fontsize=8,
            loc="center",
            pad=4,
            fontweight="bold" if wrong else "normal",
        )
        if row["needs_review"]:
            panel.set_xlabel("review", fontsize=8, color=VERMILION, labelpad=3)
    return figure


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
    _check_images(originals, len(scores))
    _check_images(reconstructions, len(scores))
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


def _check_images(images: NDArray[np.uint8], count: int) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != count or count == 0:
        raise ValueError(
            f"uint8 images of shape [{count}, H, W, 3] expected, got {images.dtype} of shape {images.shape}"
        )
