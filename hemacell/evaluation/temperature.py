"""Calibration on validation images: one temperature for the logits."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from hemacell.evaluation.checks import checked_labels

TEMPERATURE_RANGE = (0.1, 10.0)


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
