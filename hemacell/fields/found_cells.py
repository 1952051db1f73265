"""What was found in many fields, kept compactly: a slide has thousands of cells, a laboratory hundreds of slides."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemacell.fields.finder import FoundCell
from hemacell.fields.reasons import NO_WHITE_CELL, REASONS

_WHYS = ("", *REASONS)
_DIGITS = 2  # of places, in pixels
_SCORE_DIGITS = 4


@dataclass(frozen=True)
class SearchedField:
    """One field, and what was found in it."""

    cells: Sequence[FoundCell]
    """as `find_cells` gives them"""
    reason: str = ""
    """why it cannot be read; '' for one that was searched"""

    def to_json(self) -> str:
        """One line of text."""
        cells = [
            [
                *(round(value, _DIGITS) for value in (*cell.box, *cell.center)),
                round(cell.score, _SCORE_DIGITS),
                cell.why,
            ]
            for cell in self.cells
        ]
        return json.dumps({"cells": cells, "reason": self.reason})

    @classmethod
    def from_json(cls, text: str) -> SearchedField:
        """What `to_json` wrote. Raises ValueError (also as KeyError or TypeError) for other text."""
        read = json.loads(text)
        cells = [FoundCell((a, b, c, d), (x, y), score, why) for a, b, c, d, x, y, score, why in read["cells"]]
        return cls(cells, read["reason"])


@dataclass(frozen=True, eq=False)
class FoundCells:
    """M things found in K fields, field after field, in each the best score first."""

    fields: NDArray[np.int64]
    """[M], the number of the field that each was found in"""
    boxes: NDArray[np.float64]
    """[M, 4], x0, y0, x1, y1 in pixels of the field"""
    centers: NDArray[np.float64]
    """[M, 2], x, y of the middle of the nucleus"""
    scores: NDArray[np.float64]
    """[M], see `FoundCell.score`"""
    reasons: Sequence[str]
    """K reasons why a field cannot be read; '' for those that were searched"""
    kinds: NDArray[np.int8]
    """[M], the number of its reason; 0 for a usual cell"""

    @classmethod
    def of(cls, searched: Sequence[SearchedField]) -> FoundCells:
        """Of K fields, in order."""
        cells = [(number, cell) for number, field in enumerate(searched) for cell in field.cells]
        return cls(
            np.array([number for number, _ in cells], np.int64),
            np.array([cell.box for _, cell in cells], np.float64).reshape(-1, 4),
            np.array([cell.center for _, cell in cells], np.float64).reshape(-1, 2),
            np.array([cell.score for _, cell in cells], np.float64),
            [field.reason for field in searched],
            np.array([_WHYS.index(cell.why) for _, cell in cells], np.int8),
        )

    def why(self, number: int) -> str:
        """One of `reasons.REASONS`, or ''."""
        return _WHYS[self.kinds[number]]

    @property
    def is_white_cell(self) -> NDArray[np.bool_]:
        """[M], whether each counts as a white cell."""
        return ~np.isin(self.kinds, [_WHYS.index(why) for why in NO_WHITE_CELL])

    def cells_of_fields(self) -> NDArray[np.int64]:
        """[K], how many white cells each field has."""
        return np.bincount(self.fields[self.is_white_cell], minlength=len(self.reasons))

    def counted(self) -> Counter[str]:
        """How many there are of each reason, in the order of `reasons.REASONS`; usual cells are not among them."""
        counts = np.bincount(self.kinds, minlength=len(_WHYS))
        return Counter({why: int(count) for why, count in zip(_WHYS, counts, strict=True) if why and count})

    def of_field(self, field: int) -> Iterator[int]:
        """The numbers of what was found in a field."""
        start, end = np.searchsorted(self.fields, [field, field + 1])
        return iter(range(int(start), int(end)))
