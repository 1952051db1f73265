"""How far an image lies from the cells that a classifier knows, in the space of what its first layers see.

The deviations over the places of an image's colour, sharpness and early features tell a cell under the same stain, in
focus, from everything else; what the last layers see does not, as they keep only what tells the classes apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hemacell.data.augmentation import apply_augmentation, identity_augmentation

if TYPE_CHECKING:
    from hemacell.classifiers.cell_network import CellNetwork

STAGES = 1  # of the cell network, whose features are described
_SCALES = 3  # halvings of the picture at which its sharpness is measured
CLIP_SIGMA = 20.0  # deviations beyond which a number says no more than that it is far away
_RIDGE = 1e-3  # of a variance of about 1: no direction is taken for exactly constant
_LEAST = 1e-5  # of a sharpness before its logarithm, and of a deviation


@torch.no_grad()
def statistics(
    cell: CellNetwork, pixels: np.ndarray, rows: np.ndarray, *, size: int, crop: float, batch: int = 256
) -> np.ndarray:
    """Numbers that describe how images look to a cell network.

    Means and deviations, over the places, of the picture and of the features after the stem and after each block of the
    first `STAGES` stages; and at each of three scales the logarithm of the mean size of the differences between
    neighbours and of the Laplacian, which measures focus (Pech-Pacheco et al. 2000). Always in float32: small
    differences count here.

    Args:
        cell: the network, on its device.
        pixels: uint8 [M, H, W, 3]; a memory map will do.
        rows: int64 [N], which of them, N > 0.
        size, crop: what it sees: pixels a side, and sides of the image.
        batch: images at once.

    Returns:
        float32 [N, F].
    """
    device = next(cell.parameters()).device
    found = []
    for start in range(0, len(rows), batch):
        images = torch.from_numpy(pixels[rows[start : start + batch]]).to(device)
        found.append(
            low_level_features_of(
                cell, apply_augmentation(images, identity_augmentation(len(images)), size, crop)
            ).cpu()
        )
    return torch.cat(found).numpy()


def low_level_features_of(cell: CellNetwork, seen: Tensor) -> Tensor:
    """The `statistics` float32 [N, F] of what a cell network sees, float32 [N, 3, size, size] in [0, 1]."""
    return torch.cat([_moments(seen), *map(_moments, cell.early(seen, STAGES)), _sharpness(seen)], 1)


def _moments(features: Tensor) -> Tensor:
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=0)
    return torch.cat([mean, variance.sqrt()], 1)


def _sharpness(pictures: Tensor) -> Tensor:
    found = []
    for scale in range(_SCALES):
        if scale:
            pictures = F.avg_pool2d(pictures, 2)
        middle = pictures[:, :, 1:-1, 1:-1]
        rows = pictures[:, :, 2:, 1:-1], pictures[:, :, :-2, 1:-1]
        columns = pictures[:, :, 1:-1, 2:], pictures[:, :, 1:-1, :-2]
        laplacian = 4 * middle - sum(rows) - sum(columns)
        steps = pictures.diff(dim=2).abs().mean((2, 3)), pictures.diff(dim=3).abs().mean((2, 3))
        found += [*steps, laplacian.abs().mean((2, 3)), laplacian.square().mean((2, 3)).sqrt()]
    return torch.cat(found, 1).clamp_min(_LEAST).log()


@dataclass(frozen=True)
class Reference:
    """The known cells: a normal distribution around each class, all of the same shape (Lee et al. 2018).

    Distances are Mahalanobis' to the nearest class, in units of `limit`: an image is unlike these cells above 1.
    """

    centre: np.ndarray
    """float32 [F], and"""
    scale: np.ndarray
    """float32 [F]: what a statistic is standardised with"""
    classes: np.ndarray
    """float32 [K, F], the classes' means, standardised"""
    whitening: np.ndarray
    """float32 [F, F], L with L L^T the inverse covariance within the classes"""
    limit: float = 1.0

    @classmethod
    def fit(cls, statistics: np.ndarray, labels: np.ndarray) -> Reference:
        """Describe cells; the covariance is shrunk (Ledoit and Wolf 2004), as there may be fewer cells than numbers.

        Args:
            statistics: float [N, F], N > 0.
            labels: int [N].
        """
        from sklearn.covariance import ledoit_wolf

        centre = statistics.mean(0, dtype=np.float64)
        scale = np.maximum(statistics.std(0, dtype=np.float64), _LEAST)
        standard = _standardised(statistics, centre, scale)
        present, number = np.unique(labels, return_inverse=True)
        means = np.stack([standard[labels == label].mean(0) for label in present])
        around = standard - means[number]
        covariance = _RIDGE * np.eye(around.shape[1])
        if len(around) > 1:
            covariance += ledoit_wolf(around, assume_centered=True)[0]
        whitening = np.linalg.cholesky(np.linalg.inv(covariance))
        return cls(_single(centre), _single(scale), _single(means), _single(whitening))

    def limited(self, statistics: np.ndarray, ood_false_positive_rate: float) -> Reference:
        """The same with the limit beyond which at most a share `ood_false_positive_rate` of other known cells lies.

        Args:
            statistics: float [N, F] of cells that `fit` has not seen, N > 0.
            ood_false_positive_rate: 0 to 1.
        """
        ordered = np.sort(self.distance(statistics) * self.limit)[::-1]
        return replace(self, limit=float(max(ordered[int(ood_false_positive_rate * len(ordered))], _LEAST)))

    def distance(self, statistics: np.ndarray) -> np.ndarray:
        """Distances float32 [N] of images with these statistics, float [N, F]."""
        standard = _standardised(statistics, self.centre, self.scale)
        squares = [np.square((standard - mean) @ self.whitening).sum(1) for mean in self.classes]
        return (np.sqrt(np.min(squares, axis=0)) / self.limit).astype(np.float32)

    def tensors(self) -> dict[str, Tensor]:
        """What is stored of it."""
        arrays = {name: getattr(self, name) for name in ("centre", "scale", "classes", "whitening")}
        stored = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        return stored | {"limit": torch.tensor(self.limit, dtype=torch.float64)}

    @classmethod
    def of_tensors(cls, stored: Mapping[str, Tensor]) -> Reference:
        """The other way around. Raises KeyError where one is missing."""
        centre, scale, classes, whitening, limit = (
            stored[name].numpy() for name in ("centre", "scale", "classes", "whitening", "limit")
        )
        return cls(centre, scale, classes, whitening, float(limit))


def _standardised(statistics: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return ((statistics - centre) / scale).clip(-CLIP_SIGMA, CLIP_SIGMA)


def _single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)
