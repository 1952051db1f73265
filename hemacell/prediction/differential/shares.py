"""The differential count of a smear: shares of the classes, their limits, and what the classifier's errors do to them.

A classifier that is wrong in a few per cent shifts the shares, and those of rare classes most: of 100 neutrophils two
called eosinophils double a share of 2 %. Its errors are known from its own test images: row i of the confusion counts
says what cells of class i are called. With P[i, j] the chance that a cell of class i is called j, the called classes
have the shares q = p P, where p are the true ones. Given counts, p is estimated by maximum likelihood on the simplex
(no share below 0, all together 1); inverting P alone would give negative ones (Tenenbein 1970, J. Am. Stat. Assoc. 65;
Hopkins and King 2010, Am. J. Political Science 54). Shares enter q linearly, so the likelihood is concave, and where
q P^-1 lies in the simplex it is the maximum; elsewhere expectation-maximisation climbs to it.

The correction assumes that a cell of a given class is called what such a cell was called in the test: the same stain,
scanner and crop.

Cells that are like none of the classes are counted by themselves, as "other / not classified": shares of the classes
are among the rest, and beside them among all. A part of the known cells is called other too, and not all cells of other
kinds are: the share of other cells is what was called so, not what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemacell.evaluation.intervals import LEVEL, Floats, binomial_limits
from hemacell.prediction.summary import Tally

RESAMPLES = 2000
_PRIOR = 0.5  # Jeffreys' for a class against the rest: a count of 0 leaves room for a small share
_STEPS, _STILL = 5000, 1e-10  # of expectation-maximisation: at most; the change of a share that ends it
_ROUGH_STEPS, _ROUGH_STILL = 300, 1e-6  # for the resamples, of which only percentiles are taken
_FLOOR = 1e-3  # smallest share to start from: 0 would stay 0


@dataclass(frozen=True)
class Limits:
    """C shares with their limits, all in 0..1; NaN without cells."""

    share: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Differential:
    """The differential count of one smear."""

    smear: str
    classes: tuple[str, ...]
    counts: NDArray[np.int64]
    """[C], cells called by each class"""
    needs_review: NDArray[np.int64]
    """[C], how many of them need review"""
    unreadable: int
    raw: Limits
    """as counted, with exact binomial limits"""
    corrected: Limits | None
    """for the classifier's errors; None where these are unknown"""
    other: NDArray[np.int64] | None = None
    """[C], cells that are like none of the classes, by the nearest one; not in `counts`. None where none is told"""
    of_all: Limits | None = None
    """[C + 1], shares of all readable cells, the last that of `other`; corrected where the errors are known"""
    withheld: str = ""
    """why its shares are not shown, and are NaN; '' where they are"""

    @property
    def others(self) -> int:
        """Cells that are like none of the classes."""
        return 0 if self.other is None else int(self.other.sum())

    @property
    def cells(self) -> int:
        """Readable images."""
        return int(self.counts.sum()) + self.others


