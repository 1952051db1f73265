"""Predictions image by image."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hemacell.reporting.figures.gallery import check_images
from hemacell.reporting.figures.style import VERMILION, new_figure, styled


@styled
def predictions(images: NDArray[np.uint8], table: pd.DataFrame, labels: Sequence[str] | None = None) -> Figure:
    """Predictions image by image: label → prediction, its probability, and whether it needs review.

    An image that needs review has a coloured frame and `review`; a wrong prediction is printed in bold.

    Args:
        images: uint8 [N, H, W, 3], N > 0; anything where an image could not be read.
        table: N rows with `class` ('' where an image could not be read), `probability` and `needs_review`.
        labels: N names, '' where unknown; None leaves them out.
    """
    check_images(images, len(table))
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
