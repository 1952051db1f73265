"""Predictions that are accepted without review, and how many of these are wrong (selective classification, Chow 1970;
Geifman and El-Yaniv 2017)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from hemacell.evaluation.checks import checked_probabilities
from hemacell.evaluation.groups import effective_images, group_numbers, intraclass_correlation
from hemacell.evaluation.intervals import LEVEL, binomial_limits

REVIEW_ALL = 2.0  # above every probability, in any floating-point type


class SelectivePrediction(NamedTuple):
    """How many predictions one threshold accepts, and how many of these are wrong."""

    images: int
    accepted: int
    wrong: int
    """of the accepted"""
    effective: float | None = None
    """how many independent images the accepted are worth; None where they are taken as independent"""

    @property
    def coverage(self) -> float:
        """Share of the images that are accepted."""
        return self.accepted / self.images

    @property
    def error(self) -> float:
        """Share of the accepted that is wrong; 0 without accepted images."""
        return self.wrong / self.accepted if self.accepted else 0.0

    @property
    def error_limits(self) -> tuple[float, float]:
        """The exact 95 % limits of that share; 0 and 1 without accepted images.

        Of images in groups, those of as many independent images as they are worth (Korn and Graubard 1998).
        """
        if not self.accepted:
            return 0.0, 1.0
        worth = 1.0 if self.effective is None else self.effective / self.accepted
        low, high = binomial_limits(self.wrong * worth, self.accepted * worth)
        return float(low), float(high)

    def metrics(self) -> dict[str, float]:
        """`accepted_share`, `accepted_error`, `accepted_error_low` and `accepted_error_high`."""
        low, high = self.error_limits
        return {
            "accepted_share": self.coverage,
            "accepted_error": self.error,
            "accepted_error_low": low,
            "accepted_error_high": high,
        }

    def in_words(self) -> str:
        """`0.6% of the 480 accepted of 514 cells are wrong [0.1%, 1.8%]`, the exact limits in brackets."""
        if not self.accepted:
            return f"no prediction was accepted (0 of {self.images} cells)"
        low, high = self.error_limits
        worth = "" if self.effective is None else f", worth {self.effective:.0f} independent ones"
        return (
            f"{self.error:.1%} of the {self.accepted} accepted of {self.images} cells are wrong "
            f"[{low:.1%}, {high:.1%}]{worth}"
        )


def accepted(
    labels: ArrayLike,
    probabilities: ArrayLike,
    threshold: float,
    is_ood: ArrayLike | None = None,
    groups: Sequence[str] = (),
) -> SelectivePrediction:
    """Count the predictions whose probability is at or above a threshold.

    Args:
        labels: int [N].
        probabilities: float [N, C].
        threshold: of the probability of the predicted class.
        is_ood: bool [N], images that are out of distribution and never accepted.
        groups: N, patient or slide of each image; empty where they are not known.
    """
    y, p = checked_probabilities(labels, probabilities)
    taken = np.asarray(probabilities).max(1) >= threshold
    if is_ood is not None:
        taken &= ~np.asarray(is_ood, dtype=bool)
    wrong, number = p.argmax(1) != y, int(taken.sum())
    effective = None
    if number and (numbers := group_numbers(groups)) is not None:
        squares = (np.bincount(numbers[taken]) ** 2).sum()
        effective = float(effective_images(number, squares, intraclass_correlation(wrong, numbers)))
    return SelectivePrediction(len(y), number, int(wrong[taken].sum()), effective)


def images_needed(target_risk: float) -> int:
    """How many accepted images without a mistake show that a risk is at most the target: 299 for 1 %.

    Args:
        target_risk: share of wrong predictions, 0 < target_risk < 1; shown with 95 % confidence, one-sided.
    """
    return math.ceil(math.log(1 - LEVEL) / math.log1p(-target_risk) - 1e-9)


def choose_confidence_threshold(
    probabilities: ArrayLike, labels: ArrayLike, target_risk: float = 0.01, groups: Sequence[str] = ()
) -> float:
    """The lowest confidence at which labelled images show that predictions can be accepted without review.

    A prediction is accepted where its probability is at or above the threshold. The result is 0 where all predictions
    can be accepted; else the smallest probability t among those given such that the exact one-sided 95 % limit
    (Clopper and Pearson 1934) of the share of wrong ones among those at or above t is at most `target_risk`;
    `REVIEW_ALL` where there is no such t, as with fewer than `images_needed` images. The limit holds for each threshold
    taken alone: that the best of many is chosen is not corrected for. Images of known groups count as fewer independent
    ones (`groups.effective_images`), the more the mistakes of a group go together among all the images; where there is
    no mistake, which says nothing of that, about as one for each group.

    Args:
        probabilities: float [N, C], calibrated.
        labels: int [N].
        target_risk: largest tolerated share of wrong predictions among the accepted, 0 < target_risk < 1.
        groups: N, patient or slide of each image; empty where they are not known.

    Raises:
        ValueError: a target outside 0..1, or labels or probabilities that are not valid.
    """
    if not 0 < target_risk < 1:
        raise ValueError(f"target_risk must be above 0 and below 1, got {target_risk}")
    cuts, counts, errors = _cuts(labels, probabilities)
    wrong = np.rint(errors * counts)
    right = np.maximum(counts - wrong, 1)
    if (numbers := group_numbers(groups)) is not None:
        share = _effective_counts(labels, probabilities, numbers) / counts
        wrong, right = wrong * share, right * share
    limits = np.where(errors < 1, beta.ppf(LEVEL, wrong + 1, right), 1.0)
    allowed = np.flatnonzero(limits <= target_risk)
    if not len(allowed):
        return REVIEW_ALL
    return 0.0 if allowed[-1] == len(cuts) - 1 else float(cuts[allowed[-1]])


class RiskCoverage(NamedTuple):
    """The share of wrong predictions among the most confident ones, for every possible threshold."""

    coverage: NDArray[np.float64]
    """[K], share of the images that is accepted, rising to 1"""
    risk: NDArray[np.float64]
    """[K], share of these that is wrong"""

    @property
    def area(self) -> float:
        """The mean risk over all coverages (AURC, Geifman et al. 2019): 0 is perfect, chance gives the error rate."""
        return float(np.sum(self.risk * np.diff(self.coverage, prepend=0.0)))


def risk_coverage(labels: ArrayLike, probabilities: ArrayLike) -> RiskCoverage:
    """The risk-coverage curve; images with equal probabilities are accepted together.

    Args:
        labels: int [N].
        probabilities: float [N, C].
    """
    _, counts, errors = _cuts(labels, probabilities)
    return RiskCoverage(counts / counts[-1], errors)


def effective_counts(labels: ArrayLike, probabilities: ArrayLike, groups: Sequence[str]) -> NDArray[np.float64]:
    """How many independent images each count of a risk-coverage curve is worth, [K]; arguments as in `accepted`."""
    numbers = group_numbers(groups)
    if numbers is None:
        return _cuts(labels, probabilities)[1].astype(np.float64)
    return _effective_counts(labels, probabilities, numbers)


def _effective_counts(labels: ArrayLike, probabilities: ArrayLike, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    y, p = checked_probabilities(labels, probabilities)
    counts = _cuts(labels, probabilities)[1]
    order = np.argsort(-np.asarray(probabilities).max(1), kind="stable")
    # how many of its group were accepted before it: with one more of c, the square grows by 2 c + 1
    before = pd.Series(numbers[order]).groupby(numbers[order]).cumcount().to_numpy()
    squares = np.cumsum(2 * before + 1)[counts - 1]
    return effective_images(counts, squares, intraclass_correlation(p.argmax(1) != y, numbers))


def _cuts(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.floating], NDArray[np.int64], NDArray[np.float64]]:
    """For every threshold from the highest down: threshold, number of accepted, share of wrong ones among them."""
    y, p = checked_probabilities(labels, probabilities)
    # not rescaled to sum to 1, as a threshold is compared with the given numbers
    confidence = np.asarray(probabilities).max(1)
    order = np.argsort(-confidence, kind="stable")
    counts = np.arange(1, len(order) + 1)
    errors = np.cumsum((p.argmax(1) != y)[order]) / counts
    # equal confidences are accepted together: only the last of them is a possible cut
    last_of_ties = np.append(np.diff(confidence[order]) != 0, True)
    return confidence[order][last_of_ties], counts[last_of_ties], errors[last_of_ties]
