"""The convolutional autoencoder that learns from unlabelled kidney tiles."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hemacell.core.errors import UserError
from hemacell.encoders.architectures import RANDOM


class _Residual(nn.Module):
    """Two 3x3 convolutions with GroupNorm around an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(F.gelu(self.norm2(self.conv1(F.gelu(self.norm1(features))))))


class Autoencoder(nn.Module):
    """Encoder and decoder with a narrow latent code between them.

    Args:
        widths: channels of the stages; each halves the resolution, by 2 x 2 patches without overlap.
        latent_channels: channels of the latent code, at 1 / 2^len(widths) of the resolution. With four stages a 128 px
            image (49,152 numbers) becomes 64 x latent_channels numbers: 36 channels are 1/21 of the input.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 192), latent_channels: int = 36) -> None:
        super().__init__()
        self.widths = tuple(widths)
        inputs = (3, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, width, 2, 2), _Residual(width))
            for before, width in zip(inputs, widths, strict=True)
        )
        self.to_code = nn.Conv2d(widths[-1], latent_channels, 1)
        self.from_code = nn.Conv2d(latent_channels, widths[-1], 1)
        self.up = nn.ModuleList(
            nn.Sequential(_Residual(width), nn.Conv2d(width, 4 * after, 1), nn.PixelShuffle(2))
            for after, width in reversed(list(zip(inputs, widths, strict=True)))
        )

    def stages(self, images: Tensor, first: int | None = None) -> list[Tensor]:
        """Features after each stage and the code, for images float [N, 3, H, W] in [0, 1]; or the `first` stages'."""
        features = [images * 2 - 1]
        for layer in list(self.down)[:first]:
            features.append(layer(features[-1]))
        return features[1:] if first else [*features[1:], self.to_code(features[-1])]

    def encode(self, images: Tensor) -> Tensor:
        """The code [N, latent_channels, H / 16, W / 16] with four stages."""
        return self.stages(images)[-1]

    def decode(self, code: Tensor) -> Tensor:
        """Images [N, 3, H, W], near [0, 1] but not clamped, so that gradients reach every pixel."""
        features = self.from_code(code)
        for layer in self.up:
            features = layer(features)
        return (features + 1) / 2

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.encode(images))


def build(weights: str = RANDOM, **body: Any) -> Autoencoder:
    """An autoencoder as an encoder's network, with random weights; others come with a registered model.

    Raises:
        UserError: other weights.
    """
    if weights != RANDOM:
        raise UserError(f"weights={weights}: an autoencoder has random weights, or those of a registered encoder")
    return Autoencoder(**body)


def reconstruction_loss(reconstructed: Tensor, images: Tensor, l1_loss_weight: float = 0.5) -> Tensor:
    """(1 - SSIM) + l1_loss_weight * L1, for images float [N, 3, H, W] in [0, 1] (data range 1; Zhao et al. 2017)."""
    # only training needs torchmetrics; it imports torchvision, which the first line makes possible
    from hemacell.core import torchvision_compat  # noqa: F401  isort: skip
    from torchmetrics.functional.image import structural_similarity_index_measure

    reconstructed = reconstructed.float()
    similarity = structural_similarity_index_measure(reconstructed, images, data_range=1.0)
    assert isinstance(similarity, Tensor)
    return 1 - similarity + l1_loss_weight * F.l1_loss(reconstructed, images)


@torch.no_grad()
def reconstruct(network: nn.Module, images: Tensor, batch: int = 64) -> Tensor:
    """Reconstructions float32 [N, 3, H, W], clamped to [0, 1]: computed where the network is, returned on the CPU."""
    device = next((weight.device for weight in network.parameters()), images.device)
    return torch.cat([network(part.to(device)).float().clamp(0, 1).cpu() for part in images.split(batch)])
