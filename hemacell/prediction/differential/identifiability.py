"""Where a differential count cannot be known from a classifier's own test, and why, in words.

The called classes have the shares q = p P (see `shares`). Where P is singular some p + u with u P = 0 explain the
counts as well as p does: the classes of u cannot be told apart, and more cells do not help. P is estimated, so it is
called singular where its smallest singular values are no larger than their own error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components

from hemacell.prediction.differential.shares import Differential, rates_of

#: Test images of a class below which its errors are hardly known.
FEW_TEST = 30
_ERRORS = 3.0  # a singular value of so many standard errors may be 0
_EXACT = 1e-8  # and one as small as this is
_PART = 0.05  # of a class in what cannot be determined, from which on it is named


def unidentifiable_groups(confusion: ArrayLike) -> list[list[int]]:
    """Groups of classes whose shares the called ones do not determine.

    The error of a singular value u P v is that of a mean over the test images of each class (the delta method; Stewart
    and Sun 1990, Matrix Perturbation Theory, IV.1).

    Args:
        confusion: int [C, C], the classifier's test: rows true, columns called. A class without test images (an empty
            row) is taken to be called what it is.

    Returns:
        Groups of two or more indices; empty where every share is determined.
    """
    tested = np.asarray(confusion, dtype=np.int64)
    rates = rates_of(tested)
    left, values, right = np.linalg.svd(rates)
    spread = rates @ right.T**2 - (rates @ right.T) ** 2  # [C, C]: of what a cell of class i is called, along v
    error = np.sqrt((left**2 * np.maximum(spread, 0) / np.maximum(tested.sum(1), 1)[:, None]).sum(0))
    lost = left[:, values <= _ERRORS * error + _EXACT]
    shared = np.abs(lost @ lost.T) > _PART
    involved = np.flatnonzero(np.diag(shared))
    count, group = connected_components(shared[np.ix_(involved, involved)], directed=False)
    return [involved[group == number].tolist() for number in range(count)]


def notes(each: Differential, confusion: ArrayLike | None) -> list[str]:
    """Caveats of each class's share in one smear, C texts; '' where the limits suffice.

    Args:
        each: the count of the smear.
        confusion: int [C, C], the classifier's test; None where it is not known.
    """
    names = each.classes
    if not each.cells:
        return ["no cell could be read: any share is possible"] * len(names)
    if confusion is None:
        return ["not corrected: the classifier's own test is not known"] * len(names)
    tested = np.asarray(confusion, dtype=np.int64)
    found = [_of_class(tested, i) for i in range(len(names))]
    for group in unidentifiable_groups(tested):
        for i in group:
            others = ", ".join(names[j] for j in group if j != i)
            found[i].append(f"the classifier's own test does not tell it from {others}: its share cannot be known")
    return ["; ".join(texts) for texts in found]


def doubts(classes: Sequence[str], confusion: ArrayLike) -> list[str]:
    """Caveats for all smears of a classifier, a sentence each; empty where its test tells the classes apart well.

    Args:
        classes: C names.
        confusion: int [C, C], the classifier's test.
    """
    tested = np.asarray(confusion, dtype=np.int64)
    sizes, right = tested.sum(1), np.diag(tested)
    lines = []
    if without := [name for name, count in zip(classes, sizes, strict=True) if count == 0]:
        lines.append(f"Its test had no image of {', '.join(without)}: the errors on these are not corrected.")
    if few := [f"{name} ({count})" for name, count in zip(classes, sizes, strict=True) if 0 < count < FEW_TEST]:
        lines.append(f"Its test had fewer than {FEW_TEST} images of {', '.join(few)}: the errors on these are rough.")
    if never := [name for name, count, good in zip(classes, sizes, right, strict=True) if count and not good]:
        lines.append(f"In its test it never recognised {', '.join(never)}.")
    for group in unidentifiable_groups(tested):
        lines.append(
            f"Its test does not tell {', '.join(classes[i] for i in group)} apart, within its error: other shares of "
            "these would have given the same counts. Their corrected shares cannot be known; count these cells by eye."
        )
    return lines


def _of_class(tested: NDArray[np.int64], i: int) -> list[str]:
    size = int(tested[i].sum())
    if not size:
        return ["no test image of this class: its errors are not corrected"]
    texts = [f"only {size} test image{'' if size == 1 else 's'} of this class"] if size < FEW_TEST else []
    return texts + ([] if tested[i, i] else ["never recognised in the classifier's own test"])
