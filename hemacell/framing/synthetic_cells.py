"""Training cells in synthetic laboratories, framed like those of any laboratory, and stored."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hemacell.core.files import atomic_folder, disk_error, require_space
from hemacell.core.random import seed_of
from hemacell.core.threads import available_cores
from hemacell.data.decoding import Progress, read_row
from hemacell.data.images import to_square
from hemacell.framing.decoding import FramedImages
from hemacell.framing.description import Framing
from hemacell.framing.frame import FRAMING_VERSION, frame
from hemacell.framing.site import Measured, estimate_site, measured
from hemacell.framing.synthetic import SYNTHETIC_VERSION, SyntheticLaboratory, random_laboratory

_SIDE = 256  # of the squares that laboratories start from, at most
_EVEN = 3.0  # concentration of the Dirichlet distribution of class shares: each laboratory has its own mix
_LEAST_SHARE = 0.04  # of a class


@dataclass(frozen=True, eq=False)
class SyntheticCells:
    """M framed pictures of cells as other laboratories would show them."""

    pixels: np.ndarray
    """uint8 [M, S, S, 3], a read-only memory map"""
    sources: np.ndarray
    """int64 [M], which of the given cells each shows"""
    laboratories: np.ndarray
    """int64 [M], number of the laboratory, from 0"""
    key: str
    """names them: equal keys mean equal pixels"""

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def digests(self) -> list[str]:
        """A name for each picture."""
        return [f"{self.key}/{number}" for number in range(len(self))]


def synthetic_cells(
    images: FramedImages,
    rows: np.ndarray,
    labels: np.ndarray,
    laboratories: int,
    most: int,
    framing: Framing,
    cache: Path,
    progress: Progress | None = None,
) -> SyntheticCells:
    """Show cells in synthetic laboratories, each of which has its own mix of classes.

    A laboratory has as many pictures as there are cells, at most `most`; of few cells some come more than once, and
    no two pictures are alike. The scale, glass and stain of a laboratory are found in its pictures, as everywhere.

    Args:
        images: decoded images that hold the cells.
        rows: int64 [N], which of them.
        labels: int64 [N].
        laboratories: their number.
        most: pictures of one laboratory.
        framing: how the classifier frames pictures, with the density of its training laboratory.
        cache: the folder for what is computed; a `laboratories` folder in it is used.
        progress: called with (laboratories done, all).

    Raises:
        UserError: the disk is full.
    """
    size, table = images.decoded.array.shape[1], images.decoded.manifest.table
    facts = {
        "version": [SYNTHETIC_VERSION, FRAMING_VERSION],
        "images": [table["sha256"].iat[row] for row in rows],
        "labels": labels.tolist(),
        "bits": images.decoded.manifest.bits,
        "laboratories": [laboratories, most],
        "framing": framing.model_dump(),
        "site": images.site.model_dump() if images.site else None,
        "size": size,
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    folder = cache / "laboratories" / key
    held = _read_back(folder, key)
    if held is None:
        try:
            _write(folder, images, rows, labels, laboratories, min(most, len(rows)), framing, progress)
        except OSError as error:
            raise disk_error(error, f"cannot store pictures of synthetic laboratories in {folder.parent}") from error
        held = _read_back(folder, key)
        assert held is not None, f"{folder} was written and cannot be read back"
    return held


def _read_back(folder: Path, key: str) -> SyntheticCells | None:
    """What is stored, or None where it is missing or damaged."""
    try:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
        sources, laboratories = np.load(folder / "of.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return SyntheticCells(pixels, sources, laboratories, key) if len(pixels) == len(sources) else None


def _write(
    folder: Path,
    images: FramedImages,
    rows: np.ndarray,
    labels: np.ndarray,
    laboratories: int,
    each: int,
    framing: Framing,
    progress: Progress | None,
) -> None:
    size = images.decoded.array.shape[1]
    shape = (laboratories * each, size, size, 3)
    with atomic_folder(folder, lambda there: _read_back(there, "") is not None) as temporary:
        require_space(temporary, int(np.prod(shape)))
        pixels = np.lib.format.open_memmap(temporary / "pixels.npy", "w+", np.uint8, shape)
        sources = np.empty(shape[0], np.int64)
        for number in range(laboratories):
            part = slice(number * each, (number + 1) * each)
            sources[part] = _mixed(labels, each, np.random.default_rng(seed_of("mix of laboratory", number)))
            pixels[part] = _framed(images, rows[sources[part]], number, framing, size)
            if progress:
                progress(number + 1, laboratories)
        pixels.flush()
        del pixels
        np.save(temporary / "of.npy", np.stack([sources, np.repeat(np.arange(laboratories), each)]))


def _mixed(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions int64 [count] of cells, in random shares of the classes; a cell of a class with too few comes again."""
    present = np.unique(labels)
    least = min(_LEAST_SHARE, 0.5 / len(present))
    shares = (1 - least * len(present)) * rng.dirichlet(np.full(len(present), _EVEN)) + least
    chosen = []
    for label, wanted in zip(present, rng.multinomial(count, shares / shares.sum()), strict=True):
        own = np.flatnonzero(labels == label)
        rounds = [rng.permutation(own) for _ in range(-(-wanted // len(own)))]
        chosen.append(np.concatenate(rounds)[:wanted] if rounds else own[:0])
    return np.concatenate(chosen)


def _framed(images: FramedImages, rows: np.ndarray, number: int, framing: Framing, size: int) -> np.ndarray:
    """Pictures of one laboratory, uint8 [N, size, size, 3]."""
    laboratory = random_laboratory(number)

    def render(task: tuple[int, int]) -> tuple[Image.Image, Measured]:
        place, row = task
        picture = Image.fromarray(_render(laboratory, images, row, np.random.default_rng([number, place, 11])))
        return picture, measured(picture)

    with ThreadPoolExecutor(available_cores()) as pool:
        made = list(pool.map(render, enumerate(map(int, rows))))
        site = estimate_site([found for _, found in made], images.site)
        return np.stack(list(pool.map(lambda each: frame(each[0], site, framing, size, each[1]).pixels, made)))


def _render(laboratory: SyntheticLaboratory, images: FramedImages, row: int, rng: np.random.Generator) -> np.ndarray:
    image = read_row(images.decoded.manifest, row)
    square = to_square(image, min(_SIDE, *image.size))
    return laboratory.picture(square, np.asarray(images.measured[row].glass), rng)
