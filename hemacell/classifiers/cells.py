"""Cells of one split: their rows in the decoded pixels, their labels, their embeddings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hemacell.classifiers.site_statistics import class_statistics
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
    laboratories: np.ndarray | None = None
    """int64 [N], 0 for the laboratory itself, from 1 on for synthetic ones; left out where all cells are its own. All
    views of a cell in a synthetic laboratory are one picture; every other one has embeddings that are brought to the
    laboratory itself"""

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, positions: np.ndarray) -> "CellImages":
        """Some of the cells, int64 positions; a cell may come more than once."""
        if np.array_equal(positions, np.arange(len(self))):
            return self
        laboratories = None if self.laboratories is None else self.laboratories[positions]
        embeddings = [each[positions] for each in self.embeddings]
        return CellImages(self.rows[positions], self.labels[positions], embeddings, laboratories)

    @property
    def own(self) -> np.ndarray:
        """bool [N], which cells are of the laboratory itself."""
        return np.ones(len(self), bool) if self.laboratories is None else self.laboratories == 0


def with_laboratories(
    cells: CellImages, labels: np.ndarray, laboratories: np.ndarray, embeddings: Sequence[np.ndarray], offset: int
) -> CellImages:
    """Training cells, followed by cells in synthetic laboratories.

    A classifier meets another laboratory in two ways: with embeddings that are standardised by that laboratory's own
    statistics, where these are known, or by those of the training. It learns from both.

    Args:
        cells: N cells.
        labels: int64 [M], of the others.
        laboratories: int64 [M], their laboratories, from 0.
        embeddings: of the others, for each encoder float32 [M, width].
        offset: where the rows of the others begin in the pixels.
    """
    joined = []
    for own, other in zip(cells.embeddings, embeddings, strict=True):
        known = class_statistics(own, cells.labels)
        both = np.repeat(other[:, None], own.shape[1], 1)
        for number in np.unique(laboratories):
            part = laboratories == number
            found = class_statistics(other[part, None], labels[part]).shrunk(known)
            both[part, ::2] = found.bring(both[part, ::2], known)
        joined.append(np.concatenate([own, both]))
    return CellImages(
        np.concatenate([cells.rows, offset + np.arange(len(labels))]),
        np.concatenate([cells.labels, labels]),
        joined,
        np.concatenate([np.zeros(len(cells), np.int64), 1 + laboratories]),
    )


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
