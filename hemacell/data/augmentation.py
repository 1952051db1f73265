"""Augmentations of images: turns, flips, zoom, shift and stain, drawn from a seed and rendered in batches.

Drawing and rendering are apart, so that a *stored view* of an image can be rendered again at another size from its key
alone: the frozen encoders see it once (`hemacell.encoders.embeddings`), the trainable branch whenever it needs it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hemacell.core.random import generator_of


@dataclass(frozen=True)
class AugmentationConfig:
    """How far a view may lie from its image.

    zoom: largest factor by which the image is enlarged or made smaller; shift: largest displacement, in sides of the
    image; turn: any angle if true, else quarter turns only; stain: spread of the random matrix by which optical
    densities are multiplied; brightness: spread of what is added to them.
    """

    zoom: float = 1.2
    shift: float = 0.04
    turn: bool = True
    stain: float = 0.10
    brightness: float = 0.05


@dataclass
class Augmentations:
    """Parameters of N views: `affine` [N, 2, 2] and `offset` [N, 2] map output to input coordinates in [-1, 1];
    `stain` [N, 3, 3] and `stain_bias` [N, 3] act on optical densities."""

    affine: Tensor
    offset: Tensor
    stain: Tensor
    stain_bias: Tensor

    def __len__(self) -> int:
        return len(self.affine)

    def __getitem__(self, index: Tensor | slice) -> "Augmentations":
        return Augmentations(self.affine[index], self.offset[index], self.stain[index], self.stain_bias[index])

    def then(self, after: "Augmentations") -> "Augmentations":
        """The view of a view: `after` seen through `self` (self is applied to the image first)."""
        return Augmentations(
            affine=self.affine @ after.affine,
            offset=(self.affine @ after.offset.unsqueeze(-1)).squeeze(-1) + self.offset,
            stain=self.stain @ after.stain,
            stain_bias=(self.stain_bias.unsqueeze(1) @ after.stain).squeeze(1) + after.stain_bias,
        )


def identity_augmentation(count: int) -> Augmentations:
    """`count` views that leave the image as it is."""
    eye2, eye3 = torch.eye(2).expand(count, 2, 2), torch.eye(3).expand(count, 3, 3)
    return Augmentations(eye2.clone(), torch.zeros(count, 2), eye3.clone(), torch.zeros(count, 3))


def dihedral_augmentation(count: int, which: int) -> Augmentations:
    """`count` times the same of the eight flips and quarter turns (0 is the identity): no pixel is interpolated."""
    if not 0 <= which < 8:
        raise ValueError(f"which must be 0..7, got {which}")
    quarter, flip = which % 4, which >= 4
    cosine, sine = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][quarter]
    matrix = torch.tensor([[cosine, -sine], [sine, cosine]])
    if flip:
        matrix = matrix @ torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
    views = identity_augmentation(count)
    views.affine = matrix.expand(count, 2, 2).clone()
    return views


def dihedral_views(images: Tensor, views: int) -> Tensor:
    """The first `views` flips and quarter turns of images; no pixel is interpolated.

    Args:
        images: [N, C, S, S], square.
        views: 1 to 8.

    Returns:
        [views * N, C, S, S] in channels-last layout: all images as `dihedral_augmentation(…, 0)` shows them, then
        (…, 1).
    """
    if not 1 <= views <= 8:
        raise ValueError(f"views must be 1..8, got {views}")
    turned = [
        torch.rot90(images if view < 4 else images.flip(3), view % 4 if view < 4 else -(view % 4), (2, 3))
        for view in range(views)
    ]
    return torch.cat(turned).contiguous(memory_format=torch.channels_last)


def random_augmentation(count: int, settings: AugmentationConfig, generator: torch.Generator) -> Augmentations:
    """`count` random views, all randomness from `generator`."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * 2 - 1

    angle = uniform(count) * math.pi
    if not settings.turn:
        angle = torch.round(angle / (math.pi / 2)) * (math.pi / 2)
    scale = torch.exp(uniform(count) * math.log(settings.zoom))
    flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    affine = torch.stack([torch.stack([cosine * flip, -sine], -1), torch.stack([sine * flip, cosine], -1)], -2)
    eye = torch.eye(3).expand(count, 3, 3)
    return Augmentations(
        affine=affine,
        offset=uniform(count, 2) * settings.shift * 2,  # coordinates run over 2 for one side of the image
        stain=eye
        + settings.stain * torch.randn(count, 1, 1, generator=generator) * eye
        + settings.stain * torch.randn(count, 3, 3, generator=generator) * (0.25 + 0.75 * eye),
        stain_bias=settings.brightness * torch.randn(count, 3, generator=generator),
    )


def concatenate(parts: Sequence[Augmentations]) -> Augmentations:
    """One after the other."""
    return Augmentations(
        torch.cat([part.affine for part in parts]),
        torch.cat([part.offset for part in parts]),
        torch.cat([part.stain for part in parts]),
        torch.cat([part.stain_bias for part in parts]),
    )


def stored_augmentation(images: Sequence[str], number: int, settings: AugmentationConfig) -> Augmentations:
    """The `number`-th augmented view of each image: a function of the image's digest, the number and the settings."""
    return concatenate([random_augmentation(1, settings, generator_of("view", image, number)) for image in images])


def apply_augmentation(images: Tensor, views: Augmentations, size: int, crop: float = 1.0) -> Tensor:
    """Render views of images.

    Args:
        images: uint8 [N, H, W, 3].
        views: N views.
        size: side of the result, in pixels.
        crop: side of the part around the centre that is shown, in sides of the image (0 < crop <= 1).

    Returns:
        float32 [N, 3, size, size] in [0, 1], in channels-last layout. What lies outside the image mirrors it.
    """
    pixels = images.permute(0, 3, 1, 2).float().div_(255.0)
    theta = torch.cat([views.affine * crop, views.offset.unsqueeze(-1)], -1).to(pixels)
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    seen = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    density = -torch.log(seen.clamp_(min=1 / 255.0))
    density = (
        torch.einsum("nchw,ncd->ndhw", density, views.stain.to(density))
        + views.stain_bias.to(density)[:, :, None, None]
    )
    return torch.exp(-density).clamp_(0.0, 1.0).contiguous(memory_format=torch.channels_last)
