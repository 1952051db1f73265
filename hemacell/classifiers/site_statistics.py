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

_PRIOR_IMAGES = 8  # that the training laboratory's statistics count for
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

        Means and variances are averaged with the weights n / (n + 8) and 8 / (n + 8).
        """
        own = self.images / (self.images + _PRIOR_IMAGES)
        variance = own * np.square(self.std) + (1 - own) * np.square(to.std)
        return SiteStatistics(own * self.mean + (1 - own) * to.mean, np.sqrt(variance), self.images)

    def bring(self, embeddings: Floats, to: SiteStatistics) -> Floats:
        """Embeddings [..., width] of this laboratory as those of another one are distributed."""
        return ((embeddings - self.mean) * (to.std / self.std) + to.mean).astype(np.float32)


def statistics_of(embeddings: Floats) -> SiteStatistics:
    """Statistics of a laboratory.

    Args:
        embeddings: float32 [N, views, width], N > 0.
    """
    rows = embeddings.reshape(-1, embeddings.shape[-1])
    mean, std = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
    return SiteStatistics(mean.astype(np.float32), np.maximum(std, _LEAST).astype(np.float32), len(embeddings))
