"""Tiny folders in the course layout, made as each test wants them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemacell.data.class_names import CLASSES
from hemacell.data.manifest import Manifest, Row

Cells = Callable[..., Path]


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    """Writes cells: cells(train=3, test={'Basophil': 1, ...}, masks=2, folder='WBC_100'); every image differs."""
    made = 0

    def write(folder: str = "WBC_100", masks: int = 0, size: int = 8, **splits: int | Mapping[str, int]) -> Path:
        nonlocal made
        root = tmp_path / "data"
        for split, counts in splits.items():
            numbers = dict.fromkeys(CLASSES, counts) if isinstance(counts, int) else counts
            for label, number in numbers.items():
                target = root / folder / split / "data" / label
                target.mkdir(parents=True, exist_ok=True)
                for index in range(number):
                    made += 1
                    pixels = np.random.default_rng(made).integers(0, 255, (size, size, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(target / f"{index:03d}.png")
                    if split == "train" and index < masks:
                        mask_folder = root / folder / split / "mask" / label
                        mask_folder.mkdir(parents=True, exist_ok=True)
                        mask = np.zeros((size, size), np.uint8)
                        mask[2:-2, 2:-2], mask[3:-3, 3:-3] = 128, 255
                        Image.fromarray(mask).save(mask_folder / f"{index:03d}.png")
        return root

    return write


@pytest.fixture
def rows() -> Callable[..., Manifest]:
    """A manifest without files: rows([('a', 'Basophil', 'train'), ...]), the first being digest and group."""

    def build(lines: list[tuple[str, str, str]], root: Path = Path("/nowhere")) -> Manifest:
        made = [
            Row(f"{root}/{n}-{sha}.png", label, split, sha, "", sha, "original")
            for n, (sha, label, split) in enumerate(lines)
        ]
        return Manifest.from_rows(made, CLASSES, "WBC_100", root)

    return build
