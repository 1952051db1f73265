"""How far an image lies from the cells that a classifier knows, in the space of what its first layers see.

How an image's colour, sharpness and early features vary over its places distinguishes a cell under the same stain, in
focus, from everything else; the last layers do not, as they keep only what distinguishes the classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hemacell.encoders.pooling import mean_and_variance

SCALES = 3  # halvings of the image at which its sharpness is measured
CLIP_SIGMA = 20.0  # standard deviations beyond which a number says no more than that it is far away
_RIDGE = 1e-3  # of a variance of about 1: no direction is taken for exactly constant
_LEAST = 1e-5  # of a sharpness before its logarithm, of a standard deviation, and of a threshold


def low_level_features(images: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """Numbers that describe how images look.

    Means and standard deviations, over the places, of the image and of each feature map; and at each of three scales
    the logarithm of the mean size of the differences between neighbours and of the Laplacian, which measures focus
    (Pech-Pacheco et al. 2000). Float32 only: small differences count here.

    Args:
        images: float32 [N, 3, size, size] in [0, 1].
        maps: early features of these images, float32 [N, C, h, w] each.

    Returns:
        float32 [N, F].
    """
    return torch.cat([_moments(images), *map(_moments, maps), _sharpness(images)], 1)


def _moments(features: Tensor) -> Tensor:
    mean, variance = mean_and_variance(features)
    return torch.cat([mean, variance.sqrt()], 1)


def _sharpness(images: Tensor) -> Tensor:
    found = []
    for scale in range(SCALES):
        if scale:
            images = F.avg_pool2d(images, 2)
        middle = images[:, :, 1:-1, 1:-1]
        rows = images[:, :, 2:, 1:-1], images[:, :, :-2, 1:-1]
        columns = images[:, :, 1:-1, 2:], images[:, :, 1:-1, :-2]
        laplacian = 4 * middle - sum(rows) - sum(columns)
        steps = images.diff(dim=2).abs().mean((2, 3)), images.diff(dim=3).abs().mean((2, 3))
        found += [*steps, laplacian.abs().mean((2, 3)), laplacian.square().mean((2, 3)).sqrt()]
    return torch.cat(found, 1).clamp_min(_LEAST).log()


class MahalanobisDetector(nn.Module):
    """The known cells: a normal distribution around each class, all of the same shape (Lee et al. 2018).

    Distances are Mahalanobis' to the nearest class, in units of `threshold`: above 1 an image is out of distribution.

    Args:
        center, scale: float32 [F], what a feature is standardised with.
        means: float32 [K, F], of the classes, standardised.
        whitening: float32 [F, F], L with L L^T the inverse covariance within the classes.
        threshold: float64 [], a distance.

    `forward` takes features float32 [N, F] and returns distances float32 [N].
    """

    center: Tensor
    scale: Tensor
    means: Tensor
    whitening: Tensor
    threshold: Tensor

    def __init__(self, center: Tensor, scale: Tensor, means: Tensor, whitening: Tensor, threshold: Tensor) -> None:
        super().__init__()
        given = {"center": center, "scale": scale, "means": means, "whitening": whitening, "threshold": threshold}
        for name, tensor in given.items():
            self.register_buffer(name, tensor)

    @classmethod
    def fit(cls, features: np.ndarray, labels: np.ndarray) -> MahalanobisDetector:
        """Describe cells; the covariance is shrunk (Ledoit and Wolf 2004), as there may be fewer cells than features.

        Args:
            features: float [N, F], N > 0.
            labels: int [N].
        """
        from sklearn.covariance import ledoit_wolf

        center = features.mean(0, dtype=np.float64)
        scale = np.maximum(features.std(0, dtype=np.float64), _LEAST)
        standard = ((features - center) / scale).clip(-CLIP_SIGMA, CLIP_SIGMA)
        present, number = np.unique(labels, return_inverse=True)
        means = np.stack([standard[labels == label].mean(0) for label in present])
        around = standard - means[number]
        covariance = _RIDGE * np.eye(around.shape[1])
        if len(around) > 1:
            covariance += ledoit_wolf(around, assume_centered=True)[0]
        whitening = np.linalg.cholesky(np.linalg.inv(covariance))
        arrays = {"center": center, "scale": scale, "means": means, "whitening": whitening}
        tensors = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
        return cls(**tensors, threshold=torch.tensor(1.0, dtype=torch.float64))

    def with_false_positive_rate(self, features: np.ndarray, rate: float) -> MahalanobisDetector:
        """The same detector with the threshold beyond which at most a share `rate` of other known cells lies.

        Args:
            features: float32 [N, F] of cells that `fit` has not seen, N > 0.
            rate: 0 to 1.
        """
        ordered = np.sort(self.distance(features).astype(np.float64) * float(self.threshold))[::-1]
        threshold = float(max(ordered[int(rate * len(ordered))], _LEAST))
        tensors = self.state_dict() | {"threshold": torch.tensor(threshold, dtype=torch.float64)}
        return MahalanobisDetector(**tensors)

    def with_least_threshold(self, features: np.ndarray, rate: float) -> MahalanobisDetector:
        """The same detector, with a higher threshold where more than a share `rate` of these cells lies beyond it."""
        other = self.with_false_positive_rate(features, rate)
        return other if float(other.threshold) > float(self.threshold) else self

    def forward(self, features: Tensor) -> Tensor:
        standard = ((features - self.center) / self.scale).clamp(-CLIP_SIGMA, CLIP_SIGMA)
        squares = [((standard - mean) @ self.whitening).square().sum(1) for mean in self.means]
        return torch.stack(squares).amin(0).sqrt() / self.threshold.float()

    @torch.no_grad()
    def distance(self, features: np.ndarray) -> np.ndarray:
        """`forward` for arrays: float32 [N, F] to float32 [N]."""
        return self(torch.from_numpy(features).to(self.center.device)).cpu().numpy()
