"""What a table of predictions adds up to: counts by smear and class, and the cells to review first. Read in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hemacell.classifiers.description import OPEN_SET_THRESHOLD
from hemacell.prediction.table import UNLIKE

MOST_UNLIKE = 0.5
"""Share of the cells that may be out of distribution: beyond it nothing is said of the shares of the classes."""
_KEPT = ["smear", "class", "row", "probability", "needs_review"]


class Tally:
    """Counts of the predictions that were added so far.

    Attributes:
        classes: C names.
        counts: smear -> int [C], cells called by each class; in the order in which the smears came.
        needs_review: smear -> int [C], how many of them need review.
        other: smear -> int [C], how many of them are like none of the classes.
        unlike: smear -> cells that are unlike those that the classifier knows.
        unreadable: smear -> images that could not be read.
        first_unreadable: the first of these, with its reason; '' without such images.
    """

    def __init__(self, classes: Sequence[str], shown: int = 0) -> None:
        """`shown`: cells for review that are kept for each class of each smear."""
        self.classes = tuple(classes)
        self.counts: dict[str, NDArray[np.int64]] = {}
        self.needs_review: dict[str, NDArray[np.int64]] = {}
        self.other: dict[str, NDArray[np.int64]] = {}
        self.unlike: dict[str, int] = {}
        self.unreadable: dict[str, int] = {}
        self.first_unreadable = ""
        self._shown = shown
        self._kept = pd.DataFrame(columns=_KEPT)
        self._rows = 0

    def add(self, predictions: pd.DataFrame, smears: Sequence[str]) -> None:
        """Add the next N rows: columns as `prediction.output.read_output` gives them, and N names of smears."""
        table = predictions.assign(smear=list(smears), row=range(self._rows, self._rows + len(predictions)))
        self._rows += len(table)
        unread = table[table["class"] == ""]
        if len(unread) and not self.first_unreadable:
            self.first_unreadable = f"{unread['image'].iloc[0]}: {unread['why'].iloc[0]}"
        for smear, part in table.groupby("smear", sort=False):
            name = str(smear)
            for counted, rows in (
                (self.counts, part),
                (self.needs_review, part[part["needs_review"]]),
                (self.other, part[part["none_of_these"] > OPEN_SET_THRESHOLD]),
            ):
                found = rows["class"].value_counts().reindex(self.classes, fill_value=0).to_numpy(np.int64)
                counted[name] = counted.get(name, np.zeros(len(self.classes), np.int64)) + found
            unlike = part["why"].str.contains(UNLIKE, regex=False) & (part["class"] != "")
            self.unlike[name] = self.unlike.get(name, 0) + int(unlike.sum())
            self.unreadable[name] = self.unreadable.get(name, 0) + int((part["class"] == "").sum())
        if self._shown:
            readable = table.loc[table["class"] != "", _KEPT]
            both = pd.concat([self._kept, readable]) if len(self._kept) else readable
            self._kept = _in_order(both).groupby(["smear", "class"], sort=False).head(self._shown)

    @property
    def images(self) -> int:
        """Rows that were added."""
        return self._rows

    @property
    def all_unreadable(self) -> int:
        """Images that could not be read, in all smears."""
        return sum(self.unreadable.values())

    @property
    def review_share(self) -> float:
        """Share of the images that need review, unreadable ones included; 0 to 1."""
        return (sum(int(each.sum()) for each in self.needs_review.values()) + self.all_unreadable) / max(1, self._rows)

    @property
    def all_other(self) -> int:
        """Cells that are like none of the classes, in all smears."""
        return sum(int(each.sum()) for each in self.other.values())

    def withheld(self, smear: str | None = None) -> str:
        """Why no shares are shown of a smear, or of all together: most cells are unlike the known ones; else ''."""
        unlike = sum(self.unlike.values()) if smear is None else self.unlike[smear]
        cells = int((self.total() if smear is None else self.counts[smear]).sum())
        return f"{unlike} of {cells} cells are {UNLIKE}" if unlike > MOST_UNLIKE * cells else ""

    def total(self) -> NDArray[np.int64]:
        """[C], cells called by each class in all smears."""
        return sum(self.counts.values(), np.zeros(len(self.classes), np.int64))

    def to_review(self, smear: str, label: str) -> list[tuple[int, float, bool]]:
        """(row, probability, needs review) of some cells: those that need review first, the least confident first."""
        chosen = self._kept[(self._kept["smear"] == smear) & (self._kept["class"] == label)]
        columns = (chosen[name] for name in ("row", "probability", "needs_review"))
        return [(int(row), float(sure), bool(doubt)) for row, sure, doubt in zip(*columns, strict=True)]


def tallied(classes: Sequence[str], tables: Iterable[pd.DataFrame], smears: Sequence[str], shown: int = 0) -> Tally:
    """Add up tables whose rows, one after the other, are those of `smears`; see `Tally` for the rest.

    Raises:
        ValueError: there are more or fewer rows than smears.
    """
    tally = Tally(classes, shown)
    for table in tables:
        own = smears[tally.images : tally.images + len(table)]
        if len(own) < len(table):
            raise ValueError(f"more predictions than the {len(smears)} images")
        tally.add(table, own)
    if tally.images != len(smears):
        raise ValueError(f"{tally.images} predictions for {len(smears)} images")
    return tally


def first_to_review(tables: Iterable[pd.DataFrame], most: int) -> pd.DataFrame:
    """The predictions to review first: those that need review, the least confident first.

    Args:
        tables: N rows, one after the other, as `hemacell.prediction.output.read_output` gives them.
        most: how many, at most; no more than these and one table are held.

    Returns:
        Their rows in that order, with index 0..M-1 and their number among all as `row`; images that could not be read
        are left out.
    """
    kept: list[pd.DataFrame] = []
    seen = 0
    for table in tables:
        rows = table.assign(row=range(seen, seen + len(table)))
        seen += len(table)
        kept = [_in_order(pd.concat([*kept, rows[rows["class"] != ""]])).head(most)]
    if not kept:
        raise ValueError("expected one table or more")
    return kept[0].reset_index(drop=True)


def _in_order(cells: pd.DataFrame) -> pd.DataFrame:
    return cells.sort_values(["needs_review", "probability", "row"], ascending=[False, True, True])
