"""How measurements of images are distributed, per class and split."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hemacell.reporting.figures.style import GREY, colour, new_figure, styled

_COLUMNS = 3
_INNER, _OUTER = (25, 50, 75), (5, 95)


@styled
def measurements(table: pd.DataFrame, classes: Sequence[str], splits: Sequence[str]) -> Figure:
    """One panel per measurement: the median, the middle half and the middle 90 % of each class, a colour per split.

    Args:
        table: N rows, one numeric column per measurement; NaN where it could not be made.
        classes: N names, '' for images without a label.
        splits: N names, '' for images that are not divided.
    """
    names, sides = sorted(set(classes)), list(dict.fromkeys(sorted(splits, key=_split_order)))
    rows = math.ceil(table.shape[1] / _COLUMNS)
    figure = new_figure(2.5 * _COLUMNS + 0.6, rows * (0.75 + 0.3 * len(names)) + 0.5)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True)
    of_class, of_split = np.asarray(classes, dtype=object), np.asarray(splits, dtype=object)
    for panel in grid.flat[table.shape[1] :]:
        panel.set_axis_off()
    for panel, name in zip(grid.flat, table, strict=False):
        values = table[name].to_numpy(dtype=np.float64)
        for number, side in enumerate(sides):
            for place, label in enumerate(names):
                chosen = values[(of_class == label) & (of_split == side) & np.isfinite(values)]
                if len(chosen):
                    _draw(panel, chosen, place + 0.22 * (number - (len(sides) - 1) / 2), colour(number))
            panel.plot([], [], color=colour(number), linewidth=3, label=side or "images")
        panel.set_title(name.replace("_", " "), fontsize=8.5)
        panel.set_yticks(range(len(names)), [label or "all" for label in names])
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.tick_params(axis="y", length=0)
        panel.grid(False, axis="y")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=max(1, len(sides)))
    figure.supxlabel("dot: median; thick: middle half; thin: middle 90 %", x=0.01, ha="left", fontsize=7, color=GREY)
    return figure


def _draw(panel: Axes, values: np.ndarray, y: float, fill: str) -> None:
    low, middle, high = np.percentile(values, _INNER)
    panel.plot(np.percentile(values, _OUTER), (y, y), color=fill, linewidth=0.9, solid_capstyle="butt")
    panel.plot((low, high), (y, y), color=fill, linewidth=3, solid_capstyle="butt")
    panel.plot(middle, y, "o", color="white", markeredgecolor=fill, markersize=3.2)


def _split_order(name: str) -> int:
    return ("train", "val", "test", "").index(name)
