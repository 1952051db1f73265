"""Calibration on validation images: one temperature for the logits."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from hemacell.evaluation.checks import MIN_PROBABILITY, checked_labels

TEMPERATURE_RANGE = (0.1, 10.0)  # times the usual one
PRIOR_SIGMA = float(np.log(2))  # of log T: a factor of two either way is one standard deviation


def fit_temperature(logits: ArrayLike, labels: ArrayLike, usual: float = 1.0) -> float:
    """The most probable temperature T of softmax(logits / T), given labelled images (Guo et al. 2017).

    log T has a normal prior around the usual temperature, with a standard deviation of log 2: few images move the
    temperature little, however well they fit, and a few hundred overrule the prior. Where every prediction is right,
    the likelihood alone would grow for ever smaller temperatures. The search is bounded: 0.1 to 10 times the usual
    temperature.

    Args:
        logits: float [N, C], of images that were not trained on.
        labels: int [N].
        usual: center of the prior; 1 for the logits of a network that was trained by cross-entropy.

    Returns:
        T > 0; above 1 where the logits were too confident.

    Raises:
        ValueError: shapes that do not fit, or logits that are not finite.
    """
    z = np.asarray(logits, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] < 2 or not np.isfinite(z).all():
        raise ValueError(f"finite logits of shape [N, C] expected, got shape {z.shape}")
    y = checked_labels(labels, z.shape[1])
    if len(y) != len(z):
        raise ValueError(f"one label for each row of logits expected, got {len(y)} and {len(z)}")
    rows = np.arange(len(y))
    center = float(np.log(usual))

    def objective(log_t: float) -> float:
        nll = -log_softmax(z / np.exp(log_t), axis=1)[rows, y].sum()
        return float(nll + ((log_t - center) / PRIOR_SIGMA) ** 2 / 2)

    bounds = tuple(np.log(usual * np.array(TEMPERATURE_RANGE)))
    found = minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def log_probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    """What a temperature is fitted on and applied to: float64 [N, C], finite."""
    return np.log(np.clip(np.asarray(probabilities, dtype=np.float64), MIN_PROBABILITY, None))


def apply_temperature(probabilities: ArrayLike, temperature: float) -> NDArray[np.float32]:
    """Probabilities p^(1/T), normalised (Guo et al. 2017): float32 [N, C].

    Raises:
        ValueError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    return softmax(log_probabilities(probabilities) / temperature, axis=1).astype(np.float32)
