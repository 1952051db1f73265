"""Decoded pictures of several arrays, read as one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class StackedPixels:
    """The pictures of a first array, then those of a second, without a copy of either."""

    first: np.ndarray
    """uint8 [N, H, W, 3]"""
    second: np.ndarray
    """uint8 [M, H, W, 3]"""

    @property
    def shape(self) -> tuple[int, ...]:
        """[N + M, H, W, 3]."""
        return (len(self.first) + len(self.second), *self.first.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Pictures by their positions, int64 [K]."""
        result = np.empty((len(rows), *self.first.shape[1:]), self.first.dtype)
        later = rows >= len(self.first)
        result[~later] = self.first[rows[~later]]
        result[later] = self.second[rows[later] - len(self.first)]
        return result


#: What trainings take pictures from.
Pixels = np.ndarray | StackedPixels
