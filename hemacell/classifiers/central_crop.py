"""The central part of decoded images, resampled: two matrix products, which export to ONNX as they are."""

import torch
from torch import Tensor, nn


class CentralCrop(nn.Module):
    """`hemacell.data.augmentation.apply_augmentation` with the identity: the central part, sampled bilinearly.

    A view that is not rotated is separable, so that sampling is a product with one matrix on each side.

    Args:
        decoded_size: side of the image, in pixels.
        size: side of the result, in pixels.
        crop: side of the part, in sides of the image, 0 < crop <= 1.

    `forward` takes float [N, 3, decoded_size, decoded_size] in [0, 1] and returns [N, 3, size, size], channels last.
    """

    weights: Tensor

    def __init__(self, decoded_size: int, size: int, crop: float) -> None:
        super().__init__()
        # Centres of the new pixels, in old pixels; what lies outside mirrors the image.
        places = ((torch.arange(size, dtype=torch.float64) * 2 + 1) / size - 1) * crop
        places = (((places + 1) * decoded_size - 1) / 2).clamp(0, decoded_size - 1)
        weights = (1 - (places[:, None] - torch.arange(decoded_size, dtype=torch.float64)).abs()).clamp_min(0)
        used = weights.sum(0).nonzero().flatten()
        self.first, self.last = int(used[0]), int(used[-1]) + 1
        self.register_buffer("weights", weights[:, self.first : self.last].float(), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        central = pixels[:, :, self.first : self.last, self.first : self.last]
        seen = self.weights @ (central @ self.weights.T)
        # an optical density is that of one grey level at least
        return seen.clamp(1 / 255, 1.0).contiguous(memory_format=torch.channels_last)
