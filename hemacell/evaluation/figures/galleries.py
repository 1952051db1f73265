"""Images side by side."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hemacell.evaluation.checks import checked_probabilities
from hemacell.evaluation.figures.style import VERMILION, new_figure, say, styled


@styled
def mistakes(
    images: NDArray[np.uint8], labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str], most: int = 24
) -> Figure:
    """The mistakes that were made with the highest probability, each with its label and its answer.

    Args:
        images: uint8 [N, H, W, 3]; a memory map will do, only what is shown is read.
        labels: int [N].
        probabilities: float [N, C].
        classes: C names.
        most: how many to show at most.
    """
    y, p = checked_probabilities(labels, probabilities, len(classes))
    _check_images(images, len(y))
    predicted, confidence = p.argmax(1), p.max(1)
    wrong = np.flatnonzero(predicted != y)
    if not len(wrong):
        figure = new_figure(5.0, 1.6)
        say(figure.subplots(), f"no mistakes among {len(y)} images")
        return figure
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    columns = min(6, max(3, len(shown)))
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(1.45 * columns, 1.72 * rows + 0.35)
    grid = figure.subplots(rows, columns, squeeze=False)
    for panel in grid.flat:
        panel.set_axis_off()
    for panel, index in zip(grid.flat, shown, strict=False):
        panel.imshow(images[index], interpolation="antialiased")
        text = f"{classes[y[index]]}\n→ {classes[predicted[index]]} {confidence[index]:.2f}"
        panel.set_title(text, fontsize=7, loc="center", pad=3)
    which = "all of them" if len(shown) == len(wrong) else f"the {len(shown)} most confident"
    title = f"{len(wrong)} of {len(y)} images wrong, {which}: label → answer, its probability"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9 if columns > 4 else 7)
    return figure


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
