"""The result of a study in a few sentences."""

import re

from hemacell.evaluation.comparison.records import SIGNIFICANCE, Comparison, Difference, LabelEfficiency
from hemacell.evaluation.comparison.words import (
    amount_words,
    arm_words,
    difference_in_words,
    images_words,
    label_efficiency_in_words,
    listed,
    named,
)


def answer(comparison: Comparison) -> tuple[str, ...]:
    """What the numbers say: a sentence or two for each amount of labels, then for each control."""
    baseline = named(comparison.baseline)
    if len(comparison.arms) < 2:
        return (f"There is no arm besides {baseline}, so there is nothing to compare.",)
    sentences = [f"Compared with {baseline}, on {images_words(comparison)}:"]
    sentences += [_of_amount(comparison, amount) for amount in comparison.amounts]
    sentences += _of_controls(comparison)
    if len(comparison.arms) > 2:
        sentences.append(
            f"For each amount the best of up to {len(comparison.arms) - 1} arms is named, which makes it look slightly "
            "better than it is: p is corrected over the amounts of an arm, not over the arms."
        )
    return tuple(sentences)


def _of_amount(comparison: Comparison, amount: str) -> str:
    baseline = named(comparison.baseline)
    found = comparison.main_differences(amount)
    if not found:
        return f"At {amount_words(amount)}: no arm has a draw in common with {baseline}."
    above = [each for each in found if each.is_clear and each.mean > 0]
    below = [each for each in found if each.is_clear and each.mean < 0]
    best = max(above or found, key=lambda each: (each.low, each.mean))
    numbers = re.sub(r"-(?=\d)", "−", difference_in_words(best).removeprefix(f"at {amount_words(amount)}: "))
    if above:
        sentence = f"At {amount_words(amount)}: {arm_words(best.arm)} gains {numbers}, over {baseline}"
        efficiency = next((w for w in comparison.label_efficiency if (w.arm, w.amount) == (best.arm, amount)), None)
        if efficiency is not None and _is_informative(efficiency):
            sentence += f", for which {baseline} needs {label_efficiency_in_words(efficiency)}"
        if len(found) > 1:
            sentence += f". {len(above)} of {len(found)} arms are clearly above {baseline}"
    elif below:
        sentence = f"At {amount_words(amount)}: no arm is clearly above {baseline}"
    else:
        sentence = f"At {amount_words(amount)}: no difference to {baseline} is distinguishable from zero"
    if not above:
        nearest = "the only one" if len(found) == 1 else "the best-supported one"
        sentence += f"; {nearest} is {arm_words(best.arm)} with {numbers}{_why_unclear(best)}"
    if below:
        sentence += f". Clearly below {baseline}: {listed([arm_words(each.arm) for each in below])}"
    return f"{sentence}."


def _is_informative(efficiency: LabelEfficiency) -> bool:
    """Whether a ratio has an interval and says more than that the baseline does not reach the score with all labels."""
    return efficiency.low is not None and not (efficiency.relation == ">" and efficiency.ratio <= 1)


def _why_unclear(difference: Difference) -> str:
    """Why a difference is not called clear, where its interval and its p disagree."""
    p = difference.p_value
    if difference.is_clear or p is None:
        return ""
    holds_zero = difference.low <= 0 <= difference.high
    if holds_zero and p <= SIGNIFICANCE:
        return ": a small p for these classifiers, but the interval over other images and draws contains zero"
    return "" if holds_zero else f": the interval is above zero, but p is above {SIGNIFICANCE}"


def _of_controls(comparison: Comparison) -> list[str]:
    sentences = []
    for arm in dict.fromkeys(share.arm for share in comparison.control_shares):
        shares = [share for share in comparison.control_shares if share.arm == arm]
        words, control = named(arm), named(shares[0].control)
        above = [amount_words(s.amount) for s in shares if s.beyond.is_clear and s.beyond.mean > 0]
        below = [amount_words(s.amount) for s in shares if s.beyond.is_clear and s.beyond.mean < 0]
        if above:
            sentences.append(f"Beyond its control {control}, {words} gains at {listed(above)}.")
        else:
            sentences.append(f"Compared with its control {control}, {words} shows no gain distinguishable from zero.")
        if below:
            sentences[-1] = f"{sentences[-1][:-1]}, and is clearly worse than the control at {listed(below)}."
    return sentences
