"""Exact limits of a share that was counted."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95

Floats = NDArray[np.float64]


def binomial_limits(counts: ArrayLike, total: ArrayLike) -> tuple[Floats, Floats]:
    """The exact two-sided 95 % limits of shares (Clopper and Pearson 1934, Biometrika 26).

    Args:
        counts: of any shape, 0 to `total`; whole numbers, or parts of them for images that are worth less than one.
        total: of what each is a share, above 0; one for all, or of the same shape.

    Returns:
        Lower and upper limits in 0..1, of the shape of `counts`.

    Examples:
        >>> low, high = binomial_limits(0, 60)  # no mistake among 60 cells
        >>> f"{low:.1%} to {high:.1%}"
        '0.0% to 6.0%'
    """
    from statsmodels.stats.proportion import proportion_confint

    found = np.asarray(counts)
    low, high = proportion_confint(found, total, alpha=1 - LEVEL, method="beta")
    # the limits of 0 and of all, which some versions give as NaN
    return np.where(found == 0, 0.0, low), np.where(found == total, 1.0, high)
