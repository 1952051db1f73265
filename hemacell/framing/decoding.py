"""Images of a set decoded as classifiers see them: its laboratory is estimated first, then every picture is framed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from hemacell.core.threads import available_cores, map_in_threads
from hemacell.data.boxes import path_size, read_mask_path
from hemacell.data.decoding import Decoded, RowKey, decode, decode_pictures
from hemacell.data.images import inside
from hemacell.data.manifest import Manifest
from hemacell.data.masks import checked_mask, square_mask
from hemacell.data.nucleus import SIDE
from hemacell.framing.description import Framing, Site
from hemacell.framing.frame import FRAMING_VERSION, cut_mask, frame, stain_gain, window_of
from hemacell.framing.site import Measured, measured_square

Progress = Callable[[int, int], None]
#: Gives what a step reports its progress to.
Reports = Callable[[str], Progress]

_COLUMNS = 11  # of what is stored: x, y, diameter, glass and density in red, green, blue, cut off, neighbour
_NOWHERE = (np.nan, np.nan)
_CHUNK = 256  # pictures between two reports of progress


@dataclass(frozen=True, eq=False)
class FramedImages:
    """Images as a classifier sees them."""

    decoded: Decoded
    """the framed pictures; the central squares where there is no framing"""
    whole: Decoded
    """their central squares, perhaps small; the same rows"""
    site: Site | None = None
    """their laboratory; None where there is no framing"""
    framing: Framing | None = None
    measured: Sequence[Measured] = ()
    """of each row, where there is a framing"""

    def mask(self, row: int) -> np.ndarray:
        """The mask of a row's image as it lies in its picture: float32 [S, S], the share of each pixel that is inside.

        Raises:
            UserError: the mask has another size than its image.
            UnreadableImage: it cannot be read, or nothing is inside.
        """
        mask, image = self.decoded.manifest.table[["own_mask", "path"]].iloc[row]
        size = self.decoded.array.shape[1]
        if self.framing is None or self.site is None:
            return square_mask(mask, image, size)
        pixels = path_size(image)
        window = window_of(pixels, self.measured[row].center, self.site, self.framing)
        return checked_mask(cut_mask(inside(read_mask_path(mask, pixels)), window, size))


def measure_images(
    manifest: Manifest, cache: Path, max_bad: float = 0.01, progress: Reports | None = None
) -> tuple[Decoded, list[Measured]]:
    """Read each image small, and find its nucleus; both are stored and read back ever after.

    Args:
        manifest, cache, max_bad: see `hemacell.data.decoding.decode`.
        progress: see `Reports`.

    Returns:
        The small pictures, whose manifest has the images that can be read, and what was measured of each.

    Raises:
        UserError: too many cannot be read, a full or read-only disk.
    """
    small = decode(manifest, SIDE, cache, max_bad, progress("decoding") if progress else None)
    assert small.sides is not None  # it was decoded from files
    report = progress("finding nuclei") if progress else None
    numbers = small.derived(f"nuclei-{FRAMING_VERSION}-{_COLUMNS}", _COLUMNS, lambda: _numbers(small, report))
    return small, [
        Measured((x, y) if diameter else None, diameter, (r, g, b), (dr, dg, db), side, bool(cut), bool(neighbour))
        for (x, y, diameter, r, g, b, dr, dg, db, cut, neighbour), side in zip(
            numbers.tolist(), small.sides.tolist(), strict=True
        )
    ]


def decode_framed(
    small: Decoded,
    found: Sequence[Measured],
    site: Site,
    framing: Framing,
    size: int,
    cache: Path,
    progress: Progress | None = None,
) -> FramedImages:
    """Decode images framed, see `hemacell.framing.frame.frame`; what is wrong with some is counted in the notes.

    Args:
        small, found: of `measure_images`.
        site: their laboratory.
        framing: how.
        size: side of the framed pictures in pixels.
        cache, progress: see `hemacell.data.decoding.decode`.
    """
    table = small.manifest.table
    of_row = dict(zip(zip(table["path"], table["mask"], strict=True), found, strict=True))

    def make(image: Image.Image, key: RowKey) -> tuple[np.ndarray, str]:
        framed = frame(image, site, framing, size, of_row[key])
        return framed.pixels, framed.why

    scale, gain = site.model_dump(include={"diameter", "unit"}), stain_gain(site, framing).round(6).tolist()
    recipe = f"framed {FRAMING_VERSION} with flaws {framing.model_dump_json(exclude={'density'})} {scale} {gain}"
    decoded = decode_pictures(small.manifest, make, recipe, size, cache, 1.0, progress)
    return FramedImages(replace(decoded, bad=[*small.bad, *decoded.bad]), small, site, framing, found)


def _numbers(small: Decoded, progress: Progress | None) -> np.ndarray:
    """What is measured of each small picture, float64 [N, `_COLUMNS`]; NaN for what is not found."""
    numbers = np.full((len(small), _COLUMNS), np.nan)
    for start in range(0, len(small), _CHUNK):
        part = slice(start, start + _CHUNK)
        some = map_in_threads(lambda square: measured_square(square, 0), small.array[part], available_cores())
        numbers[part] = [
            (
                *(each.center or _NOWHERE),
                each.diameter,
                *each.glass,
                *each.density,
                each.is_cut_off,
                each.has_neighbour,
            )
            for each in some
        ]
        if progress:
            progress(min(start + _CHUNK, len(small)), len(small))
    return numbers
