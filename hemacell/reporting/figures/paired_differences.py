"""Each arm minus the baseline, as a forest plot."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from hemacell.evaluation.comparison.records import Comparison, Difference
from hemacell.evaluation.comparison.words import amount_words, arm_words, named, number_of_images, p_words, signed
from hemacell.reporting.figures.arms import PAGE_WIDTH, ArmStyle, arm_styles
from hemacell.reporting.figures.registry import add_study_figure
from hemacell.reporting.figures.style import BLACK, message, new_figure, styled

# The columns to the right of the forest plot: points from its right edge, and the side from which they are aligned.
_COLUMNS = ((8, "left"), (152, "right"))


@styled
def paired_differences(comparison: Comparison) -> Figure:
    """Each arm minus the baseline, grouped by amount: bootstrap interval thick, t interval thin, and Holm's p.

    The same numbers are to the right of each row. An arrow is at the end of a t interval that goes on beyond the axis.
    """
    groups = [
        (amount, [found for arm in comparison.arms if (found := comparison.difference(arm, amount)) is not None])
        for amount in comparison.amounts
    ]
    groups = [(amount, rows) for amount, rows in groups if rows]
    if not groups:
        return message(f"nothing to compare with {named(comparison.baseline)}", PAGE_WIDTH)
    lines = sum(len(rows) + 1.15 for _, rows in groups)
    figure = new_figure(PAGE_WIDTH, 1.15 + 0.235 * lines)
    axes = figure.subplots()
    looks = arm_styles(comparison.arms)
    left, right = _difference_range([row for _, rows in groups for row in rows])
    axes.set_xlim(left, right)
    frame = blended_transform_factory(axes.transAxes, axes.transData)
    ticks, names, y = [], [], 0.0
    for amount, rows in groups:
        axes.axhspan(y - 0.5, y + 0.5, color="#EEEEEE", linewidth=0, zorder=0.5)
        axes.text(0.01, y, _group_words(comparison, amount, rows), transform=frame, va="center", fontsize=8)
        for row in rows:
            y += 1
            _draw_difference(axes, row, y, looks[row.arm])
            interval = f"{signed(row.mean)} [{signed(row.low)}, {signed(row.high)}]"
            for words, (offset, side) in zip((interval, p_words(row.p_holm)), _COLUMNS, strict=True):
                axes.annotate(words, (1, y), (offset, 0), frame, "offset points", ha=side, va="center", fontsize=7.5)
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


def _draw_difference(axes: Axes, row: Difference, y: float, look: ArmStyle) -> None:
    left, right = axes.get_xlim()
    axes.plot([row.low, row.high], [y, y], color=look.colour, linewidth=4.5, solid_capstyle="butt", alpha=0.4)
    if row.t_low is not None and row.t_high is not None:
        axes.plot([row.t_low, row.t_high], [y, y], "|-", color=look.colour, linewidth=1, markersize=6)
        for end, edge, arrow in ((row.t_low, left, "<"), (row.t_high, right, ">")):
            if not left <= end <= right:
                axes.plot(edge, y, arrow, color=look.colour, markersize=4, clip_on=False)
    axes.plot(row.mean, y, look.marker, color=look.colour, markerfacecolor=look.face, markersize=5.5, zorder=3)


def _group_words(comparison: Comparison, amount: str, rows: Sequence[Difference]) -> str:
    if comparison.folds:
        return f"{amount_words(amount)}: {comparison.labels[amount]:,.0f} labels, {comparison.folds} folds"
    counts = sorted({row.n for row in rows})
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    over = rows[0].spread if rows[0].spread != "images" else "draws"
    plural = over if counts[-1] > 1 else over.removesuffix("s")
    return f"{amount_words(amount)}: {comparison.labels[amount]:,.0f} labels, {runs} {plural}"


def _caption(comparison: Comparison) -> str:
    return (
        "Paired: both arms of a draw have the same training images, and both are tested on the same "
        f"{number_of_images(comparison)}."
    )


def _alt(comparison: Comparison) -> str:
    found = [each for each in comparison.main_differences() if each.arm != comparison.baseline]
    above = sum(each.is_clear and each.mean > 0 for each in found)
    below = sum(each.is_clear and each.mean < 0 for each in found)
    return (
        f"Forest plot of {len(found)} differences in macro-F1 to {named(comparison.baseline)}, with the numbers of "
        f"the table below: {above} clearly above zero, {below} clearly below."
    )


add_study_figure(
    "paired_differences",
    lambda comparison, runs: paired_differences(comparison),
    _caption,
    _alt,
    section="differences",
    external=True,
    applies=lambda comparison: len(comparison.arms) > 1,
)
