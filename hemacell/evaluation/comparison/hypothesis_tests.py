"""Is a difference more than chance? Permutation test, McNemar's test, Holm's correction, Student's t interval."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from hemacell.evaluation.groups import group_numbers
from hemacell.evaluation.intervals import LEVEL
from hemacell.evaluation.metrics import ConfusionCounts, macro_f1
from hemacell.evaluation.paired import sign_flip_p

_FLOATS_AT_ONCE = 8_000_000  # of one temporary array
_ROUNDING = 1e-12  # differences that are equal may differ by so much


def permutation_p(
    labels: NDArray[np.int64],
    arm: NDArray[np.int64],
    baseline: NDArray[np.int64],
    class_count: int,
    permutations: int = 5000,
    seed: int = 0,
    groups: Sequence[str] = (),
) -> float:
    """Two-sided p-value of the mean over draws of the difference in macro-F1, by flipping the arms of images.

    Under the null hypothesis it does not matter which arm made which prediction. The predictions of all draws for one
    image are flipped together, as are all images of a known group, since they are not independent: an image that is
    hard is hard in every draw (exchangeable blocks, Winkler et al. 2014, NeuroImage 92). The test is about the
    classifiers that were trained; the bootstrap covers the variation between draws.

    Equals `scipy.stats.permutation_test(permutation_type="samples")` of the size of the difference, several times
    as fast. p = (1 + count) / (1 + permutations), so that it is never 0 (Phipson and Smyth 2010).

    Args:
        labels: [N], indices of classes.
        arm, baseline: predictions [n draws, N].
        class_count: C.
        permutations, seed: number of random flips, and their seed.
        groups: N, patient or slide of each image; empty where they are not known.

    Returns:
        In (0, 1]; 1 where the arms never differ.
    """
    classes = np.arange(class_count)
    right = labels[:, None] == classes  # [N, C]
    support = right.sum(0)

    def tally(predictions: NDArray) -> NDArray[np.float32]:
        """Correct predictions and all predictions of each class: [N, n, 2, C]."""
        predicted = predictions.T[:, :, None] == classes
        return np.stack([predicted & right[:, None], predicted], axis=2).astype(np.float32)

    def difference(of_arm: NDArray, of_baseline: NDArray) -> NDArray[np.float64]:
        """Mean over draws, [...], from tallies [..., n, 2, C]."""
        a, b = (macro_f1(ConfusionCounts(t[..., 0, :], support, t[..., 1, :])).mean(-1) for t in (of_arm, of_baseline))
        return np.asarray(a - b)

    a, b = tally(arm), tally(baseline)
    differs = (arm != baseline).any(0)
    change = (b - a)[differs]  # to the arm's tally where an image is flipped; the baseline's: minus
    a, b = a.sum(0), b.sum(0)
    extreme = abs(difference(a, b)) - _ROUNDING
    if not len(change):
        return 1.0
    shape, change = change.shape[1:], _of_groups(change.reshape(len(change), -1), groups, differs)
    images = len(change)
    rng = np.random.default_rng([seed, 2])
    count, at_once = 0, max(1, _FLOATS_AT_ONCE // (images + change.shape[1]))
    for start in range(0, permutations, at_once):
        flipped = rng.integers(0, 2, (min(at_once, permutations - start), images), dtype=np.int8)
        changed = (flipped.astype(np.float32) @ change).reshape(-1, *shape)
        count += int((np.abs(difference(a + changed, b - changed)) >= extreme).sum())
    return (1 + count) / (1 + permutations)


def _of_groups(values: NDArray[np.float32], groups: Sequence[str], chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Sums over each group of the rows of the chosen images; the rows themselves where groups are not known."""
    if (numbers := group_numbers(groups)) is None:
        return values
    found, index = np.unique(numbers[chosen], return_inverse=True)
    sums = np.zeros((len(found), *values.shape[1:]), dtype=np.float32)
    np.add.at(sums, index, values)
    return sums


def mcnemar_p(
    labels: NDArray[np.int64], arm: NDArray[np.int64], baseline: NDArray[np.int64], groups: Sequence[str] = ()
) -> float:
    """p-value of McNemar's exact test (1947) that two classifiers are right equally often; arrays are [N].

    Where the groups of the images are known, of the same test over whole groups (`sign_flip_p`).
    """
    a, b = arm == labels, baseline == labels
    if (numbers := group_numbers(groups)) is not None:
        differences = np.bincount(numbers, weights=a.astype(float) - b)
        return sign_flip_p(np.rint(differences).astype(np.int64).tolist())
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    return min(1.0, float(mcnemar(table, exact=True).pvalue))


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """p-values corrected by Holm's step-down method (1979), in the same order."""
    return tuple(float(value) for value in multipletests(p, method="holm")[1]) if len(p) else ()


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % t interval of the mean of n values; None where there are fewer than two."""
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    if error == 0:
        return mean, mean
    low, high = stats.t.interval(LEVEL, len(values) - 1, loc=mean, scale=error)
    return float(low), float(high)
