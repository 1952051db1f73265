"""Scores against the number of labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from hemacell.evaluation.comparison.records import MAIN_METRIC, Comparison, Score
from hemacell.evaluation.comparison.words import amount_words, arm_words, number_of_images
from hemacell.evaluation.metrics import lower_is_better, metric_label
from hemacell.reporting.figures.arms import PAGE_WIDTH, ArmStyle, arm_styles
from hemacell.reporting.figures.registry import add_study_figure
from hemacell.reporting.figures.style import GREY, new_figure, styled

# Where the axis of a score can have a tick if it is logarithmic in the distance to 1.
_SCORE_TICKS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995)


@styled
def label_efficiency(comparison: Comparison, metric: str = MAIN_METRIC) -> Figure:
    """Mean of a metric with its 95 % interval against the number of labelled training images, one line per arm.

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
    figure = new_figure(PAGE_WIDTH, 4.3)
    axes = figure.subplots()
    looks = arm_styles(comparison.arms)
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
        _draw_line(axes, line, look, arm_words(arm))
    _score_axis(axes, scores, metric)
    _amount_axis(axes, comparison, ticks)
    _draw_majority_baseline(axes, comparison, metric)
    over = " or ".join(dict.fromkeys(score.spread for score in scores))
    folds = comparison.folds > 0
    axes.set_title("95 % interval over images" if folds else f"mean and 95 % interval over {over}; faint: single runs")
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


def _draw_line(axes: Axes, line: Sequence[tuple[float, Score]], look: ArmStyle, label: str) -> None:
    """The means of an arm, joined by a line, with their intervals and the single runs."""
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
        label=label,
        zorder=3,
    )


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


def _caption(comparison: Comparison) -> str:
    return (
        f"Macro-F1 on {number_of_images(comparison)}. An arm and its control share a colour; the "
        "control is dashed and hollow. Intervals of single arms may overlap where their paired difference is clear."
    )


def _alt(comparison: Comparison) -> str:
    parts = []
    for amount in comparison.amounts:
        scores = [s for arm in comparison.arms if (s := comparison.score(arm, amount)) is not None]
        if scores:
            low, high = min(scores, key=lambda s: s.mean), max(scores, key=lambda s: s.mean)
            ends = f"from {low.mean:.3f} ({arm_words(low.arm)}) to {high.mean:.3f} ({arm_words(high.arm)})"
            one = f"{high.mean:.3f} ({arm_words(high.arm)})"
            parts.append(f"at {amount_words(amount)} {ends if len(scores) > 1 else one}")
    labels = "the number of labelled training images"
    return f"Chart of macro-F1 against {labels}, one line per arm: {'; '.join(parts)}."


add_study_figure(
    "label_efficiency",
    lambda comparison, runs: label_efficiency(comparison),
    _caption,
    _alt,
    section="scores",
    external=True,
)
