"""Label efficiency: how many times the labels the baseline needs to reach an arm's score.

The baseline's mean scores at its amounts of labels are joined by lines over the logarithm of the number of labels. What
counts is the first point, from few labels to many, that reaches the arm's score. Nothing is extrapolated to numbers of
labels that the baseline was not given.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemacell.evaluation.comparison.records import LabelEfficiency, Relation
from hemacell.evaluation.intervals import LEVEL


def labels_needed(labels: ArrayLike, curve: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """The number of labels at which a curve first reaches a score.

    Args:
        labels: float [A] > 0, strictly increasing.
        curve: scores [..., A] at these.
        target: scores [...].

    Returns:
        [...]; infinite where the curve never gets there, minus infinite where it starts above; NaN where a score is.
    """
    x = np.log(np.asarray(labels, dtype=np.float64))
    y, t = np.asarray(curve, dtype=np.float64), np.asarray(target, dtype=np.float64)[..., None]
    y, t = np.broadcast_arrays(y, t)
    reached = y >= t
    after = np.maximum(reached.argmax(-1), 1)[..., None]  # index of the first point that reaches it
    after = np.minimum(after, len(x) - 1)
    before = np.maximum(after - 1, 0)
    y0, y1 = (np.take_along_axis(y, i, -1)[..., 0] for i in (before, after))
    rise = y1 - y0
    share = np.divide(t[..., 0] - y0, rise, out=np.zeros_like(rise), where=rise > 0)
    share = share.clip(0, 1)  # what lies outside is replaced below
    found = np.exp(x[before[..., 0]] + share * (x[after[..., 0]] - x[before[..., 0]]))
    found = np.where(y[..., 0] > t[..., 0], -np.inf, found)
    found = np.where(y[..., 0] == t[..., 0], np.exp(x[0]), found)
    found = np.where(reached.any(-1), found, np.inf)
    return np.asarray(np.where(np.isnan(y).any(-1) | np.isnan(t[..., 0]), np.nan, found))


def label_efficiency_ratio(
    arm: str,
    baseline: str,
    amount: str,
    arm_labels: float,
    target: float,
    labels: ArrayLike,
    curve: ArrayLike,
    target_replicates: NDArray[np.float64],
    curve_replicates: NDArray[np.float64],
) -> LabelEfficiency:
    """An arm's score at one amount of labels, in labels of the baseline.

    Args:
        arm, baseline, amount: for the result.
        arm_labels: number of labels that the arm had, > 0.
        target: the arm's mean score.
        labels: float [A] > 0, strictly increasing: what the baseline had.
        curve: the baseline's mean scores [A].
        target_replicates, curve_replicates: the same on B resamples, [B] and [B, A].

    Returns:
        The ratio, with a percentile interval; without one where the baseline has a single amount. Limits are
        replicates themselves, never between two of them, since some may be known only as more or less than something.
    """
    x = np.asarray(labels, dtype=np.float64)

    def ratio(needed: float) -> tuple[float, Relation]:
        if np.isinf(needed):
            return (float(x[-1]) / arm_labels, ">") if needed > 0 else (float(x[0]) / arm_labels, "<")
        return needed / arm_labels, "="

    middle, relation = ratio(float(labels_needed(x, curve, target)))
    low, low_relation, high, high_relation = None, None, None, None
    replicates = labels_needed(x, curve_replicates, target_replicates)
    replicates = np.sort(replicates[~np.isnan(replicates)])
    if len(x) > 1 and len(replicates):
        last, tail = len(replicates) - 1, (1 - LEVEL) / 2
        low, low_relation = ratio(float(replicates[int(np.floor(tail * last))]))
        high, high_relation = ratio(float(replicates[int(np.ceil((1 - tail) * last))]))
    return LabelEfficiency(arm, baseline, amount, middle, relation, low, low_relation, high, high_relation)
