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

    A group gives one cell of a class at most, and at most half of the groups of each class are taken, by whichever
    class, so that enough is left to be scored: rare classes have fewer labels than `amount`, or none. Classes with
    fewer cells than `LEAST` are left out.

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
    has = np.zeros((units.max() + 1, len(known)), bool)  # which groups have which classes
    has[units[usable], np.searchsorted(known, labels[usable])] = True
    most = has.sum(0) // 2
    for draw in range(draws):
        rng = np.random.default_rng([draw, amount])
        taken = np.zeros(len(has), bool)
        labelled: list[int] = []
        for label in known:
            seen: set[int] = set()
            for cell in rng.permutation(np.flatnonzero(labels == label)):
                unit = int(units[cell])
                if len(seen) == amount:
                    break
                if unit in seen or not (taken[unit] or (has[taken].sum(0) + has[unit] <= most)[has[unit]].all()):
                    continue
                taken[unit] = True
                seen.add(unit)
                labelled.append(int(cell))
        yield LabelDraw(np.array(sorted(labelled), np.int64), np.flatnonzero(usable & ~taken[units]))
