"""Embeddings of an encoder, standardised by those of the draw's training images."""

import torch
from torch import Tensor, nn

from hemacell.classifiers.site_statistics import SiteStatistics, statistics_of

_CLIP_SIGMA = 5.0  # an embedding far outside what was seen in training (another stain) must not drown the rest


class Standardise(nn.Module):
    """float [N, width] -> [N, width] of mean 0 and deviation 1, clipped at five deviations.

    `fit` fixes means and deviations as buffers, which travel with the weights; before, they are 0 and 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, embeddings: Tensor) -> None:
        """Take means and deviations from embeddings [N, width]."""
        self.take(statistics_of(embeddings.cpu().numpy()[:, None]))

    def take(self, statistics: SiteStatistics) -> None:
        """Take those of a laboratory."""
        self.mean.copy_(torch.from_numpy(statistics.mean))
        self.std.copy_(torch.from_numpy(statistics.std))

    @property
    def statistics(self) -> SiteStatistics:
        """Those that are used."""
        return SiteStatistics(self.mean.cpu().numpy().copy(), self.std.cpu().numpy().copy(), 0)

    def standardised(self, embeddings: Tensor) -> Tensor:
        """Float [N, width] to [N, width], whatever a subclass makes of them."""
        return ((embeddings - self.mean) / self.std).clamp(-_CLIP_SIGMA, _CLIP_SIGMA)

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.standardised(embeddings)
