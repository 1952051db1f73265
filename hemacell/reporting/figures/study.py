"""What a study says: scores against labels, paired differences, classes, confusions and how training went."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from hemacell.encoders.registry import ENCODERS, NONE, control_of_arm
from hemacell.evaluation.comparison.records import (
    MAIN_METRIC,
    Comparison,
    Difference,
    RunRecord,
    Score,
)
from hemacell.evaluation.comparison.words import amount_words, arm_words
from hemacell.evaluation.metrics import lower_is_better, metric_label
from hemacell.reporting.figures.style import (
    BLACK,
    GREEN,
    GREY,
    LINE_STYLES,
    PALETTE,
    new_figure,
    show_text,
    styled,
)

_WIDTH = 7.2
# The first arm of several encoders.
_PAIR = (GREEN, "D")
_MARKERS = "vPX<>*ph"
# The columns beside the forest plot: points from its right edge, and the side from which they are aligned.
_COLUMNS = ((8, "left"), (152, "right"))
# Where the axis of a score can have a tick if it is logarithmic in the distance to 1.
_SCORE_TICKS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995)


@dataclass(frozen=True)
class _Look:
    colour: str
    line: Any
    marker: str
    face: str


def _looks(arms: Sequence[str]) -> dict[str, _Look]:
    """How each arm is drawn, the same in all figures: told apart by colour, and without it by marker and line."""
    looks = {NONE: _Look(BLACK, "-", "o", BLACK)}
    pairs = [arm for arm in arms if "," in arm and control_of_arm(arm)][:1]
    drawn = {entry.name: (entry.colour, entry.marker) for entry in ENCODERS.values() if entry.colour}
    for arm, (ink, marker) in (drawn | dict.fromkeys(pairs, _PAIR)).items():
        looks[arm] = _Look(ink, "-", marker or "o", ink)
        if control := control_of_arm(arm):  # shares colour and marker, dashed and hollow
            looks[control] = _Look(ink, "--", marker or "o", "white")
    used = {looks[arm].colour for arm in arms if arm in looks}
    spare = [ink for ink in PALETTE if ink not in used] or list(PALETTE)
    others = [arm for arm in arms if arm not in looks]
    for number, arm in enumerate(others):
        ink = spare[number % len(spare)]
        style = LINE_STYLES[number // len(spare) % len(LINE_STYLES)]
        looks[arm] = _Look(ink, style, _MARKERS[number % len(_MARKERS)], ink)
    return {arm: looks[arm] for arm in arms}


@styled
def label_efficiency(comparison: Comparison, metric: str = MAIN_METRIC) -> Figure:
    """Mean of a metric with its 95 % interval against the number of labelled training images, a line an arm.

    Where scores crowd below 1, the axis is logarithmic in their distance to 1.

    Args:
        comparison: what is drawn.
        metric: a metric that its scores have.

    Raises:
        ValueError: no score of that name.
    """
    scores = [score for score in comparison.scores if score.metric == metric]
    if not scores:
        known = ", ".join(dict.fromkeys(score.metric for score in comparison.scores))
        raise ValueError(f"no score named {metric}; there are {known or 'none'}")
    figure = new_figure(_WIDTH, 4.3)
    axes = figure.subplots()
    looks = _looks(comparison.arms)
    ticks = _places(comparison)
    places = _dodged(comparison, scores, ticks)
    starts: dict[str, float] = {}
    for arm in comparison.arms:
        look = looks[arm]
        line = [
            (places[arm, amount], score)
            for amount in comparison.amounts
            if (score := comparison.score(arm, amount, metric)) is not None
        ]
        if not line:
            continue
        starts[arm_words(arm)] = line[0][1].mean
        for x, score in line:
            axes.plot([x] * score.n, score.values, "o", color=look.colour, markersize=3, alpha=0.35, markeredgewidth=0)
            if score.low is not None and score.high is not None:
                axes.vlines(x, score.low, score.high, color=look.colour, linewidth=1.3, alpha=0.85)
        axes.plot(
            [x for x, _ in line],
            [score.mean for _, score in line],
            color=look.colour,
            linestyle=look.line,
            linewidth=1.2,
            marker=look.marker,
            markersize=5.5,
            markerfacecolor=look.face,
            label=arm_words(arm),
            zorder=3,
        )
    _score_axis(axes, scores, metric)
    _amount_axis(axes, comparison, ticks)
    _draw_majority_baseline(axes, comparison, metric)
    over = " or ".join(dict.fromkeys(score.spread for score in scores))
    axes.set_title(f"mean and 95 % interval over {over}; faint: single runs")
    # The legend is in the order of the scores with the fewest labels, where the lines lie farthest apart.
    handles, words = axes.get_legend_handles_labels()
    order = sorted(range(len(handles)), key=lambda i: starts[words[i]], reverse=not lower_is_better(metric))
    axes.legend(
        [handles[i] for i in order],
        [words[i] for i in order],
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        handlelength=3.2,
        labelspacing=0.9,
    )
    return figure


def _places(comparison: Comparison) -> dict[str, float]:
    """Where each amount lies on the axis of labels."""
    places = {amount: float(comparison.labels[amount]) for amount in comparison.amounts}
    if min(places.values()) <= 0 or len(set(places.values())) < len(places):
        return {amount: 10.0**number for number, amount in enumerate(comparison.amounts)}  # numbers are not known
    return places


def _dodged(comparison: Comparison, scores: Sequence[Score], places: dict[str, float]) -> dict[tuple[str, str], float]:
    """Where each arm lies: side by side around its amount, so that no interval hides another; (arm, amount) -> x."""
    logs = np.log10(list(places.values()))
    gaps = np.diff(logs) if len(logs) > 1 else np.array([0.7])
    whole = max(float(logs[-1] - logs[0]), 0.7)
    dodged = {}
    for number, amount in enumerate(places):
        arms = [arm for arm in comparison.arms if any((s.arm, s.amount) == (arm, amount) for s in scores)]
        room = 0.45 * float(min(gaps[max(0, number - 1) : number + 1])) / max(len(arms) - 1, 1)
        for place, arm in enumerate(arms):
            dodged[arm, amount] = places[amount] * 10 ** ((place - (len(arms) - 1) / 2) * min(room, 0.018 * whole))
    return dodged


def _amount_axis(axes: Axes, comparison: Comparison, places: dict[str, float]) -> None:
    axes.set_xscale("log")
    logs = np.log10(list(places.values()))
    margin = 0.3 if len(logs) == 1 else 0.09 * (logs[-1] - logs[0])
    axes.set_xlim(10 ** (logs[0] - margin), 10 ** (logs[-1] + margin))
    ticks = [f"{comparison.labels[amount]:,.0f}\n{amount_words(amount)}" for amount in comparison.amounts]
    axes.set_xticks(list(places.values()), ticks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled training images (log scale; arms side by side)")


def _score_axis(axes: Axes, scores: Sequence[Score], metric: str) -> None:
    name = metric_label(metric)
    values = np.array([value for score in scores for value in score.values] + [score.mean for score in scores])
    values = values[np.isfinite(values)]
    axes.set_ylabel(name)
    if not len(values):
        return
    # The axis holds all intervals, but those of two runs, which can be ten times as long as all that there is to see.
    room = 0.5 * (values.max() - values.min()) + 0.002
    low, high = float(values.min()), float(values.max())
    lowest, highest = low - room, high + room
    for score in scores:
        if score.low is not None and score.high is not None:
            low = min(low, score.low if score.n != 2 else max(score.low, lowest))
            high = max(high, score.high if score.n != 2 else min(score.high, highest))
    if lower_is_better(metric):
        axes.set_ylim(0, 1.08 * high + 1e-3)
        return
    best = max(score.mean for score in scores)
    worst = min(score.mean for score in scores)
    if best < 0.9 or (1 - worst) < 3 * max(1 - best, 1e-4):
        pad = 0.06 * (high - low) + 0.001
        top = high + pad
        axes.set_ylim(max(0.0, low - pad), 1.0 + 0.2 * pad if top > 1 else top)
        return
    least = 0.5 * max(float((1 - values[values < 1]).min(initial=1e-2)), 1e-4)  # 1 itself would be infinitely far up

    def forward(score: NDArray[np.float64]) -> NDArray[np.float64]:
        return -np.log10(np.clip(1 - np.asarray(score), least, None))

    def inverse(height: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 - 10 ** -np.asarray(height)

    axes.set_yscale("function", functions=(forward, inverse))
    bottom, top = max(0.0, 1 - 1.1 * (1 - low)), 1 - max((1 - min(high, 1.0)) * 0.9, least)
    axes.set_ylim(bottom, top)
    ticks = [tick for tick in _SCORE_TICKS if bottom <= tick <= top]
    axes.set_yticks(ticks, [f"{tick:.2f}" if tick == round(tick, 2) else f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(f"{name} (log scale of 1 − {name})")


def _draw_majority_baseline(axes: Axes, comparison: Comparison, metric: str) -> None:
    value = comparison.majority_baseline.metrics.get(metric)
    if value is None:
        return
    words = f"always “{comparison.majority_baseline.label}”: {value:.3f}"
    low, high = axes.get_ylim()
    if low <= value <= high:
        axes.axhline(value, color=GREY, linestyle=":", linewidth=1, zorder=0.9)
        height, side = value, axes.get_yaxis_transform()
    else:
        words += ", below this axis" if value < low else ", above this axis"
        height, side = 0.0, axes.transAxes
    axes.annotate(
        words,
        (1, height),
        xycoords=side,
        xytext=(-3, 3),
        textcoords="offset points",
        ha="right",
        fontsize=7.5,
        color=GREY,
    )


@styled
def paired_differences(comparison: Comparison) -> Figure:
    """Each arm minus the baseline, grouped by amount: bootstrap interval thick, t interval thin, and Holm's p.

    Beside each row stand the same numbers. An arrow is at the end of a t interval that goes on beyond the axis.
    """
    groups = [
        (amount, [found for arm in comparison.arms if (found := comparison.difference(arm, amount)) is not None])
        for amount in comparison.amounts
    ]
    groups = [(amount, rows) for amount, rows in groups if rows]
    if not groups:
        figure = new_figure(_WIDTH, 1.6)
        show_text(figure.subplots(), f"nothing to compare with {named(comparison.baseline)}")
        return figure
    lines = sum(len(rows) + 1.15 for _, rows in groups)
    figure = new_figure(_WIDTH, 1.15 + 0.235 * lines)
    axes = figure.subplots()
    looks = _looks(comparison.arms)
    left, right = _difference_range([row for _, rows in groups for row in rows])
    axes.set_xlim(left, right)
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    ticks, names, y = [], [], 0.0
    for amount, rows in groups:
        axes.axhspan(y - 0.5, y + 0.5, color="#EEEEEE", linewidth=0, zorder=0.5)
        axes.text(0.01, y, _group_words(comparison, amount, rows), transform=beside, va="center", fontsize=8)
        for row in rows:
            y += 1
            _draw_difference(axes, row, y, looks[row.arm])
            interval = f"{signed(row.mean)} [{signed(row.low)}, {signed(row.high)}]"
            for words, (offset, side) in zip((interval, p_words(row.p_holm)), _COLUMNS, strict=True):
                axes.annotate(words, (1, y), (offset, 0), beside, "offset points", ha=side, va="center", fontsize=7.5)
            ticks.append(y)
            names.append(arm_words(row.arm))
        y += 1.15
    axes.axvline(0, color=BLACK, linewidth=0.9, zorder=0.4)  # below the bands with the words
    axes.set_ylim(y - 0.55, -0.5)
    for words, (offset, side) in zip(("difference [95 %]", "p (Holm)"), _COLUMNS, strict=True):
        axes.annotate(words, (1, 1), (offset, 4), "axes fraction", "offset points", ha=side, fontsize=8)
    axes.set_yticks(ticks, names)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel(f"macro-F1 minus that of {named(comparison.baseline)}, on the same draws and images")
    axes.set_title("thick: bootstrap, thin: t interval (95 %)")
    return figure


def _difference_range(rows: Sequence[Difference]) -> tuple[float, float]:
    """Room for zero and the bootstrap intervals; a t interval of two draws may go beyond, and is cut."""
    low, high = min(0.0, *(row.low for row in rows)), max(0.0, *(row.high for row in rows))
    width = max(high - low, 1e-3)
    ends = [(row.t_low, row.t_high) for row in rows if row.t_low is not None and row.t_high is not None]
    low, high = (
        min(low, *(max(end, low - 0.25 * width) for end, _ in ends)) if ends else low,
        max(high, *(min(end, high + 0.25 * width) for _, end in ends)) if ends else high,
    )
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _draw_difference(axes: Axes, row: Difference, y: float, look: _Look) -> None:
    left, right = axes.get_xlim()
    axes.plot([row.low, row.high], [y, y], color=look.colour, linewidth=4.5, solid_capstyle="butt", alpha=0.4)
    if row.t_low is not None and row.t_high is not None:
        axes.plot([row.t_low, row.t_high], [y, y], "|-", color=look.colour, linewidth=1, markersize=6)
        for end, edge, arrow in ((row.t_low, left, "<"), (row.t_high, right, ">")):
            if not left <= end <= right:
                axes.plot(edge, y, arrow, color=look.colour, markersize=4, clip_on=False)
    axes.plot(row.mean, y, look.marker, color=look.colour, markerfacecolor=look.face, markersize=5.5, zorder=3)


def _group_words(comparison: Comparison, amount: str, rows: Sequence[Difference]) -> str:
    counts = sorted({row.n for row in rows})
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    over = rows[0].spread if rows[0].spread != "images" else "draws"
    plural = over if counts[-1] > 1 else over.removesuffix("s")
    return f"{amount_words(amount)}: {comparison.labels[amount]:,.0f} labels, {runs} {plural}"


@styled
def class_gains(comparison: Comparison) -> Figure:
    """Difference of each class's F1 to the baseline, a panel an amount; in brackets where the interval holds zero."""
    panels = []
    for amount in comparison.amounts:
        found = {
            arm: [comparison.difference(arm, amount, f"f1/{name}") for name in comparison.classes]
            for arm in comparison.arms
            if arm != comparison.baseline
        }
        found = {arm: row for arm, row in found.items() if any(row)}
        if found:
            panels.append((amount, found))
    if not panels:
        figure = new_figure(_WIDTH, 1.6)
        show_text(figure.subplots(), f"nothing to compare with {named(comparison.baseline)}")
        return figure
    across = 2 if len(panels) > 1 and len(comparison.classes) <= 6 else 1
    down = math.ceil(len(panels) / across)
    heights = [max(len(found) for _, found in panels[row * across :][:across]) for row in range(down)]
    figure = new_figure(_WIDTH, max(2.4, 1.1 + 0.42 * down + 0.26 * sum(heights)))
    grid = figure.subplots(down, across, squeeze=False, height_ratios=heights)
    limit = max(0.01, *(abs(each.mean) for _, found in panels for row in found.values() for each in row if each))
    image = None
    for number, (amount, found) in enumerate(panels):
        axes = grid.flat[number]
        shades = np.array([[each.mean if each else math.nan for each in row] for row in found.values()])
        image = axes.imshow(shades, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        for place, row in enumerate(found.values()):
            for column, each in enumerate(row):
                _write_gain(axes, column, place, each, limit)
        axes.set_title(f"{amount_words(amount)}: {comparison.labels[amount]:,.0f} labels", fontsize=9)
        axes.set_xticks(np.arange(len(comparison.classes)), comparison.classes, rotation=25, ha="right", fontsize=7.5)
        axes.set_yticks(np.arange(len(found)), [arm_words(arm) for arm in found], fontsize=7.5)
        axes.tick_params(length=0, labelbottom=number + across >= len(panels))
        if number % across and list(found) == list(panels[number - 1][1]):
            axes.tick_params(labelleft=False)
        axes.grid(False)
        axes.spines[:].set_visible(False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    if image is not None:
        bar = figure.colorbar(image, ax=grid, shrink=min(1.0, 2.3 / figure.get_figheight()), aspect=14, pad=0.02)
        bar.set_label(f"F1 minus that of {named(comparison.baseline)}", fontsize=8)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7)
    figure.supxlabel("bold: the 95 % interval lies on one side of zero; (in brackets): it holds zero", fontsize=8)
    return figure


def _write_gain(axes: Axes, column: int, row: int, gain: Difference | None, limit: float) -> None:
    if gain is None:
        axes.text(column, row, "–", ha="center", va="center", fontsize=6.8)
        return
    holds_zero = gain.low <= 0 <= gain.high
    axes.text(
        column,
        row,
        f"({signed(gain.mean)})" if holds_zero else signed(gain.mean),
        ha="center",
        va="center",
        fontsize=6.8,
        color="white" if abs(gain.mean) > 0.62 * limit else BLACK,
        fontweight="normal" if holds_zero else "bold",
        in_layout=False,
    )


@styled
def confusion_matrices(comparison: Comparison, amount: str | None = None) -> Figure:
    """One confusion matrix an arm, with one amount of labels: shares of the row, and counts summed over the draws.

    Args:
        comparison: what is drawn.
        amount: one of its amounts; the smallest without it.

    Raises:
        ValueError: no run with that amount.
    """
    amount = comparison.amounts[0] if amount is None else amount
    arms = [arm for arm in comparison.arms if (arm, amount) in comparison.confusion]
    if not arms:
        raise ValueError(f"no run with the amount {amount}; there are {', '.join(comparison.amounts)}")
    across = len(arms) if len(arms) <= 4 else 3 if len(arms) <= 6 else 4
    down = math.ceil(len(arms) / across)
    size = min(2.4, (_WIDTH - 0.9) / across)
    figure = new_figure(max(0.9 + size * across, 4.4), 1.1 + down * (size + 0.3))
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    count = len(comparison.classes)
    large = min(7.5, 58 * size / (count * 2.6))
    for axes, arm in zip(grid.flat, arms, strict=False):
        counts = comparison.confusion[arm, amount]
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts.shape):
            n, share = int(counts[row, column]), shares[row, column]
            if not n:
                continue
            ink = "white" if share > 0.55 else BLACK
            centred: dict[str, Any] = {"xy": (column, row), "textcoords": "offset points", "ha": "center", "color": ink}
            centred["in_layout"] = False  # lies within its cell: measuring hundreds of them takes longer than drawing
            axes.annotate(f"{100 * share:.1f}", xytext=(0, 0), fontsize=large, **centred)
            axes.annotate(f"{n:,}", xytext=(0, -large), fontsize=0.78 * large, **centred)
        right = np.trace(counts) / max(counts.sum(), 1)
        axes.set_title(f"{arm_words(arm)}\n{100 * right:.1f} % right", fontsize=8)
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    for number, axes in enumerate(grid.flat):
        axes.set_xticks(np.arange(count), comparison.classes, rotation=90, fontsize=7)
        axes.set_yticks(np.arange(count), comparison.classes, fontsize=7)
        axes.tick_params(labelbottom=number + across >= len(arms))
        if number + across < across * down:
            for label in axes.get_xticklabels():
                label.set_in_layout(False)  # they hang into the empty place below, for which nothing is moved
        if number >= len(arms):
            axes.set_axis_off()
    figure.supxlabel("predicted", fontsize=8.5)
    figure.supylabel("labelled", fontsize=8.5)
    words = f"{comparison.labels[amount]:,.0f} labels"
    figure.suptitle(f"{amount_words(amount)} ({words}): per cent of the row; small: counts over all runs", fontsize=9)
    return figure


