"""Images decoded once into a uint8 array on disk, memory-mapped ever after."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.core.files import atomic_folder, atomic_write, disk_error, require_space
from hemacell.core.threads import available_cores
from hemacell.data.boxes import read_mask_path, read_path
from hemacell.data.images import UnreadableImage, inside, keep_inside, to_square
from hemacell.data.manifest import SPLITS, Manifest

CACHE_VERSION = 3  # raise it whenever the same files would give other pixels
_CHUNK = 256  # images in flight: bounds the memory whatever the number of images
_WHOLE = "whole {}"  # name of the recipe of `decode`

Progress = Callable[[int, int], None]


#: What names a row: the paths of its image and of the mask that is applied to it.
RowKey = tuple[str, str]


@dataclass(frozen=True)
class _Recipe:
    """How pictures are made of an image."""

    name: str
    """Part of the key of what is stored."""
    size: int
    most: int
    """Pictures of one image, at most."""
    cut: Callable[[Image.Image, RowKey], tuple[list[np.ndarray], str]]
    """The pictures, and what is to be said of them; '' for nothing."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pixels and the rows that they belong to."""

    array: np.ndarray
    """uint8 [N, size, size, 3], a read-only memory map."""
    manifest: Manifest
    """N rows in the order of the array: sorted by content, those that cannot be read dropped."""
    bad: list[tuple[str, str]]
    """(path, reason) of every image that cannot be read."""
    image: np.ndarray
    """int64 [N], number of the image that a row was cut from; pieces of one image share it."""
    notes: dict[str, int] = field(default_factory=dict)
    """How unusual files were read -> their number, such as 'the first of 3 pages is used'."""
    folder: Path | None = None
    """Where the array is stored: what else is computed from it may lie there. None for pixels made in memory."""
    sides: np.ndarray | None = None
    """int64 [N], shorter side of each row's image (or part of one), in its pixels. None for pixels made in memory."""
    recipe: str = ""
    """How the pixels were made of the images, beside their size: '' for the central square."""

    def __len__(self) -> int:
        return len(self.array)

    def rows(self, manifest: Manifest) -> np.ndarray:
        """Positions in the array of the rows of a draw or split of the same images, int64 [len(manifest)].

        Draw and split `self.manifest`, which has only readable images, and ask here where they lie.

        Raises:
            ValueError: a row was not decoded here, or is held as several pieces.
        """
        if len(self) and int(self.image[-1]) + 1 != len(self):
            raise ValueError("images cut in pieces have several rows each: select by `image`")
        where = {key: position for position, key in enumerate(_keys(self.manifest))}
        try:
            return np.array([where[key] for key in _keys(manifest)], dtype=np.int64)
        except KeyError as error:
            raise ValueError(f"not among the decoded images: {error.args[0][0]}") from None

    def derived(self, name: str, width: int, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """What is computed of the pixels, [N, width]: stored beside them, and read back ever after.

        Args:
            name: of the file, with the version of what computes it.
            width: numbers per picture.
            compute: gives them.

        Raises:
            UserError: the disk is full or read-only.
        """
        if self.folder is None:
            return compute()
        file = self.folder / f"{name}.npy"
        held = _array_of(file)
        if held is not None and held.shape == (len(self), width):
            return held
        computed = compute()
        try:
            with atomic_write(file) as temporary:
                np.save(temporary, computed)
        except OSError as error:
            raise disk_error(error, f"cannot store what is computed of images in {file}") from error
        return computed

    def rows_of_splits(self) -> dict[str, np.ndarray]:
        """Split -> positions of its rows in the array, int64."""
        return {split: np.flatnonzero(self.manifest.table["split"] == split) for split in SPLITS}


def _array_of(file: Path) -> np.ndarray | None:
    """What is stored, or None where it is missing or damaged."""
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


class _Result(NamedTuple):
    pieces: list[np.ndarray]
    reason: str
    """Why the image is bad; '' for a good one."""
    notes: tuple[str, ...] = ()
    """How an unusual file was read, what the recipe says."""
    side: int = 0
    """Of the image, in pixels."""


def decode(
    manifest: Manifest,
    size: int,
    cache: Path,
    max_bad: float = 0.01,
    progress: Progress | None = None,
) -> Decoded:
    """Decode every row to size x size pixels: central square, then an antialiased bilinear resize.

    Rows with a mask have the background's colour outside it; those whose mask is empty are left out, as nothing of
    them would remain. Splits and labels are not part of what is stored: another split or draw of the same images is
    read back. Two processes may decode the same images at once.

    Args:
        manifest: the rows.
        size: side of the pictures in pixels.
        cache: the folder for arrays, made where it is missing; a `decoded` folder in it is used.
        max_bad: share of rows, 0 to 1, that may be unreadable.
        progress: called with (rows done, all rows).

    Raises:
        UserError: too many unreadable images, a mask of another size than its image, a full or read-only disk.
    """
    recipe = _Recipe(_WHOLE.format(size), size, most=1, cut=partial(_whole, size=size))
    return _stored(manifest, recipe, cache, max_bad, progress)


def tile_pieces(
    manifest: Manifest,
    size: int,
    cache: Path,
    per_tile: int = 4,
    max_bad: float = 0.01,
    progress: Progress | None = None,
) -> Decoded:
    """Like `decode`, but a large tile gives several pieces in its own resolution.

    A tile whose shorter side exceeds 2 * size is cut into up to `per_tile` pieces of size x size, evenly spread and
    without overlap; a smaller one is resized as a whole. The pieces of a tile have its row (so its group and split)
    and its number in `Decoded.image`.
    """
    if per_tile < 1:
        raise UserError(f"per_tile={per_tile}: expected 1 or more pieces a tile")
    recipe = _Recipe(f"pieces {size} {per_tile}", size, per_tile, cut=partial(_pieces, size=size, per_tile=per_tile))
    return _stored(manifest, recipe, cache, max_bad, progress)


def decode_pictures(
    manifest: Manifest,
    make: Callable[[Image.Image, RowKey], tuple[np.ndarray, str]],
    recipe: str,
    size: int,
    cache: Path,
    max_bad: float = 0.01,
    progress: Progress | None = None,
) -> Decoded:
    """Like `decode`, with another way to make a picture of an image.

    Args:
        make: takes an RGB image and its row's paths of image and mask; gives uint8 [size, size, 3] and what is to be
            said of the picture, '' for nothing. Called in threads.
        recipe: names `make` with all that decides its result, but for image and size: equal names must mean equal
            pixels.
        manifest, size, cache, max_bad, progress: see `decode`.
    """

    def cut(image: Image.Image, key: RowKey) -> tuple[list[np.ndarray], str]:
        picture, note = make(image, key)
        return [picture], note

    return _stored(manifest, _Recipe(f"{recipe} {size}", size, most=1, cut=cut), cache, max_bad, progress)


# --- pixels of one row


def _whole(image: Image.Image, key: RowKey, size: int) -> tuple[list[np.ndarray], str]:
    return [to_square(image, size)], ""


def _pieces(image: Image.Image, key: RowKey, size: int, per_tile: int) -> tuple[list[np.ndarray], str]:
    if min(image.size) <= 2 * size:
        return _whole(image, key, size)
    side = int(np.ceil(np.sqrt(per_tile)))
    across, down = min(side, image.width // size), min(side, image.height // size)
    cells = [(x, y) for y in range(down) for x in range(across)]
    chosen = np.linspace(0, len(cells) - 1, min(per_tile, len(cells))).round().astype(int)
    # The centre of the i-th of n equal strips, less half a piece.
    corners = [
        (round((x + 0.5) * image.width / across - size / 2), round((y + 0.5) * image.height / down - size / 2))
        for x, y in (cells[number] for number in chosen)
    ]
    return [np.asarray(image.crop((left, top, left + size, top + size))) for left, top in corners], ""


def read_row(manifest: Manifest, row: int) -> Image.Image:
    """The RGB image of a row, without its mask applied. Raises UnreadableImage."""
    return _image(manifest, manifest.table["path"].iat[row])[0]


def _image(manifest: Manifest, path: str) -> tuple[Image.Image, str]:
    return (manifest.read(path), "") if manifest.read else read_path(path, manifest.bits)


def _read(row: RowKey, recipe: _Recipe, manifest: Manifest) -> _Result:
    path, mask_path = row
    try:
        image, note = _image(manifest, path)
    except UnreadableImage as error:
        return _Result([], str(error))
    if mask_path:
        try:
            mask = read_mask_path(mask_path, image.size)
        except UnreadableImage as error:
            return _Result([], f"its mask {error}")
        if not inside(mask).any():
            return _Result([], "")
        image = keep_inside(image, mask)
    pieces, said = recipe.cut(image, row)
    return _Result(pieces, "", tuple(filter(None, (note, said))), min(image.size))


# --- the files: <cache>/decoded/<key>/{pixels.npy,rows.json}


def _stored(manifest: Manifest, recipe: _Recipe, cache: Path, max_bad: float, progress: Progress | None) -> Decoded:
    if not 0 <= max_bad <= 1:
        raise UserError(f"max_bad={max_bad}: expected a share from 0 to 1, such as 0.01")
    if recipe.size < 1:
        raise UserError(f"size={recipe.size}: expected 1 or more pixels")
    manifest = _by_content(manifest)
    folder = Path(cache) / "decoded" / _key(manifest, recipe)
    held = _read_back(folder)
    if held is None:
        try:
            _write(manifest, recipe, folder, max_bad, progress)
        except OSError as error:
            raise disk_error(error, f"cannot store decoded images in {folder.parent}") from error
        held = _read_back(folder)
    if held is None:
        raise UserError(f"{folder} was written and cannot be read back: check the disk, or set HEMACELL_CACHE")
    named = _with_paths(manifest, held.bad)
    _check_bad(named, len(manifest), max_bad)
    numbers = np.unique(held.rows, return_inverse=True)[1].astype(np.int64)
    name = "" if recipe.name == _WHOLE.format(recipe.size) else recipe.name
    return Decoded(held.array, manifest.select(held.rows), named, numbers, held.notes, folder, held.sides, name)


def _keys(manifest: Manifest) -> Iterator[RowKey]:
    return zip(manifest.table["path"], manifest.table["mask"], strict=True)


def _by_content(manifest: Manifest) -> Manifest:
    """In the one order in which the same images are always stored."""
    table = manifest.table
    keys = list(zip(table["sha256"], table["label"], table["path"], strict=True))
    return manifest.select(sorted(range(len(keys)), key=keys.__getitem__))


def _key(manifest: Manifest, recipe: _Recipe) -> str:
    name = f"{recipe.name} of {manifest.bits} bits" if manifest.bits else recipe.name
    lines = [f"recipe {CACHE_VERSION}", name, *manifest.table["sha256"]]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:40]


class _Stored(NamedTuple):
    """What is read back."""

    array: np.ndarray
    rows: np.ndarray
    bad: list[tuple[int, str]]
    notes: dict[str, int]
    sides: np.ndarray


def _read_back(folder: Path) -> _Stored | None:
    """What is stored, or None where it is missing or damaged."""
    try:
        stored = json.loads((folder / "rows.json").read_text())
        rows, sides = (np.array(stored[name], dtype=np.int64) for name in ("rows", "sides"))
        bad = [(row, reason) for row, reason in stored["bad"]]
        notes, shape = dict(stored["notes"]), tuple(stored["shape"])
        if shape[0] == 0:  # an empty file cannot be mapped
            return _Stored(np.zeros(shape, np.uint8), rows, bad, notes, sides)
        array = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError):
        return None
    whole = array.shape == shape and len(rows) == len(sides) == len(array)
    return _Stored(array, rows, bad, notes, sides) if whole else None


