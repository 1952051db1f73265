"""Checks of a comparison: what its reader should know before trusting it, one line each."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from hemacell.config.jobs import WbcSettings
from hemacell.config.roles import MUST_AGREE
from hemacell.evaluation.comparison.grid import Grid, steps_of, whole
from hemacell.evaluation.comparison.records import MAIN_METRIC, Comparison
from hemacell.evaluation.comparison.resampling import MatchedPredictions
from hemacell.evaluation.comparison.words import (
    amount_words,
    arm_words,
    by_arm,
    condition_words,
    draw_words,
    number_words,
    some,
)
from hemacell.evaluation.groups import FEW_GROUPS
from hemacell.evaluation.laboratories import set_words

FEWEST_DRAWS = 5
"""With fewer, a 95 % interval over draws is unreliable."""

#: Settings that may differ between arms of a draw: what is compared, and what cannot change a score. Data and threads
#: are checked by their tags `data.digest` and `threads`.
_FREE_SETTINGS = frozenset(WbcSettings.model_fields) - WbcSettings.names(*MUST_AGREE)


def check_images(predictions: MatchedPredictions) -> list[str]:
    """Images that some runs lack."""
    lost, total = predictions.left_out, predictions.left_out + len(predictions.labels)
    if not lost:
        return []
    return [
        f"different test sets: {lost} of {total} images are not in every run and are left out; "
        "what is not counted from predictions alone (auroc, ece, nll) is over each run's own images"
    ]


def check_predictions(grid: Grid, classes: tuple[str, ...], confusion: NDArray[np.int64]) -> list[str]:
    """Arms that never predict some class."""
    present = confusion[0].sum(1) > 0
    warnings = []
    for arm, amount, rows in grid.conditions():
        missing: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for row in rows:
            never = present & (confusion[row].sum(0) == 0)
            if never.any():
                missing[tuple(classes[i] for i in np.flatnonzero(never))].append(grid.runs[row].draw)
        if missing:
            where = {
                names: "" if grid.runs[rows[0]].folds else f" in {draw_words(missing[names])}" for names in missing
            }
            found = "; ".join(f"{', '.join(names)}{words}" for names, words in where.items())
            warnings.append(f"{condition_words(arm, amount)} never predicts {found}")
    return warnings


def check_intervals(made: Comparison) -> list[str]:
    """Few groups or draws, differences that may be zero, and intervals that disagree."""
    warnings = []
    if 0 < made.groups < FEW_GROUPS:
        warnings.append(
            f"the {set_words(made.split)} images are of {number_words(made.groups, 'group')}: intervals over fewer "
            f"than {FEW_GROUPS} are too narrow"
        )
    main = [score for score in made.scores if score.metric == MAIN_METRIC]
    fewest = {amount: min(score.n for score in main if score.amount == amount) for amount in made.amounts}
    few = [f"{amount_words(amount)} ({n})" for amount, n in fewest.items() if n < FEWEST_DRAWS]
    if made.folds:
        warnings.append(
            f"cross-validation in {made.folds} folds, whose training images overlap: intervals are over the test "
            "images and do not cover other training images"
        )
    elif few:
        warnings.append(
            f"fewer than {FEWEST_DRAWS} draws at {', '.join(few)}: intervals over draws are unreliable there"
        )
    tested = [difference for difference in made.differences if difference.metric == MAIN_METRIC]
    unclear = by_arm((d.arm, d.amount) for d in tested if d.low <= 0 <= d.high)
    if unclear:
        warnings.append(
            f"not distinguishable from the baseline {arm_words(made.baseline)} (the 95 % interval of the difference in "
            f"macro-F1 contains 0): {unclear}"
        )
    for t_holds_zero, words in (
        (True, "the bootstrap interval excludes 0 but the t interval over draws contains it"),
        (False, "the t interval over draws excludes 0 but the bootstrap interval contains it"),
    ):
        unsure = by_arm(
            (d.arm, d.amount)
            for d in tested
            if d.t_low is not None
            and d.t_high is not None
            and (d.t_low <= 0 <= d.t_high) == t_holds_zero != (d.low <= 0 <= d.high)
        )
        if unsure:
            warnings.append(f"{words}, so interpret the difference in macro-F1 with care: {unsure}")
    unpaired = {(score.arm, score.amount) for score in main} - {(d.arm, d.amount) for d in tested}
    alone = by_arm((arm, amount) for arm in made.arms[1:] for amount in made.amounts if (arm, amount) in unpaired)
    if alone:
        warnings.append(f"no draw in common with the baseline {arm_words(made.baseline)}, so no difference: {alone}")
    return warnings


def check_runs(grid: Grid) -> list[str]:
    """What differs between runs that should be alike."""
    warnings = []
    copies = max(whole(run.tags.get("data.duplicates_across_splits", "")) for run in grid.runs)
    if copies > 0:
        warnings.append(
            f"exact duplicates across splits: {number_words(copies, 'image')} in more than one of train, val and test, "
            "so scores may be too high"
        )
    dirty = sum(run.tags.get("git.dirty") == "true" for run in grid.runs)
    if dirty:
        warnings.append(f"{number_words(dirty, 'run')} from sources with uncommitted changes (git.dirty)")
    odd: dict[str, list[str]] = defaultdict(list)
    for amount in grid.amounts:
        runs = [run for run in grid.runs if run.amount == amount]
        for tag, words in (("git.commit", "runs of several git commits"), ("threads", "different numbers of threads")):
            found = sorted({run.tags.get(tag, "unknown") for run in runs})
            if len(found) > 1:
                odd[f"{words} ({some([value[:7] for value in found])})"].append(amount)
        for draw in sorted({run.draw for run in runs}):
            of_draw = [run for run in runs if run.draw == draw]
            if len({run.arm for run in of_draw}) < 2:
                continue
            if len({run.train_digest for run in of_draw}) > 1:
                odd["arms of one draw with different training images"].append(amount)
            steps = {steps for steps in map(steps_of, of_draw) if not np.isnan(steps)}
            if len(steps) > 1:
                odd["arms of one draw with different numbers of steps"].append(amount)
            keys = {key for run in of_draw for key in run.settings} - _FREE_SETTINGS
            keys -= {name for run in of_draw for name in run.arm_settings}
            if len(steps) > 1:
                keys.discard("steps")
            for key in sorted(keys):
                values = sorted({run.settings.get(key, "") for run in of_draw})
                if len(values) > 1:
                    odd[f"arms of one draw with different settings: {key} = {some(values)}"].append(amount)
    for words, amounts in odd.items():
        warnings.append(f"{words} at {', '.join(amount_words(amount) for amount in dict.fromkeys(amounts))}")
    return warnings
