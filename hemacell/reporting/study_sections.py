"""The sections of a report: text, tables and figures of a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from hemacell.evaluation.calibration_error import ECE_BINS
from hemacell.evaluation.comparison.records import MAIN_METRIC, SIGNIFICANCE, Comparison, RunRecord, Score
from hemacell.evaluation.comparison.words import (
    amount_words,
    arm_words,
    images_words,
    label_efficiency_in_words,
    listed,
    named,
    number_of_images,
    p_words,
    signed,
)
from hemacell.evaluation.groups import units_in_a_sentence
from hemacell.evaluation.laboratories import set_words
from hemacell.evaluation.metrics import metric_label, study_metrics
from hemacell.reporting.figures.registry import STUDY_FIGURES, StudyFigure
from hemacell.reporting.laboratories_section import laboratories_section
from hemacell.reporting.study_answer import answer
from hemacell.reporting.study_elements import FigureInReport, Group, Section, Table


def sections(comparisons: Sequence[Comparison], runs: Sequence[RunRecord], facts: Mapping[str, str]) -> list[Section]:
    """Everything below the answer, in reading order."""
    first = comparisons[0]
    found = [_budget(first), _scores(first), _differences_section(first)]
    if first.label_efficiency:
        found.append(_label_efficiency(first))
    if first.control_shares:
        found.append(_controls(first))
    found = _with_figures(found, first, runs)
    found.append(_majority_baseline(first))
    if elsewhere := laboratories_section(comparisons, runs):
        found.append(elsewhere)
    found += [_external(other, first, runs) for other in comparisons[1:]]
    return [*found, _method(first), _facts(facts), _runs(first, runs)]


def _with_figures(found: Sequence[Section], comparison: Comparison, runs: Sequence[RunRecord]) -> list[Section]:
    """The sections with their figures, and a section for each figure that has none."""
    by_slug = {section.slug: section for section in found}
    for each in STUDY_FIGURES.values():
        if each.applies(comparison):
            section = by_slug.get(each.section) or Section(each.section, each.heading or each.name.replace("_", " "))
            figures = (*section.figures, _figure(each, comparison, runs))
            by_slug[each.section] = replace(section, figures=figures)
    return list(by_slug.values())


def _figure(figure: StudyFigure, comparison: Comparison, runs: Sequence[RunRecord], prefix: str = "") -> FigureInReport:
    draw = partial(figure.draw, comparison, runs)
    return FigureInReport(f"{prefix}{figure.name}", draw, figure.alt(comparison), figure.caption(comparison))


def _budget(comparison: Comparison) -> Section:
    val = comparison.val_images
    if val:
        text = (
            f"Besides its training images, each run had {val:,} labelled val images. They only set the temperature "
            "that calibrates the probabilities; no weights and no settings are chosen by them. They are labels all the "
            "same: a laboratory without them has no calibrated probabilities."
        )
    else:
        text = "The number of labelled val images is not known."
    rows = tuple(
        (amount_words(amount), _count(comparison.labels[amount]), f"{val:,}" if val else "–")
        for amount in comparison.amounts
    )
    head = ("labels", "labelled training images", "labelled val images (calibration only)")
    return Section(
        "label-budget", "The label budget", (text,), tables=(Table("Labels of one run", head, (Group("", rows),)),)
    )


def _scores(comparison: Comparison) -> Section:
    return Section(
        "scores",
        "Scores",
        tables=(_scores_table(comparison),),
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
        f"{'Score' if comparison.folds else 'Mean'} and 95 % interval on {images_words(comparison)}",
        ("arm", "interval over", *(metric.label for metric in study_metrics().values())),
        tuple(groups),
        "labels",
        "Draws: different training images in each; seeds: the same training images, another initialisation; images: a "
        "single run, whose interval is over resampled test images and does not cover other training images; folds: all "
        "folds of a cross-validation as one, with an interval as of a single run. "
        f"ECE: expected calibration error in {ECE_BINS} bins, lower is better.",
    )


def _spread(score: Score) -> str:
    if score.n == 1:
        return "images (folds)" if score.spread == "folds" else "images (1 run)"
    return f"{score.n} {score.spread}"


def _score_words(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.mean:.3f}" + ("" if score.low is None else f" [{score.low:.3f}, {score.high:.3f}]")


def _differences_section(comparison: Comparison) -> Section:
    baseline = named(comparison.baseline)
    if len(comparison.arms) < 2:
        return Section("differences", f"Differences to {baseline}", (f"There is no arm besides {baseline}.",))
    return Section(
        "differences",
        f"Differences to {baseline}",
        tables=(_differences_table(comparison),),
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
            for each in comparison.main_differences(amount)
        )
        if rows:
            groups.append(Group(_amount_heading(comparison, amount), rows))
    return Table(
        f"Macro-F1 minus that of {named(comparison.baseline)}",
        ("arm", "draws", "difference [bootstrap]", "t interval", "p", "p (Holm)", "McNemar's p for each draw"),
        tuple(groups),
        "labels",
        "The bootstrap resamples images and draws; the t interval is over the differences of the draws alone. p and "
        "McNemar's p are about the classifiers that were trained, not about other draws.",
    )


def _label_efficiency(comparison: Comparison) -> Section:
    baseline = named(comparison.baseline)
    found = {
        (each.arm, each.amount): label_efficiency_in_words(each).replace(" x the labels", " x")
        for each in comparison.label_efficiency
    }
    arms = [arm for arm in comparison.arms if any(arm == has for has, _ in found)]
    rows = tuple((arm_words(arm), *(found.get((arm, amount), "–") for amount in comparison.amounts)) for arm in arms)
    table = Table(
        f"How many times the labels {baseline} needs for the same macro-F1",
        ("arm", *(f"at {amount_words(amount)}" for amount in comparison.amounts)),
        (Group("", rows),),
        note=f"Interpolated between the amounts of {baseline}. More than: {baseline} does not reach the score with all "
        "labels it was given; less than: it already exceeds the score with the fewest.",
    )
    text = (
        f"How many times an arm's labels would {baseline} need for the same macro-F1? 2 x means that the pretraining "
        "saves half of the labelling; 1 x that it saves nothing."
    )
    return Section("label-efficiency", "Label efficiency", (text,), tables=(table,))


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
        ("arm", "control", "draws", "arm minus control [bootstrap]", "p (Holm)", "control's share of the gain"),
        tuple(groups),
        "labels",
        f"Share: the part of the arm's gain over {baseline} that its control achieves too; only where that gain is "
        "above zero.",
    )
    text = (
        "A control is as wide as its arm, but was not pretrained on the other tissue. What it gains is therefore not "
        "due to the other tissue, but to more features or to pretraining on everyday photographs."
    )
    return Section("controls", "Gains of the controls", (text,), tables=(table,))


def _share_words(share: float | None, low: float | None, high: float | None) -> str:
    if share is None or low is None or high is None:
        return "–"
    return f"{100 * share:.0f} % [{100 * low:.0f}, {100 * high:.0f}]".replace("-", "−")


def _majority_baseline(comparison: Comparison) -> Section:
    baseline = comparison.majority_baseline
    scores = [f"{metric_label(name)} {value:.3f}" for name, value in baseline.metrics.items()]
    text = (
        f"A classifier that always predicts {baseline.label}, the most frequent class of the {comparison.split} "
        f"images, has {listed(scores)}. A model with lower scores has learnt nothing."
    )
    return Section("majority-baseline", "Majority-class baseline", (text,))


def _external(comparison: Comparison, first: Comparison, runs: Sequence[RunRecord]) -> Section:
    name = comparison.split.replace("/", "-")
    paragraphs = [
        f"The same classifiers on {number_of_images(comparison)} of another laboratory, which were not used for "
        "training, calibration or any choice.",
        *answer(comparison),
        *(f"Warning: {warning}." for warning in comparison.warnings if warning not in first.warnings),
    ]
    tables = [_scores_table(comparison)]
    if len(comparison.arms) > 1:
        tables.append(_differences_table(comparison))
    figures = [
        _figure(each, comparison, runs, f"{name}_")
        for each in STUDY_FIGURES.values()
        if each.external and each.applies(comparison)
    ]
    heading = f"Another laboratory: {set_words(comparison.split)}"
    return Section(name, heading, tuple(paragraphs), tuple(figures), tuple(tables))


def _method(comparison: Comparison) -> Section:
    baseline = named(comparison.baseline)
    text = (
        f"{_tested_in_words(comparison)} The macro-F1 is the mean of the F1 of the "
        f"{len(comparison.classes)} classes; only this score is tested for significance.",
        "The interval of a mean is Student's t over the runs, which may pass 1. The interval of a difference is a "
        "crossed bootstrap: images are resampled with replacement, the same for all arms, draws and amounts, and draws "
        "independently of them (Owen 2007, “The pigeonhole bootstrap”); its limits are percentiles (Efron and "
        "Tibshirani 1993).",
        "p is a two-sided permutation test: the predictions of arm and baseline are swapped at random for each "
        "image, in all draws at once (p is never 0: Phipson and Smyth 2010). Holm's method (1979) corrects it over the "
        "amounts of one arm. McNemar's test (1947) is exact, and compares how often two single runs are correct. A "
        "difference is called clear where the bootstrap interval excludes zero and Holm's p is at most "
        f"{SIGNIFICANCE}.",
        f"The labels needed for a score are interpolated between the means of {baseline}, linearly over their "
        "logarithm; the interval comes from the same bootstrap.",
    )
    units = units_in_a_sentence(comparison.groups)
    return Section("method", "Method", (*text, f"{units[0].upper()}{units[1:]}."))


def _tested_in_words(comparison: Comparison) -> str:
    if comparison.folds:
        return (
            f"The images are divided into {comparison.folds} folds; a run is tested on one of them and learns from the "
            "others, the same for all arms. Scores are those of all folds together, so that each of "
            f"{comparison.images:,} images counts once (Forman and Scholz 2010); AUROC is the mean over the folds."
        )
    return (
        "A draw is a random choice of training images. All arms of a draw have the same training images, and all runs "
        f"are tested on the same {comparison.images:,} images."
    )


def _facts(facts: Mapping[str, str]) -> Section:
    rows = tuple((label, text) for label, text in facts.items())
    return Section("facts", "Facts", tables=(Table("Provenance", ("what", "value"), (Group("", rows),)),))


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


def _amount_heading(comparison: Comparison, amount: str) -> str:
    return f"{amount_words(amount)} ({_count(comparison.labels[amount])} labels)"


def _count(mean: float) -> str:
    """A mean number of labels: whole unless the draws differ."""
    return f"{mean:,.0f}" if mean == round(mean) else f"{mean:,.1f}"


def _interval(mean: float, low: float, high: float) -> str:
    return f"{signed(mean)} [{signed(low)}, {signed(high)}]"
