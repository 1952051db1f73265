"""Small pictures that all differ, for trees in the layouts of public sets."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, size: tuple[int, int] = (12, 12)) -> Path:
    """Write a picture that its path decides."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = list(path.as_posix().encode())
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: Path, size: tuple[int, int], *cells: tuple[int, int, int, int]) -> Path:
    """Write a mask of cells (left, top, right, bottom): 128, and 255 in the middle of each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0]), np.uint8)
    for left, top, right, bottom in cells:
        pixels[top:bottom, left:right] = 128
        pixels[top + 2 : bottom - 2, left + 2 : right - 2] = 255
    Image.fromarray(pixels).save(path)
    return path
