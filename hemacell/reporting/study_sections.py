"""What a report says, in words, tables and pictures, whatever file it is written to."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from hemacell.evaluation.calibration_error import ECE_BINS
from hemacell.evaluation.comparison.records import (
    MAIN_METRIC,
    Comparison,
    Difference,
    LabelEfficiency,
    RunRecord,
    Score,
)
from hemacell.evaluation.comparison.words import (
    amount_words,
    arm_words,
    difference_in_words,
    label_efficiency_in_words,
)
from hemacell.evaluation.metrics import metric_label, study_metrics
from hemacell.reporting import figures
from hemacell.reporting.figures.study import named, p_words, signed

#: A difference is called clear where Holm's p is not above this and the bootstrap interval leaves zero out.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Group:
    """Rows of a table that belong together."""

    name: str
    """Words for what they have in common; '' for a table with a single group."""
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Table:
    """A table of words; the first cell of a row names the row."""

    title: str
    head: tuple[str, ...]
    groups: tuple[Group, ...]
    group_head: str = ""
    """What the groups' names are, for a format in which they become a column; '' where there are none."""
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure, not yet drawn."""

    name: str
    """Of its file, without an ending."""
    draw: Callable[[], Figure]
    alt: str
    """What it shows, for those who do not see it."""
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading with what is under it, in this order: paragraphs, pictures, tables."""

    slug: str
    heading: str
    paragraphs: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()


# --- the answer


def answer(comparison: Comparison) -> tuple[str, ...]:
    """What the numbers say, a sentence or two an amount, and then of each control; the same for every report."""
    baseline = named(comparison.baseline)
    if len(comparison.arms) < 2:
        return (f"There is no arm beside {baseline}, so nothing is compared.",)
    sentences = [f"Compared with {baseline}, on {comparison.images:,} {comparison.split} images:"]
    sentences += [_of_amount(comparison, amount) for amount in comparison.amounts]
    sentences += _of_controls(comparison)
    if len(comparison.arms) > 2:
        sentences.append(
            f"Each amount names the best of up to {len(comparison.arms) - 1} arms, which flatters it a little: p is "
            "corrected over the amounts of an arm, not over the arms."
        )
    return tuple(sentences)


def clear(difference: Difference) -> bool:
    """Whether a difference can be told from zero: by its bootstrap interval, and by its p where it has one."""
    p = difference.p if difference.p_holm is None else difference.p_holm
    return not difference.low <= 0 <= difference.high and (p is None or p <= SIGNIFICANCE)


def _of_amount(comparison: Comparison, amount: str) -> str:
    baseline = named(comparison.baseline)
    found = _differences(comparison, amount)
    if not found:
        return f"At {amount_words(amount)}: no arm has a draw in common with {baseline}."
    above = [each for each in found if clear(each) and each.mean > 0]
    below = [each for each in found if clear(each) and each.mean < 0]
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
        sentence = f"At {amount_words(amount)}: no difference to {baseline} can be told from zero"
    if not above:
        nearest = "the only one" if len(found) == 1 else "the best-supported one"
        sentence += f"; {nearest} is {arm_words(best.arm)} with {numbers}{_why_unclear(best)}"
    if below:
        sentence += f". Clearly below {baseline}: {_listed([arm_words(each.arm) for each in below])}"
    return f"{sentence}."


def _is_informative(efficiency: LabelEfficiency) -> bool:
    """Whether a ratio has an interval and says more than that the baseline does not reach the score with all labels."""
    return efficiency.low is not None and not (efficiency.relation == ">" and efficiency.ratio <= 1)


def _why_unclear(difference: Difference) -> str:
    """Words for a difference of which its interval and its p say different things."""
    p = difference.p if difference.p_holm is None else difference.p_holm
    if clear(difference) or p is None:
        return ""
    holds_zero = difference.low <= 0 <= difference.high
    if holds_zero and p <= SIGNIFICANCE:
        return ", a small p for these classifiers, but with other images and draws the interval holds zero"
    return "" if holds_zero else f", an interval above zero, but p is above {SIGNIFICANCE}"


