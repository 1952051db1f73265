"""Shares of classes among images without labels, by a classifier that was trained with other shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ITERATIONS = 1000
_STILL = 1e-8  # change of every share at which the iteration ends


def class_shares(probabilities: ArrayLike, trained: ArrayLike | None = None) -> NDArray[np.float64]:
    """Maximum likelihood of the shares, by expectation maximisation (Saerens, Latinne and Decaestecker 2002).

    For counts only: predictions that are corrected by these shares have a lower macro-F1 where the shares are off.

    Args:
        probabilities: float [N, C], calibrated, N > 0.
        trained: [C], the shares of the classes in training; None for equal ones.

    Returns:
        float64 [C], which sum to 1.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    prior = np.full(given.shape[1], 1 / given.shape[1]) if trained is None else np.asarray(trained, dtype=np.float64)
    shares = prior
    for _ in range(_ITERATIONS):
        posterior = given * (shares / prior)
        posterior /= posterior.sum(1, keepdims=True)
        before, shares = shares, posterior.mean(0)
        if np.abs(shares - before).max() < _STILL:
            break
    return shares
