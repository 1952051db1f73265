"""Cells of one split: their rows in the decoded pixels, their labels, their embeddings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hemacell.data.decoding import Decoded
from hemacell.data.manifest import Manifest
from hemacell.encoders.embeddings import StoredViews, embed
from hemacell.encoders.frozen import FrozenEncoder


@dataclass(frozen=True, eq=False)
class CellImages:
    """Cells of one split: which rows of the decoded pixels, what they are, and their embeddings."""

    rows: np.ndarray
    """int64 [N]"""
    labels: np.ndarray
    """int64 [N]"""
    embeddings: Sequence[np.ndarray]
    """for each encoder float32 [N, views, width]"""

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, positions: np.ndarray) -> "CellImages":
        """Some of the cells, int64 positions; a cell may come more than once."""
        if np.array_equal(positions, np.arange(len(self))):
            return self
        return CellImages(self.rows[positions], self.labels[positions], [each[positions] for each in self.embeddings])


def cell_images(
    cells: Decoded,
    part: Manifest,
    encoders: Sequence[FrozenEncoder],
    views: StoredViews,
    cache: Path,
    precision: str,
    progress: Callable[[str], Callable[[int, int], None]] | None = None,
) -> CellImages:
    """The cells of one split with their embeddings, which are computed where they are not stored yet.

    Args:
        cells: decoded images that hold those of `part`.
        part: the cells wanted.
        encoders: the frozen encoders.
        views: which views are embedded.
        cache, precision: see `embed`.
        progress: called with what is embedded; gives what `embed` reports to.
    """
    rows, digests = cells.rows(part), list(part.table["sha256"])
    embeddings = [
        embed(
            encoder,
            cells.array,
            rows,
            digests,
            views,
            cache,
            precision,
            progress(part.name) if progress else None,
            cells.recipe,
        )
        for encoder in encoders
    ]
    return CellImages(rows, part.labels, embeddings)
