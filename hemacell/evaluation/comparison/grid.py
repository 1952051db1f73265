"""The cells of a comparison in their places: arm x amount, one cell a replicate."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hemacell.core.errors import UserError
from hemacell.evaluation.comparison.records import Cell, Spread, amount_words, arm_words

if TYPE_CHECKING:
    from hemacell.evaluation.predictions import Predictions

Split = Literal["test", "external"]


@dataclass(frozen=True)
class Grid:
    """Cells and their places; one cell a replicate of a place."""

    cells: tuple[Cell, ...]
    arms: tuple[str, ...]
    amounts: tuple[str, ...]
    labels: dict[str, float]
    baseline: str
    rows: dict[tuple[str, str], list[int]]  # (arm, amount) -> indices into cells, ordered by draw and seed

    def places(self) -> Iterable[tuple[str, str, list[int]]]:
        """Arm, amount and rows, arm by arm."""
        return (
            (arm, amount, self.rows[arm, amount])
            for arm in self.arms
            for amount in self.amounts
            if (arm, amount) in self.rows
        )

    def spread(self, rows: Sequence[int]) -> Spread:
        if len(rows) == 1:
            return "images"
        return "seeds" if len({self.cells[row].train_digest for row in rows}) == 1 else "draws"

    def paired(self, amount: str, *arms: str) -> list[list[int]]:
        """Rows of each arm at one amount for the draws that all of them have, in one order; empty where none.

        Runs are paired by their draw; where an arm has several runs of one draw, by their seeds too.
        """
        found = [self.rows.get((arm, amount), []) for arm in arms]
        by_draw = all(len({self.cells[row].draw for row in rows}) == len(rows) for rows in found)
        tables = [
            {(self.cells[row].draw, 0 if by_draw else self.cells[row].seed): row for row in rows} for rows in found
        ]
        common = sorted(set(tables[0]).intersection(*tables[1:]))
        return [[table[key] for key in common] for table in tables] if common else []


def said(cell: Cell, split: Split) -> "Predictions":
    said = cell.predictions if split == "test" else cell.external
    assert said is not None  # cells without were left out
    return said


def placed(cells: Sequence[Cell], baseline: str, split: Split) -> tuple[Grid, list[str]]:
    """The cells in their places, and what was odd about them."""
    warnings = []
    answered = [cell for cell in cells if split == "test" or cell.external is not None]
    if not answered:
        raise UserError("no run has answers on external images; train with external=DIR, or compare the test images")
    if len(answered) < len(cells):
        warnings.append(
            f"{number_words(len(cells) - len(answered), 'run')} without answers on external images left out"
        )
    kept: dict[tuple[str, str, int, int], Cell] = {}
    for cell in answered:
        key = (cell.arm, cell.amount, cell.draw, cell.seed)
        if key in kept:
            warnings.append(
                f"two runs of {place_words(cell.arm, cell.amount)}, draw {cell.draw}, seed {cell.seed}: "
                f"{kept[key].run_id} is left out, {cell.run_id} counts"
            )
        kept[key] = cell
    chosen = tuple(kept.values())
    arms = list(dict.fromkeys(cell.arm for cell in chosen))
    if baseline not in arms:
        warnings.append(f"no run of the baseline {arm_words(baseline)}: {arm_words(arms[0])} takes its place")
        baseline = arms[0]
    arms.sort(key=lambda arm: arm != baseline)
    sizes = defaultdict(list)
    for cell in chosen:
        sizes[cell.amount].append(cell.labels)
    labels = {amount: float(np.mean(found)) for amount, found in sizes.items()}
    amounts = sorted(labels, key=lambda amount: labels[amount])
    rows = defaultdict(list)
    for row, cell in enumerate(chosen):
        rows[cell.arm, cell.amount].append(row)
    for found in rows.values():
        found.sort(key=lambda row: (chosen[row].draw, chosen[row].seed))
    in_order = {amount: labels[amount] for amount in amounts}
    return Grid(chosen, tuple(arms), tuple(amounts), in_order, baseline, dict(rows)), warnings


def steps_of(cell: Cell) -> float:
    """Number of steps made: the last that was reported, else the setting; NaN where neither says."""
    reported = [row["step"] for row in cell.history if "step" in row]
    return max(reported) if reported else float(whole(cell.settings.get("steps", "")) or np.nan)


def whole(text: str) -> int:
    """A tag as a number; 0 where it is none."""
    return int(text) if text.strip().isdigit() else 0


def place_words(arm: str, amount: str) -> str:
    return f"{arm_words(arm)} at {amount_words(amount)}"


def by_arm(places: Iterable[tuple[str, str]]) -> str:
    """`prcc at 1 %, 10 %; camelyon at 1 %`."""
    amounts: dict[str, list[str]] = defaultdict(list)
    for arm, amount in places:
        amounts[arm].append(amount_words(amount))
    return "; ".join(f"{arm_words(arm)} at {', '.join(found)}" for arm, found in amounts.items())


def draw_words(draws: Sequence[int]) -> str:
    different = list(dict.fromkeys(draws))
    return f"draw {different[0]}" if len(different) == 1 else f"draws {', '.join(map(str, different))}"


def number_words(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def some(values: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more."""
    shown = [value or "unset" for value in values[:most]]
    more = len(values) - most
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
