"""Frozen encoders: what pretraining hands over, as a folder with weights and a description, and as a network."""

import hashlib
import json
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hemacell.core.errors import UserError, in_one_line
from hemacell.encoders.architectures import RANDOM, build_body
from hemacell.encoders.description import DESCRIPTION, WEIGHTS, EncoderConfig
from hemacell.encoders.pooling import mean_and_variance


def _weights_of(body: Any) -> nn.Module:
    """The network whose state is stored: of a backbone timm's, without what only normalises its images."""
    return body.network if hasattr(body, "network") else body


class FrozenEncoder(nn.Module):
    """An encoder that never changes: always in eval mode, without gradients, even while its parent is trained.

    `forward` takes float [N, 3, H, W] in [0, 1] of any size and returns the embedding [N, width]: means and standard
    deviations over the places, of the features after each stage. Early stages carry colour and texture, late ones
    shape; the last alone is worth much less when labels are few. A body without stages gives the embedding itself.
    """

    def __init__(self, config: EncoderConfig, body: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.body: Any = body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.requires_grad_(False)
        super().train(False)
        self.width = self(torch.zeros(1, 3, config.input_size, config.input_size, device=self.device)).shape[1]

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Do nothing: a parent's `.train()` must not put BatchNorm back into training mode."""
        return self

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        size = self.config.input_size
        if images.shape[-2:] != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)
        if not self.has_stages:
            return self.body.embedding(images)
        pooled = []
        for features in self.body.stages(images.contiguous(memory_format=torch.channels_last)):
            mean, variance = mean_and_variance(features.float())
            pooled += [mean, (variance + 1e-6).sqrt()]
        return torch.cat(pooled, 1)

    @torch.no_grad()
    def first_stage(self, images: Tensor) -> Tensor:
        """Features [N, C, h, w] of the first stage alone, in float32: `images` as `forward` takes them, at its size.

        Only of an encoder that `has_stages`.
        """
        return self.body.stages(images.contiguous(memory_format=torch.channels_last), first=1)[0].float()

    def with_crop(self, size: int, crop: float) -> "FrozenEncoder":
        """The same encoder at `size` pixels, shown the central `crop` of an image, or `reach` times as much."""
        shown = min(1.0, crop * self.config.reach)
        return FrozenEncoder(self.config.model_copy(update={"input_size": size, "crop": shown}), self.body)

    def weights(self) -> dict[str, Tensor]:
        """What `save_encoder` takes as the state of the body."""
        return _weights_of(self.body).state_dict()

    @property
    def has_stages(self) -> bool:
        """Whether the embedding is pooled from feature maps."""
        return hasattr(self.body, "stages")

    @property
    def invariant(self) -> bool:
        """Whether all turns and flips of an image have the same embedding."""
        return getattr(self.body, "invariant", False)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(chain(self.body.parameters(), self.body.buffers())).device

    def embed(self, images: Tensor, precision: str = "float32") -> Tensor:
        """Like `forward`, on the encoder's device and in `float32` or `bf16` (autocast); float32 results."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return self(images.to(self.device))


def create_encoder(config: EncoderConfig, weights: str = RANDOM, seed: int = 0) -> FrozenEncoder:
    """An encoder with `random` weights (from the seed), `imagenet` ones, or those of a safetensors file.

    Raises:
        UserError: the network is unknown, or its weights are not available.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FrozenEncoder(config, build_body(config, weights))


def save_encoder(folder: Path, config: EncoderConfig, body_state: dict[str, Tensor]) -> Path:
    """Write an encoder's folder: `encoder.safetensors` and `encoder.json`.

    Args:
        folder: made where it is missing.
        config: its description.
        body_state: the state of the network: of the `Autoencoder`, or of the timm network without its head.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in body_state.items()}, folder / WEIGHTS)
    (folder / DESCRIPTION).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return folder


def load_encoder(folder: Path) -> FrozenEncoder:
    """Read what `save_encoder` wrote.

    Raises:
        UserError: the folder does not hold an encoder.
    """
    try:
        config = EncoderConfig.model_validate(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError, ValidationError, SafetensorError) as error:
        raise UserError(
            f"{folder}: expected an encoder ({DESCRIPTION} and {WEIGHTS}), found {in_one_line(error)}"
        ) from error
    try:
        body = build_body(config)
        _weights_of(body).load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{folder}: the weights are not those of the encoder described: {in_one_line(error)[:300]}"
        ) from error
    return FrozenEncoder(config, body)


def encoder_digest(encoder: FrozenEncoder) -> str:
    """sha256 of an encoder's description and weights, in hex."""
    digest = hashlib.sha256(encoder.config.model_dump_json().encode())
    for name, tensor in sorted(encoder.body.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
