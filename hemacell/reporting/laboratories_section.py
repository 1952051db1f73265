"""The section of a study's report on other laboratories: what adapting brings there, and what labels would."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hemacell.evaluation.comparison.records import MAIN_METRIC, Comparison, RunRecord
from hemacell.evaluation.comparison.words import amount_words, arm_words
from hemacell.evaluation.label_draws import LEAST
from hemacell.evaluation.laboratories import (
    ADAPTED,
    EXTERNAL,
    amounts_of_labels,
    is_elsewhere,
    set_words,
    split_of,
    with_labels,
)
from hemacell.reporting.study_elements import Group, Section, Table

SLUG = "laboratories"
_OOD = "ood_share"


def laboratories_section(comparisons: Sequence[Comparison], runs: Sequence[RunRecord]) -> Section | None:
    """Scores of each arm in each other laboratory, with the most labels of the training laboratory.

    Args:
        comparisons: on the test images, and after it on other laboratories'.
        runs: of the study.

    Returns:
        None where no other laboratory was scored.
    """
    splits = [each.split for each in comparisons if is_elsewhere(each.split)]
    names = list(dict.fromkeys(split.split("/")[1] for split in splits))
    if not names:
        return None
    first = comparisons[0]
    amount = first.amounts[-1]
    chosen = {arm: [run for run in runs if (run.arm, run.amount) == (arm, amount)] for arm in first.arms}
    text = (
        f"The classifiers of {amount_words(amount)} of the labels, in laboratories that they have not seen. Adapted: "
        "with the own statistics of the laboratory's images, without labels. With labels: the last layers learn from "
        "so many labels of each class of that laboratory, and its other cells are scored (means over draws of labels).",
    )
    return Section(SLUG, "Other laboratories", text, tables=(_summary(names, chosen), _per_class(names, chosen, first)))


def _summary(names: Sequence[str], chosen: dict[str, list[RunRecord]]) -> Table:
    everyone = [run for runs in chosen.values() for run in runs]
    amounts = sorted({each for name in names for run in everyone for each in amounts_of_labels(run.metrics, name)})
    groups = []
    for name in names:
        plain, adapted = split_of(name, EXTERNAL), split_of(name, ADAPTED)
        columns = [
            f"{plain}/{MAIN_METRIC}",
            f"{adapted}/{MAIN_METRIC}",
            *(f"{with_labels(name, each)}/{MAIN_METRIC}" for each in amounts),
        ]
        flagged = [f"{plain}/{_OOD}", f"{adapted}/{_OOD}"]
        rows = [
            (arm_words(arm), *(_mean(runs, each) for each in columns), *(_mean(runs, each, _share) for each in flagged))
            for arm, runs in chosen.items()
            if runs
        ]
        groups.append(Group(set_words(plain), tuple(rows)))
    labels = [f"{each} labels per class" for each in amounts]
    return Table(
        "Macro-F1 in other laboratories",
        ("arm", "as it is", "adapted", *labels, "flagged as it is", "flagged adapted"),
        tuple(groups),
        "laboratory",
        "Mean over the runs ± their standard deviation. Flagged: unlike the cells that the classifier knows. With "
        f"labels, classes with fewer than {LEAST} cells are left out.",
    )


def _per_class(names: Sequence[str], chosen: dict[str, list[RunRecord]], comparison: Comparison) -> Table:
    groups = []
    for name in names:
        for way in (EXTERNAL, ADAPTED):
            split = split_of(name, way)
            rows = [
                (arm_words(arm), *(_mean(runs, f"{split}/f1/{label}") for label in comparison.classes))
                for arm, runs in chosen.items()
                if any(f"{split}/accuracy" in run.metrics for run in runs)
            ]
            if rows:
                groups.append(Group(set_words(split), tuple(rows)))
    return Table("F1 of each class in other laboratories", ("arm", *comparison.classes), tuple(groups), "laboratory")


def _mean(runs: Sequence[RunRecord], metric: str, words: Callable[[float], str] = "{:.3f}".format) -> str:
    values = [run.metrics[metric] for run in runs if metric in run.metrics]
    if not values:
        return "–"
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 and words is not _share else ""
    return words(float(np.mean(values))) + spread


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