def differential(
    smear: str,
    classes: Sequence[str],
    counts: ArrayLike,
    needs_review: ArrayLike,
    unreadable: int,
    confusion: ArrayLike | None,
    *,
    other: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Differential:
    """Count one smear.

    Args:
        smear: its name.
        classes: C names.
        counts: int [C], cells called by each class, those of `other` included.
        needs_review: int [C], how many of these.
        unreadable: images that could not be read.
        confusion: int [C, C], the classifier's test: rows true, columns called; None leaves the correction out.
        other: int [C], how many of the called cells are like none of the classes; None where the classifier cannot
            tell.
        seed: of the bootstrap.
        resamples: of the bootstrap, 200 or more.

    Examples:
        >>> count = differential("smear 1", ["Lymphocyte", "Neutrophil"], [38, 62], [1, 2], 0, [[98, 2], [1, 99]])
        >>> count.raw.share.tolist(), count.corrected.share.round(3).tolist()
        ([0.38, 0.62], [0.381, 0.619])
    """
    found = None if other is None else _counts(other)
    called = _counts(counts) - (0 if found is None else found)
    review = np.asarray(needs_review, dtype=np.int64) - (0 if found is None else found)  # all of these need it
    bootstrap = {"seed": seed, "resamples": resamples}
    return Differential(
        smear=smear,
        classes=tuple(classes),
        counts=called,
        needs_review=review,
        unreadable=unreadable,
        raw=raw_shares(called),
        corrected=None if confusion is None else corrected_shares(called, confusion, **bootstrap),
        other=found,
        of_all=None if found is None else _shares_of_all(np.append(called, found.sum()), confusion, **bootstrap),
    )


def differentials(
    tally: Tally,
    confusion: ArrayLike | None,
    *,
    tells_other: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Differential]:
    """Count every smear of a tally; see `differential` for the rest.

    `tells_other`: whether the classifier can tell cells that are like none of its classes.
    """
    counted = [
        differential(
            smear,
            tally.classes,
            tally.counts[smear],
            tally.needs_review[smear],
            tally.unreadable[smear],
            confusion,
            other=tally.other[smear] if tells_other else None,
            seed=seed,
            resamples=resamples,
        )
        for smear in tally.counts
    ]
    return [_withheld(each, tally.withheld(each.smear)) for each in counted]


def _withheld(each: Differential, reason: str) -> Differential:
    """The counts without their shares, where there is a reason."""
    if not reason:
        return each
    nothing, of_all = _nothing(len(each.classes)), _nothing(len(each.classes) + 1)
    corrected = each.corrected and nothing
    return replace(each, raw=nothing, corrected=corrected, of_all=each.of_all and of_all, withheld=reason)


def _shares_of_all(called: NDArray[np.int64], confusion: ArrayLike | None, **bootstrap: int) -> Limits:
    """Shares of C classes and of what is called none of them, [C + 1], which is taken to be called so correctly."""
    if confusion is None:
        return raw_shares(called)
    return corrected_shares(called, np.pad(np.asarray(confusion), (0, 1)), **bootstrap)


def raw_shares(counts: ArrayLike) -> Limits:
    """Shares as counted, with the exact binomial limits of each (Clopper and Pearson 1934, Biometrika 26).

    Args:
        counts: int [C].
    """
    called = _counts(counts)
    total = int(called.sum())
    if total == 0:
        return _nothing(len(called))
    low, high = binomial_limits(called, total)
    return Limits(called / total, low, high)


def corrected_shares(counts: ArrayLike, confusion: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> Limits:
    """Shares corrected for the classifier's errors, with limits for the chance in both counts.

    The limits are percentiles of a bootstrap that draws the called shares and each row of the confusion matrix from
    Dirichlet distributions around their counts (a Bayesian bootstrap, Rubin 1981, Annals of Statistics 9) and solves
    again: with plain resampling a count of 0 would stay 0, and a test without errors would count as proof of none.

    Args:
        counts: int [C], cells called by each class.
        confusion: int [C, C], rows true, columns called. A class without test images (an empty row) is taken to be
            always called correctly.
        seed: the same one gives the same limits.
        resamples: of the bootstrap, 1 or more.

    Raises:
        ValueError: shapes that do not fit, or negative counts.
    """
    called, tested = _counts(counts), _counts(confusion)
    c = len(called)
    if tested.shape != (c, c):
        raise ValueError(f"{c} counts need a confusion matrix [{c}, {c}], got {list(tested.shape)}")
    total = called.sum()
    if total == 0:
        return _nothing(c)
    estimate = most_likely((called / total)[None], rates_of(tested)[None])[0]

    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(called + _PRIOR * 2 / c, resamples)
    rates = np.stack(
        [
            rng.dirichlet(row + _PRIOR * 2 / c, resamples) if row.sum() else np.tile(np.eye(c)[i], (resamples, 1))
            for i, row in enumerate(tested)
        ],
        axis=1,
    )
    drawn = most_likely(shares, rates, _ROUGH_STEPS, _ROUGH_STILL)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return Limits(estimate, np.minimum(low, estimate), np.maximum(high, estimate))


def most_likely(called: Floats, rates: Floats, steps: int = _STEPS, still: float = _STILL) -> Floats:
    """The shares under which the called ones are most likely, for B problems at once.

    Args:
        called: [B, C], shares of the called classes, sum 1.
        rates: [B, C, C], P[i, j]: the chance that a cell of class i is called j; rows sum to 1.
        steps, still: of expectation-maximisation: how many at most, and the change that ends it.

    Returns:
        [B, C], no share below 0, sum 1.
    """
    found = _inverted(called, rates)
    outside = ~(np.isfinite(found).all(1) & (found >= 0).all(1))
    if outside.any():
        start = np.where(np.isfinite(found[outside]), found[outside], 1 / found.shape[1])
        found[outside] = _climbed(np.maximum(start, _FLOOR), called[outside], rates[outside], steps, still)
    return found / found.sum(1, keepdims=True)


def _inverted(called: Floats, rates: Floats) -> Floats:
    """q P^-1, NaN where P cannot be inverted reliably, as where a class is never called."""
    found = np.full_like(called, np.nan)
    good = np.linalg.cond(rates) < 1e8
    if good.any():
        found[good] = np.linalg.solve(np.swapaxes(rates[good], 1, 2), called[good][..., None])[..., 0]
    return found


def _climbed(start: Floats, called: Floats, rates: Floats, steps: int, still: float) -> Floats:
    """Expectation-maximisation: each step raises the likelihood, and none leaves the simplex."""
    shares = start / start.sum(1, keepdims=True)
    moving = np.arange(len(shares))
    for _ in range(steps):
        p, q, r = shares[moving], called[moving], rates[moving]
        expected = (p[:, None, :] @ r)[:, 0]
        # A called class that the test never called says nothing about the shares.
        ratio = np.divide(q, expected, out=np.zeros_like(q), where=expected > 0)
        new = p * (r @ ratio[..., None])[..., 0]
        total = new.sum(1, keepdims=True)
        new = np.where(total > 0, new / np.where(total > 0, total, 1), p)
        shares[moving] = new
        moving = moving[np.abs(new - p).max(1) > still]
        if not len(moving):
            break
    return shares


def rates_of(tested: NDArray[np.int64]) -> Floats:
    """Chances [C, C] that a cell of class i is called j, from counts of a test; an empty row is taken to be right."""
    sums = tested.sum(1, keepdims=True)
    return np.where(sums > 0, tested / np.maximum(sums, 1), np.eye(len(tested)))


def _counts(values: ArrayLike) -> NDArray[np.int64]:
    counts = np.asarray(values)
    if (counts < 0).any() or not np.array_equal(counts, counts.astype(np.int64)):
        raise ValueError("counts are whole numbers from 0 on")
    return counts.astype(np.int64)


def _nothing(classes: int) -> Limits:
    """No cells: any share is possible."""
    return Limits(np.full(classes, np.nan), np.zeros(classes), np.ones(classes))
