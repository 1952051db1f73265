"""Draws of a few labelled cells of a laboratory: some of each class are labelled, and the others are the test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hemacell.evaluation.groups import group_numbers

#: Cells of a class from which on it is drawn from and scored.
LEAST = 4


class LabelDraw(NamedTuple):
    """Which cells are labelled, and which are scored: positions, sorted."""

    labelled: np.ndarray
    scored: np.ndarray
    """all others, but for those that share a group with a labelled one"""


def scored_classes(labels: np.ndarray) -> np.ndarray:
    """The classes of which there are `LEAST` cells or more, sorted."""
    present, counts = np.unique(labels, return_counts=True)
    return present[counts >= LEAST]


def draws_of_labels(labels: np.ndarray, groups: Sequence[str], amount: int, draws: int) -> Iterator[LabelDraw]:
    """Draw cells to label, at random.

    A group gives one cell of a class at most, and at most half of the groups of a class are taken, so that enough is
    left to be scored: rare classes have fewer labels than `amount`. Classes with fewer cells than `LEAST` are left out.

    Args:
        labels: int [N].
        groups: N, patient or slide of each cell; empty where they are not known.
        amount: labels of each class.
        draws: how often; the k-th draw is always the same.
    """
    numbers = group_numbers(groups)
    units = np.arange(len(labels)) if numbers is None else numbers
    known = scored_classes(labels)
    usable = np.isin(labels, known)
    for draw in range(draws):
        rng = np.random.default_rng([draw, amount])
        chosen = []
        for label in known:
            own = rng.permutation(np.flatnonzero(labels == label))
            _, first = np.unique(units[own], return_index=True)
            firsts = own[np.sort(first)]
            chosen.append(firsts[: min(amount, len(firsts) // 2)])
        labelled = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
        yield LabelDraw(labelled, np.flatnonzero(usable & ~np.isin(units, units[labelled])))
