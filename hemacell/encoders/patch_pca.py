"""PCA of patches: a linear code as small as the autoencoder's, which shows what the network adds."""

import numpy as np
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import Tensor


class PatchPCA:
    """Images cut into patches without overlap, each kept as its coordinates along the first principal axes.

    Args:
        patch: side of a patch in pixels; it divides the images' side.
        components: numbers kept per patch.
    """

    def __init__(self, patch: int, components: int) -> None:
        self.patch, self.components = patch, components

    @classmethod
    def as_small_as(cls, latent_channels: int) -> "PatchPCA":
        """A code of the size of the autoencoder's with so many channels at 1/16 of the resolution, for patches of 8."""
        side = 8
        return cls(side, max(1, latent_channels * side**2 // 16**2))

    def fit(self, images: Tensor, seed: int = 0, most: int = 60_000) -> "PatchPCA":
        """Find the axes on images float [N, 3, H, W] in [0, 1]; at most `most` patches are used."""
        patches = self._patches(images)
        if len(patches) > most:
            patches = patches[np.random.default_rng(seed).choice(len(patches), most, replace=False)]
        self.pca = PCA(self.components, svd_solver="covariance_eigh").fit(patches)
        return self

    def reconstruct(self, images: Tensor) -> Tensor:
        """What the code keeps of the images, float32 [N, 3, H, W] clamped to [0, 1]."""
        patches = self.pca.inverse_transform(self.pca.transform(self._patches(images)))
        columns = Tensor(patches).reshape(len(images), -1, patches.shape[1]).transpose(1, 2)
        return F.fold(columns, tuple(images.shape[-2:]), self.patch, stride=self.patch).clamp(0, 1)

    def _patches(self, images: Tensor) -> np.ndarray:
        columns = F.unfold(images, self.patch, stride=self.patch)
        return columns.transpose(1, 2).reshape(-1, columns.shape[1]).numpy()
