"""Stands in for hemacell.encoders.frozen: mean and deviation of each channel."""

from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file


class Moments:
    config = SimpleNamespace(input_size=32)

    def __init__(self, scale: torch.Tensor) -> None:
        self.scale = scale

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.float32 and images.shape[1:] == (3, 32, 32)
        assert 0 <= images.min() <= images.max() <= 1
        return torch.cat([images.mean(dim=(2, 3)), images.std(dim=(2, 3))], dim=1) * self.scale


def load_encoder(folder: Path) -> Moments:
    return Moments(load_file(folder / "weights.safetensors")["scale"])
