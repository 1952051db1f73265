"""Calibration on validation images: one temperature for the logits, one threshold below which a person looks again."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from hemacell.evaluation.checks import checked_labels, checked_probabilities

TEMPERATURE_RANGE = (0.1, 10.0)
ALWAYS_REVIEW = 2.0  # above every probability, in any floating-point type


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature T that minimises the negative log-likelihood of softmax(logits / T) (Guo et al. 2017).

    The likelihood is convex in 1/T, so that a bounded search over log T finds the one minimum. T is kept within
    0.1..10: where every answer is right, ever smaller temperatures would fit ever better, and where the
    logits say nothing, ever larger ones.

    Args:
        logits: float [N, C], of images that were not trained on.
        labels: int [N].

    Returns:
        T > 0; above 1 where the logits were too sure.

    Raises:
        ValueError: shapes that do not fit, or logits that are not finite.
    """
    z = np.asarray(logits, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] < 2 or not np.isfinite(z).all():
        raise ValueError(f"finite logits of shape [N, C] expected, got shape {z.shape}")
    y = checked_labels(labels, z.shape[1])
    if len(y) != len(z):
        raise ValueError(f"one label a row of logits expected, got {len(y)} and {len(z)}")
    rows = np.arange(len(y))

    def nll(log_t: float) -> float:
        return float(-log_softmax(z / np.exp(log_t), axis=1)[rows, y].mean())

    found = minimize_scalar(nll, bounds=tuple(np.log(TEMPERATURE_RANGE)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def apply_temperature(logits: ArrayLike, temperature: float) -> NDArray[np.float32]:
    """softmax(logits / temperature), float32 [N, C]. Raises ValueError where the temperature is not above 0."""
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    return softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1).astype(np.float32)


def review_threshold(probabilities: ArrayLike, labels: ArrayLike, error: float = 0.01) -> float:
    """The lowest confidence at which answers can be accepted without a person looking at them.

    An answer is accepted where its probability is at or above the threshold. The result is 0 where all answers
    may be accepted; else the smallest probability t among the given answers such that at most a share `error` of those
    at or above t is wrong (selective classification, Geifman and El-Yaniv 2017, without their confidence bound: the
    promise holds for the images given here and, in the mean, for others like them); `ALWAYS_REVIEW` where there is
    no such t.

    Args:
        probabilities: float [N, C], calibrated.
        labels: int [N].
        error: largest tolerated share of wrong answers among the accepted, 0 <= error < 1.

    Raises:
        ValueError: an error outside 0..1, or labels or probabilities that are none.
    """
    if not 0 <= error < 1:
        raise ValueError(f"error must be at least 0 and below 1, got {error}")
    y, p = checked_probabilities(labels, probabilities)
    # as the caller sees them, not rescaled: the threshold is compared with these very numbers
    confidence = np.asarray(probabilities).max(1)
    wrong = p.argmax(1) != y
    if wrong.mean() <= error:
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    errors = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    # equal confidences are accepted together: only the last of them is a possible cut
    last_of_ties = np.append(np.diff(confidence[order]) != 0, True)
    allowed = np.flatnonzero(last_of_ties & (errors <= error))
    return float(confidence[order][allowed[-1]]) if len(allowed) else ALWAYS_REVIEW