def _of_controls(comparison: Comparison) -> list[str]:
    sentences = []
    for arm in dict.fromkeys(share.arm for share in comparison.control_shares):
        shares = [share for share in comparison.control_shares if share.arm == arm]
        words, control = named(arm), named(shares[0].control)
        above = [amount_words(s.amount) for s in shares if clear(s.beyond) and s.beyond.mean > 0]
        below = [amount_words(s.amount) for s in shares if clear(s.beyond) and s.beyond.mean < 0]
        if above:
            sentences.append(f"Beyond its control {control}, {words} gains at {_listed(above)}.")
        else:
            sentences.append(f"Over its control {control}, {words} brings nothing that can be told from zero.")
        if below:
            sentences[-1] = f"{sentences[-1][:-1]}, and it is clearly worse than the control at {_listed(below)}."
    return sentences


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


# --- sections


def sections(comparisons: Sequence[Comparison], runs: Sequence[RunRecord], facts: Mapping[str, str]) -> list[Section]:
    """Everything below the answer, in the order in which it is read."""
    first = comparisons[0]
    found = [_budget(first), _scores(first), _differences_section(first)]
    if first.label_efficiency:
        found.append(_worth(first))
    if first.control_shares:
        found.append(_controls(first))
    if len(first.arms) > 1:
        found.append(_classes(first))
    found += [_confusion(first), _majority_baseline(first)]
    found += [_external(other, first) for other in comparisons[1:]]
    found += [_training(first, runs), _method(first), _facts(facts), _runs(first, runs)]
    return found


def _budget(comparison: Comparison) -> Section:
    val = comparison.val_images
    if val:
        text = (
            f"Beside its training images, each run had {val:,} labelled val images. They set the temperature that "
            "calibrates its probabilities, and choose nothing else: neither weights nor settings. They are labels "
            "all the same, and a laboratory that has none goes without calibrated probabilities."
        )
    else:
        text = "The number of labelled val images is not known."
    rows = tuple(
        (amount_words(amount), f"{_count(comparison.labels[amount])}", f"{val:,}") for amount in comparison.amounts
    )
    head = ("labels", "labelled training images", "labelled val images (calibration only)")
    return Section(
        "step_budget", "The label budget", (text,), tables=(Table("Labels of one run", head, (Group("", rows),)),)
    )


def _scores(comparison: Comparison) -> Section:
    return Section(
        "scores",
        "Scores",
        pictures=(_efficiency_picture(comparison),),
        tables=(_scores_table(comparison),),
    )


def _efficiency_picture(comparison: Comparison, prefix: str = "") -> Picture:
    parts = []
    for amount in comparison.amounts:
        scores = [s for arm in comparison.arms if (s := comparison.score(arm, amount)) is not None]
        if scores:
            low, high = min(scores, key=lambda s: s.mean), max(scores, key=lambda s: s.mean)
            ends = f"from {low.mean:.3f} ({arm_words(low.arm)}) to {high.mean:.3f} ({arm_words(high.arm)})"
            one = f"{high.mean:.3f} ({arm_words(high.arm)})"
            parts.append(f"at {amount_words(amount)} {ends if len(scores) > 1 else one}")
    return Picture(
        f"{prefix}label_efficiency",
        partial(figures.label_efficiency, comparison),
        f"Chart of macro-F1 against the number of labelled training images, a line an arm: {'; '.join(parts)}.",
        f"Macro-F1 on {comparison.images:,} {comparison.split} images. An arm and its control share a colour; the "
        "control is dashed and hollow. Intervals of single arms may overlap where their paired difference is clear.",
    )


