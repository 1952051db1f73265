"""What a reader of a comparison must beware of, one line each."""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from hemacell.evaluation.comparison.grid import (
    Grid,
    by_arm,
    draw_words,
    number_words,
    place_words,
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


def about_answers(grid: Grid, classes: tuple[str, ...], confusion: NDArray[np.int64]) -> list[str]:
    """Arms that never give some class as an answer."""
    there = confusion[0].sum(1) > 0
    warnings = []
    for arm, amount, rows in grid.places():
        missing: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for row in rows:
            silent = there & (confusion[row].sum(0) == 0)
            if silent.any():
                missing[tuple(classes[i] for i in np.flatnonzero(silent))].append(grid.cells[row].draw)
        if missing:
            found = "; ".join(f"{', '.join(names)} in {draw_words(draws)}" for names, draws in missing.items())
            warnings.append(f"{place_words(arm, amount)} never answers {found}")
    return warnings


def about_intervals(made: Comparison) -> list[str]:
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
        places = by_arm(
            (d.arm, d.amount)
            for d in tested
            if d.t_low is not None
            and d.t_high is not None
            and (d.t_low <= 0 <= d.t_high) == t_holds_zero != (d.low <= 0 <= d.high)
        )
        if places:
            warnings.append(f"{words}, so take the difference in macro-F1 with care: {places}")
    has = {(d.arm, d.amount) for d in tested}
    has_score = {(score.arm, score.amount) for score in main}
    alone = by_arm(place for place in ((a, m) for a in made.arms[1:] for m in made.amounts) if place in has_score - has)
    if alone:
        warnings.append(f"no draw in common with the baseline {arm_words(made.baseline)}, so no difference: {alone}")
    return warnings


def about_runs(grid: Grid) -> list[str]:
    """What differs between runs that should be alike."""
    warnings = []
    copies = max(whole(cell.tags.get("data.duplicates_across_splits", "")) for cell in grid.cells)
    if copies > 0:
        warnings.append(
            f"exact duplicates across splits: {number_words(copies, 'image')} in more than one of train, val and test, "
            "so scores may be too high"
        )
    dirty = sum(cell.tags.get("git.dirty") == "true" for cell in grid.cells)
    if dirty:
        warnings.append(f"{number_words(dirty, 'run')} from sources with uncommitted changes (git.dirty)")
    odd: dict[str, list[str]] = defaultdict(list)
    for amount in grid.amounts:
        cells = [cell for cell in grid.cells if cell.amount == amount]
        for tag, words in (("git.commit", "runs of several git commits"), ("threads", "other numbers of threads")):
            found = sorted({cell.tags.get(tag, "unknown") for cell in cells})
            if len(found) > 1:
                odd[f"{words} ({some([value[:7] for value in found])})"].append(amount)
        for draw in sorted({cell.draw for cell in cells}):
            of_draw = [cell for cell in cells if cell.draw == draw]
            if len({cell.arm for cell in of_draw}) < 2:
                continue
            if len({cell.train_digest for cell in of_draw}) > 1:
                odd["arms of one draw that saw other training images"].append(amount)
            steps = {steps for steps in map(steps_of, of_draw) if not np.isnan(steps)}
            if len(steps) > 1:
                odd["arms of one draw that made other numbers of steps"].append(amount)
            keys = {key for cell in of_draw for key in cell.settings} - _FREE_SETTINGS
            keys -= {name for cell in of_draw for name in cell.arm_settings}
            if len(steps) > 1:
                keys.discard("steps")
            for key in sorted(keys):
                values = sorted({cell.settings.get(key, "") for cell in of_draw})
                if len(values) > 1:
                    odd[f"arms of one draw with other settings: {key} = {some(values)}"].append(amount)
    for words, amounts in odd.items():
        warnings.append(f"{words} at {', '.join(amount_words(amount) for amount in dict.fromkeys(amounts))}")
    return warnings