def _write(manifest: Manifest, recipe: _Recipe, folder: Path, max_bad: float, progress: Progress | None) -> None:
    """Decode into a temporary folder and rename it at the end, so that no process reads a half-written array."""
    size = recipe.size
    with atomic_folder(folder, lambda there: _read_back(there) is not None) as temporary:
        require_space(temporary, len(manifest) * recipe.most * size * size * 3)
        rows: list[int] = []
        sides: list[int] = []
        bad: list[tuple[int, str]] = []
        notes: Counter[str] = Counter()
        with open(temporary / "pixels.npy", "wb") as file:
            _write_header(file, (0, size, size, 3))
            for number, result in enumerate(_results(manifest, recipe, progress)):
                if result.reason:
                    bad.append((number, result.reason))
                notes.update(result.notes)
                for piece in result.pieces:
                    file.write(np.ascontiguousarray(piece).tobytes())
                    rows.append(number)
                    sides.append(result.side)
            # The header is as long for any count: numpy leaves room for it to grow.
            file.seek(0)
            _write_header(file, (len(rows), size, size, 3))
            file.flush()
            os.fsync(file.fileno())
        _check_bad(_with_paths(manifest, bad), len(manifest), max_bad)
        stored = {"shape": [len(rows), size, size, 3], "rows": rows, "sides": sides, "bad": bad, "notes": notes}
        (temporary / "rows.json").write_text(json.dumps(stored))


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _results(manifest: Manifest, recipe: _Recipe, progress: Progress | None) -> Iterator[_Result]:
    rows = list(_keys(manifest))
    with ThreadPoolExecutor(available_cores()) as pool:  # Pillow decodes without the interpreter's lock
        for start in range(0, len(rows), _CHUNK):
            yield from pool.map(partial(_read, recipe=recipe, manifest=manifest), rows[start : start + _CHUNK])
            if progress:
                progress(min(start + _CHUNK, len(rows)), len(rows))


def _with_paths(manifest: Manifest, bad: list[tuple[int, str]]) -> list[tuple[str, str]]:
    return [(manifest.table["path"].iat[row], reason) for row, reason in bad]


def _check_bad(bad: list[tuple[str, str]], total: int, max_bad: float) -> None:
    if len(bad) > max_bad * total:
        first = "; ".join(f"{path} {reason}" for path, reason in bad[:3])
        raise UserError(
            f"{len(bad)} of {total} images cannot be read, more than max_bad={max_bad:g} allows: {first}"
            f"{' ...' if len(bad) > 3 else ''} - repair or remove them, or raise max_bad"
        )