def _scores_table(comparison: Comparison) -> Table:
    groups = []
    for amount in comparison.amounts:
        rows = []
        for arm in comparison.arms:
            scores = [comparison.score(arm, amount, metric) for metric in study_metrics()]
            there = next((score for score in scores if score is not None), None)
            if there is not None:
                rows.append((arm_words(arm), _spread(there), *map(_score_words, scores)))
        if rows:
            groups.append(Group(_amount_heading(comparison, amount), tuple(rows)))
    return Table(
        f"Mean and 95 % interval on {comparison.images:,} {comparison.split} images",
        ("arm", "interval over", *(metric.label for metric in study_metrics().values())),
        tuple(groups),
        "labels",
        "Draws: other training images each; seeds: the same training images, another start; images: a single run, so "
        "that the interval is over resampled test images and says nothing of other training images. "
        f"ECE: expected calibration error in {ECE_BINS} bins, the lower the better.",
    )


def _spread(score: Score) -> str:
    return "images (1 run)" if score.n == 1 else f"{score.n} {score.spread}"


def _score_words(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.mean:.3f}" + ("" if score.low is None else f" [{score.low:.3f}, {score.high:.3f}]")


def _differences_section(comparison: Comparison, prefix: str = "") -> Section:
    baseline = named(comparison.baseline)
    if len(comparison.arms) < 2:
        return Section("differences", f"Differences to {baseline}", (f"There is no arm beside {baseline}.",))
    return Section(
        "differences",
        f"Differences to {baseline}",
        pictures=(_forest(comparison, prefix),),
        tables=(_differences_table(comparison),),
    )


def _forest(comparison: Comparison, prefix: str = "") -> Picture:
    found = [each for amount in comparison.amounts for each in _differences(comparison, amount)]
    above = sum(clear(each) and each.mean > 0 for each in found)
    below = sum(clear(each) and each.mean < 0 for each in found)
    return Picture(
        f"{prefix}paired_differences",
        partial(figures.paired_differences, comparison),
        f"Forest plot of {len(found)} differences in macro-F1 to {named(comparison.baseline)}, with the numbers of "
        f"the table below: {above} clearly above zero, {below} clearly below.",
        "Paired: both arms saw the same training images of a draw and answered for the same "
        f"{comparison.images:,} {comparison.split} images.",
    )


def _differences_table(comparison: Comparison) -> Table:
    groups = []
    for amount in comparison.amounts:
        rows = tuple(
            (
                arm_words(each.arm),
                f"{each.n}",
                _interval(each.mean, each.low, each.high),
                "–" if each.t_low is None or each.t_high is None else f"[{signed(each.t_low)}, {signed(each.t_high)}]",
                p_words(each.p),
                p_words(each.p_holm),
                ", ".join(map(p_words, each.mcnemar)) or "–",
            )
            for each in _differences(comparison, amount)
        )
        if rows:
            groups.append(Group(_amount_heading(comparison, amount), rows))
    return Table(
        f"Macro-F1 minus that of {named(comparison.baseline)}",
        ("arm", "draws", "difference [bootstrap]", "t interval", "p", "p (Holm)", "McNemar's p, a draw each"),
        tuple(groups),
        "labels",
        "The bootstrap resamples images and draws; the t interval is over the differences of the draws alone. p and "
        "McNemar's p speak of the classifiers that were trained, not of other draws.",
    )


def _worth(comparison: Comparison) -> Section:
    baseline = named(comparison.baseline)
    found = {
        (each.arm, each.amount): label_efficiency_in_words(each).replace(" x the labels", " x")
        for each in comparison.label_efficiency
    }
    arms = [arm for arm in comparison.arms if any(arm == has for has, _ in found)]
    rows = tuple((arm_words(arm), *(found.get((arm, amount), "–") for amount in comparison.amounts)) for arm in arms)
    table = Table(
        f"How many times the labels {baseline} needs to be as good",
        ("arm", *(f"at {amount_words(amount)}" for amount in comparison.amounts)),
        (Group("", rows),),
        note=f"Read off the line of {baseline} between its own amounts. More than: {baseline} does not get there with "
        "all labels that it was given; less than: it is better already with the fewest.",
    )
    text = (
        f"A gain as labels: with how many times an arm's labels would {baseline} have the same macro-F1? "
        "2 x means that the pretraining saves half of the labelling; 1 x that it saves nothing."
    )
    return Section("worth", "What it is worth in labels", (text,), tables=(table,))


