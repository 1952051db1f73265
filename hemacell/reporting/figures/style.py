"""One style for all figures."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's palette (2008) for all common kinds of colour blindness, without its yellow, which is too pale
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#000000",
)
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, BLACK)
LINE_STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
GREY = "#6B6B6B"

_RC: dict[Any, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": "figure",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}

P = ParamSpec("P")


@contextmanager
def _settings() -> Iterator[None]:
    """This package's settings, whatever the user's matplotlibrc says; the user's own are back afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


class _Figure(Figure):
    """A Figure that is also rendered under the settings that it was built with: ticks are chosen only then."""

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        with _settings():
            super().savefig(*args, **kwargs)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let `draw` build its Figure under this package's settings."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _settings():
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width: float = 7.0, height: float = 4.5) -> Figure:
    """An empty Figure of that many inches, laid out by constraints, drawn by Agg."""
    figure = _Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def show_text(axes: Axes, text: str) -> None:
    """Text instead of a figure, where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=12, color=GREY, transform=axes.transAxes)


def message(text: str, width: float = 5.0) -> Figure:
    """A small figure that is only text."""
    figure = new_figure(width, 1.6)
    show_text(figure.subplots(), text)
    return figure


def loss_axis(axes: Axes) -> None:
    """Scale the axis of losses: logarithmic where they differ by more than a factor of 30, else from 0."""
    values = np.array([value for line in axes.lines for value in np.asarray(line.get_ydata(), dtype=np.float64)])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0:
        if values.max() > 30 * values.min():
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.05 * values.max())


def colour(index: int) -> str:
    """Colour of the class or series number `index`."""
    return PALETTE[index % len(PALETTE)]


def line_style(index: int) -> Any:
    """Line style of the series number `index`, which distinguishes it without colours."""
    return LINE_STYLES[index % len(LINE_STYLES)]
