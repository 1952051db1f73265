"""Embeddings of views of images by a frozen encoder: computed once, then read back."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from hemacell.core.errors import UserError
from hemacell.core.files import disk_error
from hemacell.data.augmentation import (
    AugmentationConfig,
    Augmentations,
    apply_augmentation,
    concatenate,
    dihedral_augmentation,
    stored_augmentation,
)
from hemacell.encoders.frozen import FrozenEncoder, encoder_digest

CACHE_VERSION = 1  # raise it whenever the same encoder and views would give other embeddings
_BATCH = 64  # constant, the last one padded, so that the bits of a row do not depend on the others of its batch


@dataclass(frozen=True)
class StoredViews:
    """Which views of an image are embedded: `count` augmented ones, or the first `count` flips and quarter turns."""

    count: int
    augmented: bool
    settings: AugmentationConfig = field(default_factory=AugmentationConfig)

    def name(self, number: int) -> str:
        """The key of one view."""
        if not self.augmented:
            return f"turn{number}"
        return f"view{number}:" + json.dumps(asdict(self.settings), sort_keys=True)

    def of(self, images: Sequence[str], number: int) -> Augmentations:
        """Parameters of the `number`-th view of images, which are named by their digests."""
        if self.augmented:
            return stored_augmentation(images, number, self.settings)
        return dihedral_augmentation(len(images), number)


def embed(
    encoder: FrozenEncoder,
    pixels: np.ndarray,
    rows: np.ndarray,
    digests: Sequence[str],
    views: StoredViews,
    cache: Path,
    precision: str = "bf16",
    progress: Callable[[int, int], None] | None = None,
    recipe: str = "",
) -> np.ndarray:
    """Embeddings of views of images.

    Args:
        encoder: the frozen encoder.
        pixels: uint8 [M, H, W, 3], decoded images (a memory map will do).
        rows: int64 [N], which of them.
        digests: N digests of images, the keys; equal digests must mean equal pixels, of one recipe.
        views: which views.
        cache: the folder for computed embeddings; an `embeddings` folder in it is used. Processes may share it.
        precision: `bf16` (autocast) or `float32`.
        progress: called with (views computed, views missing at the start).
        recipe: how the pixels were made of the images, as in `Decoded.recipe`.

    Returns:
        float32 [N, views.count, encoder.width].

    Raises:
        UserError: the disk is full.
    """
    if encoder.invariant and not views.augmented and views.count > 1:
        upright = embed(encoder, pixels, rows, digests, replace(views, count=1), cache, precision, progress)
        return np.repeat(upright, views.count, axis=1)
    preprocessing = {
        "recipe": CACHE_VERSION,
        "encoder": encoder_digest(encoder),
        "pixels": pixels.shape[1:],
        "made": recipe,
        "precision": precision,
        "threads": torch.get_num_threads(),
    }
    name = hashlib.sha256(json.dumps(preprocessing, sort_keys=True).encode()).hexdigest()[:32]
    result = np.empty((len(rows), views.count, encoder.width), np.float32)
    with closing(_Store(cache / "embeddings" / f"{name}.sqlite")) as store:
        known = [store.read(views.name(number), digests, result[:, number]) for number in range(views.count)]
        missing = np.argwhere(~np.array(known))  # (number of the view, place of the image), view by view
        for start in range(0, len(missing), _BATCH):
            numbers, places = missing[start : start + _BATCH].T
            keys = [(int(number), digests[place]) for number, place in zip(numbers, places, strict=True)]
            by_number = groupby(keys, lambda key: key[0])
            augmentations = concatenate([views.of([each for _, each in same], number) for number, same in by_number])
            computed = _compute(encoder, pixels[rows[places]], augmentations, precision)
            result[places, numbers] = computed
            store.write([(views.name(number), image) for number, image in keys], computed)
            if progress is not None:
                progress(start + len(keys), len(missing))
    return result


def _compute(encoder: FrozenEncoder, pixels: np.ndarray, views: Augmentations, precision: str) -> np.ndarray:
    fill = torch.arange(_BATCH).clamp(max=len(pixels) - 1)
    images = apply_augmentation(
        torch.from_numpy(pixels)[fill], views[fill], encoder.config.input_size, encoder.config.crop
    )
    return encoder.embed(images, precision)[: len(pixels)].cpu().numpy()


class _Store:
    """Vectors by (view, image) in an SQLite file, which several processes may read and write at once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(file, timeout=120)
            self.connection.execute("PRAGMA journal_mode=WAL")
            self.connection.execute("PRAGMA synchronous=NORMAL")
            with self.connection:
                self.connection.execute(
                    "CREATE TABLE IF NOT EXISTS vectors "
                    "(view TEXT, image TEXT, vector BLOB, PRIMARY KEY (view, image)) WITHOUT ROWID"
                )
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def read(self, view: str, images: Sequence[str], into: np.ndarray) -> np.ndarray:
        """Fill `into` [N, width] with what is known; returns which rows are, bool [N]."""
        found: dict[str, bytes] = {}
        for start in range(0, len(images), 500):
            part = list(images[start : start + 500])
            marks = ",".join("?" * len(part))
            query = f"SELECT image, vector FROM vectors WHERE view = ? AND image IN ({marks})"
            found.update(self.connection.execute(query, [view, *part]).fetchall())
        known = np.zeros(len(images), bool)
        for place, image in enumerate(images):
            if image in found:
                into[place] = np.frombuffer(found[image], np.float32)
                known[place] = True
        return known

    def write(self, keys: Sequence[tuple[str, str]], vectors: np.ndarray) -> None:
        """Store a vector [width] for each (view, image)."""
        rows = [(*key, vector.tobytes()) for key, vector in zip(keys, vectors.astype(np.float32), strict=True)]
        try:
            with self.connection:
                self.connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> UserError:
        return disk_error(error, f"{self.file}: embeddings could not be stored")

    def close(self) -> None:
        self.connection.close()
