"""What a reader of a comparison must beware of, one line each."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from hemacell.evaluation.comparison.grid import (
    Grid,
    by_arm,
    condition_words,
    draw_words,
    number_words,
    some,
    steps_of,
    whole,
)
from hemacell.evaluation.comparison.records import MAIN_METRIC, Comparison, amount_words, arm_words

FEWEST_DRAWS = 5
"""With fewer, a 95 % interval over draws says little."""

#: Settings that may differ between arms of a draw: what is compared, and what cannot change a score.
_FREE_SETTINGS = {
    *("encoders", "fraction", "labels_per_class", "draw", "seed"),
    *(
        "run_name",
        "experiment",
        "resume",
        "force",
        "register_model",
        "checkpoint_seconds",
        "num_evals",
        "channel_stats",
    ),
    *("data", "pretrain_data", "threads"),  # `data.digest` and `threads` are tags, and watched there
}


def check_predictions(grid: Grid, classes: tuple[str, ...], confusion: NDArray[np.int64]) -> list[str]:
    """Arms that never give some class as an answer."""
    there = confusion[0].sum(1) > 0
    warnings = []
    for arm, amount, rows in grid.conditions():
        missing: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for row in rows:
            silent = there & (confusion[row].sum(0) == 0)
            if silent.any():
                missing[tuple(classes[i] for i in np.flatnonzero(silent))].append(grid.runs[row].draw)
        if missing:
            found = "; ".join(f"{', '.join(names)} in {draw_words(draws)}" for names, draws in missing.items())
            warnings.append(f"{condition_words(arm, amount)} never answers {found}")
    return warnings


def check_intervals(made: Comparison) -> list[str]:
    """Few draws, differences that may be none, and intervals that disagree."""
    warnings = []
    main = [score for score in made.scores if score.metric == MAIN_METRIC]
    fewest = {amount: min(score.n for score in main if score.amount == amount) for amount in made.amounts}
    few = [f"{amount_words(amount)} ({n})" for amount, n in fewest.items() if n < FEWEST_DRAWS]
    if few:
        warnings.append(f"fewer than {FEWEST_DRAWS} draws at {', '.join(few)}: intervals over draws say little there")
    tested = [difference for difference in made.differences if difference.metric == MAIN_METRIC]
    unclear = by_arm((d.arm, d.amount) for d in tested if d.low <= 0 <= d.high)
    if unclear:
        warnings.append(
            f"cannot be told from the baseline {arm_words(made.baseline)}, as the 95 % interval of the difference in "
            f"macro-F1 holds 0: {unclear}"
        )
    for t_holds_zero, words in (
        (True, "the bootstrap interval leaves out 0 and the t interval over draws holds it"),
        (False, "the t interval over draws leaves out 0 and the bootstrap interval holds it"),
    ):
        unsure = by_arm(
            (d.arm, d.amount)
            for d in tested
            if d.t_low is not None
            and d.t_high is not None
            and (d.t_low <= 0 <= d.t_high) == t_holds_zero != (d.low <= 0 <= d.high)
        )
        if unsure:
            warnings.append(f"{words}, so take the difference in macro-F1 with care: {unsure}")
    has = {(d.arm, d.amount) for d in tested}
    has_score = {(score.arm, score.amount) for score in main}
    alone = by_arm(place for place in ((a, m) for a in made.arms[1:] for m in made.amounts) if place in has_score - has)
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
        for tag, words in (("git.commit", "runs of several git commits"), ("threads", "other numbers of threads")):
            found = sorted({run.tags.get(tag, "unknown") for run in runs})
            if len(found) > 1:
                odd[f"{words} ({some([value[:7] for value in found])})"].append(amount)
        for draw in sorted({run.draw for run in runs}):
            of_draw = [run for run in runs if run.draw == draw]
            if len({run.arm for run in of_draw}) < 2:
                continue
            if len({run.train_digest for run in of_draw}) > 1:
                odd["arms of one draw that saw other training images"].append(amount)
            steps = {steps for steps in map(steps_of, of_draw) if not np.isnan(steps)}
            if len(steps) > 1:
                odd["arms of one draw that made other numbers of steps"].append(amount)
            keys = {key for run in of_draw for key in run.settings} - _FREE_SETTINGS
            if len(steps) > 1:
                keys.discard("steps")
            for key in sorted(keys):
                values = sorted({run.settings.get(key, "") for run in of_draw})
                if len(values) > 1:
                    odd[f"arms of one draw with other settings: {key} = {some(values)}"].append(amount)
    for words, amounts in odd.items():
        warnings.append(f"{words} at {', '.join(amount_words(amount) for amount in dict.fromkeys(amounts))}")
    return warnings