def _controls(comparison: Comparison) -> Section:
    baseline = named(comparison.baseline)
    groups = []
    for amount in comparison.amounts:
        rows = tuple(
            (
                arm_words(each.arm),
                arm_words(each.control),
                f"{each.beyond.n}",
                _interval(each.beyond.mean, each.beyond.low, each.beyond.high),
                p_words(each.beyond.p_holm if each.beyond.p_holm is not None else each.beyond.p),
                _share_words(each.share, each.low, each.high),
            )
            for each in comparison.control_shares
            if each.amount == amount
        )
        if rows:
            groups.append(Group(_amount_heading(comparison, amount), rows))
    table = Table(
        "Macro-F1 beyond the control",
        ("arm", "control", "draws", "arm minus control [bootstrap]", "p (Holm)", "share that the control has"),
        tuple(groups),
        "labels",
        f"Share: what part of the arm's gain over {baseline} its control has too; only where that gain is above zero.",
    )
    text = (
        "A control is as wide as its arm and saw none of the other tissue. What it gains as well is not due to the "
        "other tissue, but to more features or to pretraining on everyday photographs."
    )
    return Section("controls", "What the controls have already", (text,), tables=(table,))


def _share_words(share: float | None, low: float | None, high: float | None) -> str:
    if share is None or low is None or high is None:
        return "–"
    return f"{100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}]".replace("-", "−")


def _classes(comparison: Comparison) -> Section:
    found = [each for each in comparison.differences if each.metric.startswith("f1/")]
    alt = "Heat map of the differences in F1 of each class"
    if found:
        most, least = max(found, key=lambda each: each.mean), min(found, key=lambda each: each.mean)
        alt += f": from {_gain_words(least)} to {_gain_words(most)}"
    picture = Picture(
        "class_gains",
        partial(figures.class_gains, comparison),
        f"{alt}.",
        f"F1 of each class minus that of {named(comparison.baseline)}. These are many comparisons without a "
        "correction: one in twenty intervals leaves zero out by chance.",
    )
    return Section("classes", "Which cells gain", pictures=(picture,))


def _gain_words(each: Difference) -> str:
    where = f"{arm_words(each.arm)}, {each.metric.removeprefix('f1/')}, {amount_words(each.amount)}"
    return f"{signed(each.mean)} ({where})"


def _confusion(comparison: Comparison) -> Section:
    amount = comparison.amounts[0]
    shares = [
        f"{arm_words(arm)} {100 * np.trace(counts) / max(counts.sum(), 1):.1f} % right"
        for arm in comparison.arms
        if (counts := comparison.confusion.get((arm, amount))) is not None
    ]
    picture = Picture(
        "confusion_matrices",
        partial(figures.confusion_matrices, comparison, amount),
        f"Confusion matrices at {amount_words(amount)}: {', '.join(shares)}.",
        f"With {amount_words(amount)}, the fewest labels, on {comparison.images:,} {comparison.split} images.",
    )
    return Section("confusion", "What is taken for what", pictures=(picture,))


def _majority_baseline(comparison: Comparison) -> Section:
    baseline = comparison.majority_baseline
    scores = [f"{metric_label(name)} {value:.3f}" for name, value in baseline.metrics.items()]
    text = (
        f"A classifier that always predicts {baseline.label}, the most frequent class of the {comparison.split} "
        f"images, has {_listed(scores)}. A model with lower scores has learnt nothing."
    )
    return Section("majority-baseline", "Majority-class baseline", (text,))


