"""Exponential moving average of a network's weights and buffers."""

import copy

import torch
from torch import nn


class EmaNetwork:
    """Keeps a slow copy of a network, which generalises better than the last weights (Polyak & Juditsky 1992).

    The decay grows with the steps, (step + 1) / (step + ramp) at most, so that the random initial weights are soon
    forgotten. Floating-point buffers (BatchNorm's statistics) are averaged like the weights that they belong to;
    integer ones are copied.
    """

    def __init__(self, network: nn.Module, decay: float, ramp: float = 10.0) -> None:
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(False)
        self.decay, self.ramp = decay, ramp

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` (counted from 0)."""
        decay = min(self.decay, (step + 1) / (step + self.ramp))
        slow, fast = [], []
        for mine, theirs in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                slow.append(mine)
                fast.append(theirs)
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(slow, fast, 1 - decay)
