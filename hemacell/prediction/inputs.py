"""What is to be classified: a folder of images, an archive, a table of paths, or one image. Nothing is decoded here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hemacell.core.errors import UserError
from hemacell.core.text import did_you_mean
from hemacell.data.boxes import Box, box_of_texts, split_box, with_box
from hemacell.data.images import bits_in_words, camera_bits
from hemacell.data.manifest import Account, Skipped
from hemacell.data.mask_files import find_masks
from hemacell.data.sources.archive import is_archive, opened
from hemacell.data.sources.sample import lies_in_sample
from hemacell.data.tables import TABLES, open_table, place_of, require_some_file
from hemacell.data.walk import is_image_file, walk
from hemacell.fields.reasons import CUT_OFF, SMUDGE

#: The columns of an output with cells of fields, after `image`.
BOX_COLUMNS = ("x0", "y0", "x1", "y1")
#: The smear of all images where no smears are named, and of single images that belong to no named smear.
ALL, UNNAMED = "all", "."


@dataclass(frozen=True, eq=False)
class Inputs:
    """N images in the order of the predictions. Texts, not `Path` objects, which would be five times as large."""

    source: Path
    """the folder, archive, table or image file, absolute"""
    root: Path
    """the folder that relative paths start from; of an archive, the one with its content"""
    names: list[str]
    """N names for the column `image`: as the table gives them, or relative to the folder"""
    places: list[str]
    """N paths of files or boxes in them (see `boxes`), relative to the root or absolute; '' where a table gives none"""
    smears: list[str]
    """N names of the smears that the cells are from"""
    account: Account = field(default_factory=Account)
    """what was passed over"""
    cells: CellsInFields | None = None
    """where in fields the images are, where they were found there"""

    def summary(self) -> str:
        """What was found, taken and passed over, in one line."""
        smears = f" of {len(set(self.smears))} smears" if len(set(self.smears)) > 1 else ""
        depth = [bits_in_words(self.bits)] if self.bits else []
        what = self.cells.in_words() if self.cells else f"{len(self)} images"
        return "; ".join([f"{what}{smears} in {self.source}", *self.account.in_words(), *depth])

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def bits(self) -> int | None:
        """Depth of the camera, see `images.camera_bits`; reads the first bytes of all files."""
        if self.cells:
            return self.cells.fields.bits
        files = {split_box(str(self.path(number)))[0] for number in range(len(self)) if self.places[number]}
        return camera_bits(file for file in files if "\0" not in file and os.path.isfile(file))

    def path(self, number: int) -> Path | None:
        """Where an image lies; None without a path."""
        place = self.places[number]
        return self.root / place if place else None

    def kind(self) -> Literal["sample", "folder"]:
        """`sample` where all of them lie in a sample that this package drew; `folder` for anything else."""
        if self.source.is_dir() or is_archive(self.source):
            folders = {self.root}
        else:  # a table may name images of several folders; no path has a zero byte
            folders = {(self.root / place).parent for place in self.places if place and "\0" not in place}
        return "sample" if folders and all(map(lies_in_sample, folders)) else "folder"

    def digest(self) -> str:
        """sha256 (hex) of the names, smears, sizes and modification times: other or changed files give another one.

        The files are not read, which would take as long as classifying them.
        """
        digest = hashlib.sha256()
        archive = _state(self.source) if is_archive(self.source) else ""  # its files may be unpacked anew at any time
        for number, (name, smear) in enumerate(zip(self.names, self.smears, strict=True)):
            digest.update(f"{name}\0{smear}\0{archive or _state(self.path(number))}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class CellsInFields:
    """Where N images were found."""

    fields: Inputs
    """the fields"""
    field: NDArray[np.int64]
    """[N], the number of the field that each is in"""
    number: NDArray[np.int64]
    """[N], the number of each among what was found (see `fields.found_cells`); -1 for a field that cannot be read"""
    boxes: NDArray[np.float64]
    """[N, 4], x0, y0, x1, y1 in pixels of the field; NaN for a field that cannot be read"""
    whys: Sequence[str]
    """N reasons, of `fields.reasons.REASONS`, why each is no usual cell; '' for those that are"""

    def columns(self, rows: range) -> dict[str, pd.Series]:
        """The boxes of some rows as columns of a table, in whole pixels; empty for a field that cannot be read."""
        boxes = np.round(self.boxes[rows.start : rows.stop])
        return {name: pd.Series(boxes[:, side]).astype("Int64") for side, name in enumerate(BOX_COLUMNS)}

    def in_words(self) -> str:
        """How many, in how many fields."""
        return f"{(self.number >= 0).sum()} cells in {len(self.fields)} fields"

    def doubt(self, row: int) -> str:
        """Why a cell needs review, by how it lies in its field: a part is missing, or it is destroyed."""
        return self.whys[row] if self.whys[row] in (CUT_OFF, SMUDGE) else ""

    def remark(self, row: int) -> str:
        """What else is to be said of it."""
        return "" if self.doubt(row) else self.whys[row]


def read_inputs(images: str) -> Inputs:
    """Find the images that the user named.

    Args:
        images: a folder, or a .zip of one, searched at any depth, its images sorted by name (the first-level folder is
            the smear); a table (see `tables`) with a column `image` or `path`, absolute or relative to its folder, and
            perhaps columns of boxes (each is a cell) and a column `smear` or `slide`, in the table's order; or one
            image file.

    Raises:
        UserError: no such file or folder, no images in it, another kind of file, an archive that cannot be unpacked, a
            table without that column, without rows, without any file that is there or any box in pixels, or that cannot
            be read.
    """
    source = Path(images).expanduser().absolute()
    suffix = source.suffix.lower()
    if source.is_dir() or is_archive(source):
        return _folder(source)
    if not source.exists():
        above = source.parent
        near = [path.name for path in above.iterdir()] if above.is_dir() else []
        hint = did_you_mean(source.name, near) if above.is_dir() else f"; {above} does not exist either"
        raise UserError(f"images={images}: no such file or folder{hint}")
    if suffix in TABLES:
        return _table(source)
    if is_image_file(source):
        return Inputs(source, source.parent, [_text(source.name)], [source.name], [ALL])
    raise UserError(
        f"images={images}: expected a folder, a .zip, a table ({' or '.join(TABLES)}) or an image, "
        f"found a file that ends in {suffix or 'nothing'}; name the folder with the images"
    )


def inputs_of_files(root: Path, files: Sequence[Path]) -> Inputs:
    """Files in a folder as images; the first-level folder is the smear."""
    places = [file.relative_to(root).as_posix() for file in files]
    return Inputs(root, root, [_text(place) for place in places], places, _smears(places))


def _smears(places: Sequence[str]) -> list[str]:
    tops = [place.split("/")[0] if "/" in place else UNNAMED for place in places]
    return [ALL] * len(tops) if set(tops) == {UNNAMED} else [_text(top) for top in tops]


def _folder(source: Path) -> Inputs:
    root = opened(source)
    found = walk(root)
    masks = find_masks(found)
    places = masks.images
    if not places:
        what = f"{len(masks.unused)} masks" if masks.unused else found.other_files()
        raise UserError(
            f"no images in {source}: expected image files at any depth, found {what}; name the folder with the images"
        )
    skipped = [*found.skipped, *(Skipped(path, "mask") for path in (*masks.of_image.values(), *masks.unused))]
    return Inputs(source, root, [_text(place) for place in places], places, _smears(places), Account(skipped))


def _table(source: Path) -> Inputs:
    table = open_table(source)
    smear = next(iter(table.find("smear")), "")
    columns, corners = table.box_columns()
    names, smears, *sides = table.texts([table.image_column(), smear, *columns])
    places = [place_of(source.parent, name) for name in names]
    require_some_file(source, source.parent, [split_box(place)[0] for place in places])
    if columns:
        boxes = [box_of_texts(texts, corners) for texts in zip(*sides, strict=True)]
        if not any(boxes):
            shown = ", ".join(columns)
            raise UserError(f"{source}: expected boxes in pixels in the columns {shown}, found none; correct them")
        # A row without a box stays, with the reason.
        names, places = (
            [_boxed(text, box) for text, box in zip(texts, boxes, strict=True)] for texts in (names, places)
        )
    smears = [text or UNNAMED for text in smears] if smear else [ALL] * len(names)
    return Inputs(source, source.parent, names, places, smears)


def _boxed(path: str, box: Box | None) -> str:
    return with_box(path, box or Box(0, 0, 0, 0)) if path else ""


def _text(place: str) -> str:
    """A file's name as text that can be written: bytes that are not UTF-8 are replaced."""
    return os.fsencode(place).decode("utf-8", "replace")


def _state(path: Path | None) -> str:
    try:
        known = os.stat(split_box(str(path))[0]) if path else None
    except (OSError, ValueError):
        known = None
    return f"{known.st_size} {known.st_mtime_ns}" if known else ""
