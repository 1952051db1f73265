"""The runs of a comparison by condition (arm x amount); each run is one replicate."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hemacell.core.errors import UserError
from hemacell.evaluation.comparison.records import RunRecord, Spread
from hemacell.evaluation.comparison.words import arm_words, condition_words, number_words
from hemacell.evaluation.laboratories import TEST, in_order, set_words

if TYPE_CHECKING:
    from hemacell.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Grid:
    """Runs by condition (arm, amount); each run is one replicate of its condition."""

    runs: tuple[RunRecord, ...]
    arms: tuple[str, ...]
    amounts: tuple[str, ...]
    labels: dict[str, float]
    baseline: str
    rows: dict[tuple[str, str], list[int]]  # (arm, amount) -> indices into runs, ordered by draw and seed

    def conditions(self) -> Iterable[tuple[str, str, list[int]]]:
        """Arm, amount and rows, arm by arm."""
        return (
            (arm, amount, self.rows[arm, amount])
            for arm in self.arms
            for amount in self.amounts
            if (arm, amount) in self.rows
        )

    def spread(self, rows: Sequence[int]) -> Spread:
        if len(rows) == 1:
            return "folds" if self.runs[rows[0]].folds else "images"
        return "seeds" if len({self.runs[row].train_digest for row in rows}) == 1 else "draws"

    def paired(self, amount: str, *arms: str) -> list[list[int]]:
        """Rows of each arm at one amount for the draws that all of them have, in one order; empty without such draws.

        Runs are paired by their draw; where an arm has several runs of one draw, by their seeds too.
        """
        found = [self.rows.get((arm, amount), []) for arm in arms]
        by_draw = all(len({self.runs[row].draw for row in rows}) == len(rows) for rows in found)
        tables = [{(self.runs[row].draw, 0 if by_draw else self.runs[row].seed): row for row in rows} for rows in found]
        common = sorted(set(tables[0]).intersection(*tables[1:]))
        return [[table[key] for key in common] for table in tables] if common else []


def splits_of(runs: Sequence[RunRecord], least: int = 1) -> list[str]:
    """The sets of images that at least so many runs predicted: `test`, then `external/<name>` for other laboratories'.

    Example:
        >>> splits_of([])
        ['test']
    """
    predicted = Counter(split for run in runs for split in run.external)
    return [TEST, *in_order(split for split, count in predicted.items() if count >= least)]


def predictions_of(run: RunRecord, split: str) -> "Predictions":
    return run.predictions if split == TEST else run.external[split]  # runs without were left out


def build_grid(runs: Sequence[RunRecord], baseline: str, split: str) -> tuple[Grid, list[str]]:
    """The runs by condition, and warnings about what is unusual about them."""
    warnings = []
    predicted = [run for run in runs if split == TEST or split in run.external]
    if not predicted:
        raise UserError(
            f"split={split}: no run has predictions on such images; compare on {' or '.join(splits_of(runs))}, or "
            "train with external=NAME:DIR"
        )
    if len(predicted) < len(runs):
        missing = number_words(len(runs) - len(predicted), "run")
        warnings.append(f"{missing} without predictions on {set_words(split)} images left out")
    kept: dict[tuple[str, str, int, int], RunRecord] = {}
    for run in predicted:
        key = (run.arm, run.amount, run.draw, run.seed)
        if key in kept:
            warnings.append(
                f"two runs of {condition_words(run.arm, run.amount)}, draw {run.draw}, seed {run.seed}: "
                f"{kept[key].run_id} is left out, {run.run_id} counts"
            )
        kept[key] = run
    chosen = tuple(kept.values())
    arms = list(dict.fromkeys(run.arm for run in chosen))
    if baseline not in arms:
        warnings.append(f"no run of the baseline {arm_words(baseline)}: {arm_words(arms[0])} takes its place")
        baseline = arms[0]
    arms.sort(key=lambda arm: arm != baseline)
    rows, sizes = defaultdict(list), defaultdict(list)
    for row, run in enumerate(chosen):
        sizes[run.amount].append(run.labels)
        rows[run.arm, run.amount].append(row)
    for found in rows.values():
        found.sort(key=lambda row: (chosen[row].draw, chosen[row].seed))
    labels = dict(sorted(((amount, float(np.mean(each))) for amount, each in sizes.items()), key=lambda pair: pair[1]))
    return Grid(chosen, tuple(arms), tuple(labels), labels, baseline, dict(rows)), warnings


def steps_of(run: RunRecord) -> float:
    """Number of training steps: the last that was reported, else the setting; NaN where unknown."""
    reported = [row["step"] for row in run.history if "step" in row]
    return max(reported) if reported else float(whole(run.settings.get("steps", "")) or np.nan)


def whole(text: str) -> int:
    """A tag as a whole number; 0 where it is something else."""
    return int(text) if text.strip().isdigit() else 0
