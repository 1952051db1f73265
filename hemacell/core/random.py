"""Randomness that follows from names: the same parts give the same numbers, in any process and in any order."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def seed_of(*parts: object) -> int:
    """A 63-bit seed from parts that print the same everywhere (numbers, texts)."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big") >> 1


def generator_of(*parts: object) -> "torch.Generator":
    """A fresh torch generator seeded with `seed_of(*parts)`."""
    import torch

    return torch.Generator().manual_seed(seed_of(*parts))