@styled
def training_curves(runs: Sequence[RunRecord], arms: Sequence[str] = ()) -> Figure:
    """Losses and validation accuracy of all runs: a row an amount, a thin line a run, a colour an arm.

    Args:
        runs: those without a history are left out.
        arms: the order of the arms; that of the runs without it.
    """
    drawn = [run for run in runs if run.history]
    if not drawn:
        figure = new_figure(_WIDTH, 1.6)
        show_text(figure.subplots(), "no run has a history")
        return figure
    looks = _looks([*arms, *dict.fromkeys(run.arm for run in runs if run.arm not in arms)])
    labels = {run.amount: run.labels for run in drawn}
    amounts = sorted(labels, key=lambda amount: labels[amount])
    figure = new_figure(_WIDTH, 0.75 + 1.45 * len(amounts))
    grid = figure.subplots(len(amounts), 3, squeeze=False, sharex="row")
    panels = (("train/loss", "training loss"), ("val/loss", "validation loss"), ("val/accuracy", "validation accuracy"))
    for number, amount in enumerate(amounts):
        of_amount = [run for run in drawn if run.amount == amount]
        for axes, (key, title) in zip(grid[number], panels, strict=True):
            for run in of_amount:
                points = [(each["step"], each[key]) for each in run.history if key in each]
                steps, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
                values = np.where(np.isfinite(values), values, np.nan)
                look = looks[run.arm]
                marker = look.marker if len(steps) == 1 else ""
                axes.plot(
                    steps, values, color=look.colour, linestyle=look.line, linewidth=0.7, marker=marker, alpha=0.8
                )
            if number == 0:
                axes.set_title(title, fontsize=9)
            if number == len(amounts) - 1:
                axes.set_xlabel("step")
            if key.endswith("loss"):
                _loss_axis(axes)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.tick_params(labelsize=7)
        grid[number, 0].set_ylabel(f"{amount_words(amount)}\n{labels[amount]:,} labels", fontsize=8)
    used = [arm for arm in looks if any(run.arm == arm for run in drawn)]
    handles = [Line2D([], [], color=looks[arm].colour, linestyle=looks[arm].line, linewidth=1.4) for arm in used]
    figure.legend(handles, [arm_words(arm) for arm in used], loc="outside lower center", ncols=4, handlelength=3)
    return figure


def _loss_axis(axes: Axes) -> None:
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0:
        if values.max() > 30 * values.min():
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.05 * values.max())


def signed(value: float) -> str:
    """A difference for people: `+0.012`, `−0.003`, `0.000`."""
    text = f"{abs(value):.3f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def named(arm: str) -> str:
    """An arm within a sentence, where the word none alone would be misread."""
    return "“none”" if arm == "none" else arm_words(arm)


def p_words(p: float | None) -> str:
    """A probability for people: `0.012`, `< 0.001`, `–` where there is none."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
