"""Mean and deviation of a laboratory's embeddings, by which those of another laboratory are brought to its own.

An embedding differs between laboratories by stain and optics more than between cells, and mostly by a shift and a scale
of its numbers. A classifier standardises with the statistics of its training laboratory; on another one's images, with
that one's own, for which no labels are needed (Li et al. 2017, adaptive batch normalisation). Those of few images are
shrunk towards the training laboratory's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_MEAN_IMAGES, _STD_IMAGES = 1, 8  # that the training laboratory's means and variances count for
_LEAST_SHARE = 0.04  # of a class that is brought to an equal one
_LEAST = 1e-4  # of a standard deviation


class SiteStatistics(NamedTuple):
    """Of one encoder's embeddings of one laboratory's images."""

    mean: Floats
    """[width]"""
    std: Floats
    """[width]"""
    images: int

    def shrunk(self, to: SiteStatistics) -> SiteStatistics:
        """Between these and those of another laboratory: the fewer the images, the nearer to the others.

        The mean counts with n / (n + 1), the variance with n / (n + 8): laboratories differ more in the one, and few
        images tell less of the other.
        """
        mean = self.images / (self.images + _MEAN_IMAGES)
        own = self.images / (self.images + _STD_IMAGES)
        variance = own * np.square(self.std) + (1 - own) * np.square(to.std)
        return SiteStatistics(mean * self.mean + (1 - mean) * to.mean, np.sqrt(variance), self.images)

    def bring(self, embeddings: Floats, to: SiteStatistics) -> Floats:
        """Embeddings [..., width] of this laboratory as those of another one are distributed."""
        return ((embeddings - self.mean) * (to.std / self.std) + to.mean).astype(np.float32)


def statistics_of(embeddings: Floats, weights: NDArray[np.floating] | None = None) -> SiteStatistics:
    """Statistics of a laboratory.

    Args:
        embeddings: float32 [N, views, width], N > 0.
        weights: [N], 0 or more, of the images; None for all alike. The number of images is then the effective one,
            (sum of weights)^2 / (sum of their squares).
    """
    weights = np.ones(len(embeddings)) if weights is None else np.asarray(weights, np.float64)
    shares = weights / weights.sum()
    mean = shares @ embeddings.mean(1, dtype=np.float64)
    variance = shares @ np.square(embeddings - mean).mean(1, dtype=np.float64)
    std = np.maximum(np.sqrt(variance), _LEAST)
    return SiteStatistics(mean.astype(np.float32), std.astype(np.float32), round(1 / np.square(shares).sum()))


def class_statistics(embeddings: Floats, labels: NDArray[np.integer]) -> SiteStatistics:
    """`statistics_of` a laboratory whose labels, int [N], are known: of its classes in equal shares."""
    return statistics_of(embeddings, balancing_weights(np.eye(1 + labels.max())[labels]))


def balancing_weights(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights [N] with which each class counts about the same.

    A laboratory's mix of cells moves the mean of its embeddings as its stain does: with these weights only the stain
    is left.

    Args:
        probabilities: [N, C], of the classes of N images; one-hot where they are known. A class that has less than a
            share of `_LEAST_SHARE` of them counts less.
    """
    shares = probabilities.mean(0)
    return (probabilities / np.maximum(shares, _LEAST_SHARE)).sum(1) / np.count_nonzero(shares)
