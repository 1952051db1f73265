"""Differential counts of smears, as counted and corrected."""

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hemacell.reporting.figures.style import BLUE, VERMILION, new_figure, styled

_KINDS = (("share", -0.16, BLUE, "o", "as counted, exact limits"), ("corrected", 0.16, VERMILION, "D", "corrected"))


@styled
def differential_shares(table: pd.DataFrame, most: int = 9) -> Figure:
    """One panel per smear, one line per class: its share as counted and corrected, with 95 % limits.

    Args:
        table: one row per smear and class with `smear`, `class`, `cells`, `note`, and `share` and `corrected` with
            `_low` and `_high`, in 0 to 1; what is NaN is not drawn. A class with a note is marked by a *.
        most: number of panels at most; the first smears are shown.

    Raises:
        ValueError: the table has no rows.
    """
    smears = list(dict.fromkeys(table["smear"]))
    if not smears:
        raise ValueError("expected at least one smear, got a table without rows")
    shown = smears[:most]
    columns = min(3, len(shown))
    bands = math.ceil(len(shown) / columns)
    height = table.groupby("smear").size().max() * 0.28
    figure = new_figure(1.6 + 2.6 * columns, 0.7 + bands * (height + 0.75))
    grid = figure.subplots(bands, columns, squeeze=False, sharex=True)
    for panel in grid.flat[len(shown) :]:
        panel.set_axis_off()
    for panel, smear in zip(grid.flat, shown, strict=False):
        counted = table[(table["smear"] == smear) & (table["share"].notna() | (table["cells"] == 0))]
        rows = counted.to_dict("records")  # without the cells of no class, which have a share of all cells only
        for y, row in enumerate(rows):
            for name, offset, ink, marker, _ in _KINDS:
                if not math.isnan(row[name]):
                    low, high = row[f"{name}_low"], row[f"{name}_high"]
                    panel.plot([100 * low, 100 * high], [y + offset] * 2, color=ink, linewidth=2.5, alpha=0.45)
                    panel.plot(100 * row[name], y + offset, marker, color=ink, markersize=4.5, zorder=3)
        panel.set_yticks(range(len(rows)), [f"{row['class']}{' *' if row['note'] else ''}" for row in rows])
        panel.set_ylim(len(rows) - 0.4, -0.6)
        panel.tick_params(axis="y", length=0)
        panel.grid(False, axis="y")
        panel.set_title(f"{smear}: {rows[0]['cells']} cells", fontsize=9)
        panel.set_xlim(-2, 102)
    for panel in grid[-1]:
        panel.set_xlabel("share of the cells, %")
    handles = [
        Line2D([], [], color=ink, marker=marker, label=words)
        for name, _, ink, marker, words in _KINDS
        if table[name].notna().any()
    ]
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure
