"""Precision, recall and F1 of each class."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from hemacell.reporting.figures.style import BLUE, GREEN, GREY, ORANGE, new_figure, styled


@styled
def per_class(metrics: Mapping[str, float], classes: Sequence[str]) -> Figure:
    """Precision, recall and F1 of each class as bars, the macro-F1 as a line.

    Args:
        metrics: what `classification_metrics` returned; a score that it left out is drawn as a dash.
        classes: the names in it.
    """
    figure = new_figure(max(5.0, 1.2 + 1.25 * len(classes)), 4.2)
    axes = figure.subplots()
    width = 0.27
    scores = (("precision", BLUE), ("recall", ORANGE), ("f1", GREEN))
    for number, (score, fill) in enumerate(scores):
        for place, name in enumerate(classes):
            x = place + (number - 1) * width
            value = metrics.get(f"{score}/{name}")
            label = {"f1": "F1"}.get(score, score) if place == 0 else None
            axes.bar(x, value or 0.0, width * 0.92, color=fill, label=label)
            inside = value is not None and value > 0.2
            axes.annotate(
                "none" if value is None else f"{value:.3f}",
                (x, value or 0.0),
                xytext=(0, -4 if inside else 4),
                textcoords="offset points",
                rotation=90,
                ha="center",
                va="top" if inside else "bottom",
                color="black" if fill == ORANGE or not inside else "white",
                fontsize=8,
            )
    if "macro_f1" in metrics:
        macro = metrics["macro_f1"]
        axes.axhline(macro, color=GREY, linestyle="--", linewidth=1, zorder=0.9, label=f"macro-F1 = {macro:.3f}")
    axes.set_xticks(np.arange(len(classes)), list(classes))
    axes.set_ylim(0, 1.02)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel("score")
    axes.grid(False, axis="x")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure
