"""Which images come in which step: a function of the seed and the step alone, so that a training can go on anywhere."""

import numpy as np
import torch
from torch import Tensor

from hemacell.core.random import generator_of


class BatchOrder:
    """Endless batches over `count` items: every item once per round, in a new order each round.

    Args:
        count: number of items, at least 1.
        batch_size: items a batch; a batch may hold the end of one round and the start of the next.
        seed: picks the orders.
        weights: where given, items are drawn with replacement in these proportions instead.
    """

    def __init__(self, count: int, batch_size: int, seed: int, weights: np.ndarray | None = None) -> None:
        if count < 1:
            raise ValueError("no items to make batches of")
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.weights = None if weights is None else torch.from_numpy(weights)
        self._rounds: dict[int, Tensor] = {}

    def __call__(self, step: int) -> Tensor:
        """Indices int64 [batch_size] of a step."""
        if self.weights is not None:
            picker = generator_of(self.seed, "draw", step)
            return torch.multinomial(self.weights, self.batch_size, replacement=True, generator=picker)
        positions = torch.arange(step * self.batch_size, (step + 1) * self.batch_size)
        rounds = positions // self.count
        first = int(rounds[0])
        for number in [known for known in self._rounds if known < first]:
            del self._rounds[number]
        return torch.stack(
            [self._round(int(number))[int(place)] for number, place in zip(rounds, positions % self.count, strict=True)]
        )

    def _round(self, number: int) -> Tensor:
        if number not in self._rounds:
            self._rounds[number] = torch.randperm(self.count, generator=generator_of(self.seed, "round", number))
        return self._rounds[number]