def _external(comparison: Comparison, first: Comparison) -> Section:
    paragraphs = [
        f"The same classifiers on {comparison.images:,} images of another laboratory, which no run was trained on, "
        "calibrated with or chosen by.",
        *answer(comparison),
        *(f"Warning: {warning}." for warning in comparison.warnings if warning not in first.warnings),
    ]
    pictures, tables = [_efficiency_picture(comparison, "external_")], [_scores_table(comparison)]
    if len(comparison.arms) > 1:
        pictures.append(_forest(comparison, "external_"))
        tables.append(_differences_table(comparison))
    return Section("external", "Another laboratory", tuple(paragraphs), tuple(pictures), tuple(tables))


def _training(comparison: Comparison, runs: Sequence[RunRecord]) -> Section:
    picture = Picture(
        "training_curves",
        partial(figures.training_curves, runs, comparison.arms),
        f"Training loss, validation loss and validation accuracy of {len(runs)} runs over their steps.",
        "A thin line a run. Nothing is chosen by the validation curves: each run makes all its steps, and its weights "
        "at the end count.",
    )
    return Section("training", "How training went", pictures=(picture,))


def _method(comparison: Comparison) -> Section:
    baseline = named(comparison.baseline)
    text = (
        "A draw is a choice of training images. All arms of a draw have the same training images, and all runs "
        f"answer for the same {comparison.images:,} images. The macro-F1 is the mean of the F1 of the "
        f"{len(comparison.classes)} classes; it is the score that is tested, the others are shown.",
        "The interval of a mean is Student's t over the runs, which may pass 1. The interval of a difference is a "
        "crossed bootstrap: images are resampled with replacement, the same for all arms, draws and amounts, and draws "
        "independently of them (Owen 2007, “The pigeonhole bootstrap”); its limits are percentiles (Efron and "
        "Tibshirani 1993).",
        "p is a two-sided permutation test: whether an answer came from the arm or from the other is flipped for each "
        "image, in all draws at once (p is never 0: Phipson and Smyth 2010). Holm's method (1979) corrects it over the "
        "amounts of one arm. McNemar's test (1947) is exact, and compares how often two single runs are right. A "
        "difference is called clear where the bootstrap interval leaves zero out and Holm's p is at most "
        f"{SIGNIFICANCE}.",
        f"What a gain is worth in labels is read off the means of {baseline}, joined by lines over the logarithm of "
        "the number of labels, and resampled by the same bootstrap.",
    )
    return Section("method", "Method", text)


def _facts(facts: Mapping[str, str]) -> Section:
    rows = tuple((label, text) for label, text in facts.items())
    return Section("facts", "Facts", tables=(Table("Where this comes from", ("what", "value"), (Group("", rows),)),))


def _runs(comparison: Comparison, runs: Sequence[RunRecord]) -> Section:
    rows = tuple(
        (
            run.run_id,
            run.name,
            arm_words(run.arm),
            amount_words(run.amount),
            f"{run.draw}",
            f"{run.seed}",
            _logged(run, f"{comparison.split}/{MAIN_METRIC}"),
        )
        for run in runs
    )
    head = ("run", "name", "arm", "labels", "draw", "seed", "macro-F1")
    text = "All scores of every run are in results.csv."
    return Section("runs", "Runs", (text,), tables=(Table(f"{len(runs)} runs", head, (Group("", rows),)),))


def _logged(run: RunRecord, name: str) -> str:
    return f"{run.metrics[name]:.3f}" if name in run.metrics else "–"


def _differences(comparison: Comparison, amount: str) -> list[Difference]:
    """Those of the main metric at one amount, in the order of the arms."""
    return [found for arm in comparison.arms if (found := comparison.difference(arm, amount)) is not None]


def _amount_heading(comparison: Comparison, amount: str) -> str:
    return f"{amount_words(amount)} ({_count(comparison.labels[amount])} labels)"


def _count(mean: float) -> str:
    """A mean number of labels: whole unless the draws differ."""
    return f"{mean:,.0f}" if mean == round(mean) else f"{mean:,.1f}"


def _interval(mean: float, low: float, high: float) -> str:
    return f"{signed(mean)} [{signed(low)}, {signed(high)}]"
