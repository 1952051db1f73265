"""What a comparison says, in words: the same in reports, figures, warnings and notebooks."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hemacell.evaluation.comparison.records import Comparison, Difference, LabelEfficiency, Relation
from hemacell.evaluation.laboratories import set_words
from hemacell.evaluation.metrics import metric_label


def amount_words(amount: str) -> str:
    """An amount for people: `1 %` for `0.01`; `10 per class` stays."""
    try:
        return f"{float(amount) * 100:g} %"
    except ValueError:
        return amount


def arm_words(arm: str) -> str:
    """An arm for people: `prcc + camelyon`; `none` stays."""
    return arm.replace(",", " + ")


def condition_words(arm: str, amount: str) -> str:
    return f"{arm_words(arm)} at {amount_words(amount)}"


def by_arm(conditions: Iterable[tuple[str, str]]) -> str:
    """`prcc at 1 %, 10 %; camelyon at 1 %`."""
    amounts: dict[str, list[str]] = defaultdict(list)
    for arm, amount in conditions:
        amounts[arm].append(amount_words(amount))
    return "; ".join(f"{arm_words(arm)} at {', '.join(found)}" for arm, found in amounts.items())


def draw_words(draws: Sequence[int]) -> str:
    different = list(dict.fromkeys(draws))
    return f"draw {different[0]}" if len(different) == 1 else f"draws {', '.join(map(str, different))}"


def number_words(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def number_of_images(comparison: Comparison) -> str:
    """`1,545 test images`; of the laboratory `lisc`: `242 lisc images`."""
    return f"{comparison.images:,} {set_words(comparison.split)} images"


def images_words(comparison: Comparison) -> str:
    """`1,545 test images`, `1,545 test images of 23 groups`."""
    of_groups = f" of {number_words(comparison.groups, 'group')}" if comparison.groups else ""
    return f"{number_of_images(comparison)}{of_groups}"


def some(values: Sequence[str]) -> str:
    """The first three, and how many more."""
    shown = [value or "unset" for value in values[:3]]
    more = len(values) - 3
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def difference_in_words(difference: Difference) -> str:
    """`at 1 %: +0.08 macro-F1 [0.05, 0.11], p = 0.002`, with p as `Difference.p_value` has it."""
    numbers = (difference.low, difference.mean, difference.high)
    # a third digit where two are too few, as in [0.00, 0.01]
    digits = 2 if difference.high - difference.low >= 0.02 and min(map(abs, numbers)) >= 0.005 else 3
    # + 0.0 turns -0.00 into 0.00
    low, mean, high = (round(number, digits) + 0.0 for number in numbers)
    metric = metric_label(difference.metric)
    words = f"at {amount_words(difference.amount)}: {mean:+.{digits}f} {metric} [{low:.{digits}f}, {high:.{digits}f}]"
    if difference.n == 1 and difference.spread != "folds":
        words += " over images only, of a single run"
    p = difference.p_value
    return words if p is None else f"{words}, {_p_words(p)}"


def _p_words(p: float) -> str:
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def label_efficiency_in_words(found: LabelEfficiency) -> str:
    """`2.1 x the labels [1.4, more than 4]`, `more than 4 x the labels`, `less than 0.1 x the labels [..]`."""
    words = f"{_side(found.ratio, found.relation)} x the labels"
    if found.low is None or found.high is None:
        return words
    low, high = _side(found.low, found.low_relation), _side(found.high, found.high_relation)
    if found.low_relation == found.high_relation != "=":  # both limits lie beyond the grid, on the same side
        return words
    return f"{words} [{low}, {high}]"


def _side(ratio: float, relation: Relation | None) -> str:
    number = f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"
    return {"<": "less than ", ">": "more than "}.get(relation or "", "") + number


def signed(value: float) -> str:
    """A difference with its sign: `+0.012`, `−0.003`, `0.000`."""
    text = f"{abs(value):.3f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def named(arm: str) -> str:
    """An arm within a sentence; `none` is quoted, as the bare word would be misread."""
    return "“none”" if arm == "none" else arm_words(arm)


def p_words(p: float | None) -> str:
    """A p-value: `0.012`, `< 0.001`, `–` for None."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
