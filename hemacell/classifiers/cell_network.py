"""The compact network that is trained on the cells themselves."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm and an identity or 1x1 shortcut (He et al. 2016, pre-activation).

    GroupNorm (Wu & He 2018) and not BatchNorm: it carries no statistics of the training laboratory over to another
    one's stain, has none to average with the weights, and works with small batches.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.GroupNorm(8, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = (
            nn.Identity()
            if inputs == outputs and stride == 1
            else nn.Sequential(
                # rounded up like the convolution, where a side is odd
                nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        activated = F.relu(self.norm1(features))
        residual = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        return self.shortcut(activated) + residual


class CellNetwork(nn.Module):
    """A residual network for single cells of 64 to 128 px.

    Args:
        widths: channels of the four stages; each stage but the first halves the resolution, the stem halves it once.
        blocks: residual blocks in each stage.

    `forward` takes float [N, 3, H, W] in [0, 1] and returns features [N, width]: average and maximum over the places.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 256), blocks: Sequence[int] = (1, 2, 2, 1)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 5, 2, 2, bias=False)
        layers: list[nn.Module] = []
        self.blocks = tuple(blocks)
        inputs = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for index in range(count):
                layers.append(ResidualBlock(inputs, width, stride=2 if index == 0 and stage > 0 else 1))
                inputs = width
        self.stages = nn.Sequential(*layers)
        self.norm = nn.GroupNorm(8, inputs)
        self.activation = nn.ReLU()  # a module, so that the last features can be read out
        self.width = 2 * inputs

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self._stem(images), 0)

    def early(self, images: Tensor, stages: int) -> list[Tensor]:
        """Features [N, C, h, w] after the stem and after each block of the first `stages` stages."""
        found = [self._stem(images)]
        for block in list(self.stages)[: sum(self.blocks[:stages])]:
            found.append(block(found[-1]))
        return found

    def after(self, features: Tensor, stages: int) -> Tensor:
        """What `forward` returns, from the features after the first `stages` stages: the last of `early`."""
        for block in list(self.stages)[sum(self.blocks[:stages]) :]:
            features = block(features)
        features = self.activation(self.norm(features))
        return torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)

    def _stem(self, images: Tensor) -> Tensor:
        return self.stem((images - 0.5) / 0.25)
