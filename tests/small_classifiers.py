"""Small classifiers, for tests that need one but not its size."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hemacell.classifiers.description import ClassifierConfig
from hemacell.classifiers.fusion_network import FusedClassifier
from hemacell.classifiers.methods import METHODS
from hemacell.encoders.description import EncoderConfig
from hemacell.encoders.frozen import FrozenEncoder


def small_config(**changes: Any) -> ClassifierConfig:
    """The description of a small fused classifier without encoders, not calibrated."""
    wanted = {
        "classes": ("a", "b", "c"),
        "decoded_size": 24,
        "size": 16,
        "crop": 0.8,
        "views": 2,
        "encoders": (),
        "hyperparameters": {"widths": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "projection": 8},
    }
    return ClassifierConfig(**(wanted | changes))


def small_autoencoder(input_size: int = 32, crop: float = 1.0) -> EncoderConfig:
    """The description of a small autoencoder."""
    return EncoderConfig(
        kind="autoencoder", body={"widths": [8, 16], "latent_channels": 3}, input_size=input_size, crop=crop
    )


def small_backbone(input_size: int = 32, crop: float = 1.0) -> EncoderConfig:
    """The description of the smallest backbone that timm has."""
    return EncoderConfig(kind="backbone", body={"arch": "test_efficientnet"}, input_size=input_size, crop=crop)


def small_network(
    config: ClassifierConfig, encoders: Sequence[FrozenEncoder], images: Tensor | None = None
) -> FusedClassifier:
    """An untrained network; with images [N, 3, H, W], standardised on these and with predictions that differ."""
    torch.manual_seed(0)
    network = METHODS["fusion"].build(config, [encoder.width for encoder in encoders])
    assert isinstance(network, FusedClassifier)
    if images is not None:
        for scale, encoder in zip(network.standardisers, encoders, strict=True):
            scale.fit(encoder(images))
        with torch.no_grad():
            for head in (network.cell_head, *network.heads, *([network.fused_head] if encoders else [])):
                head.weight.mul_(4)
    return network
