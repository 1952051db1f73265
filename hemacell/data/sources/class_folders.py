"""Folders named after classes, in any case and depth, divided in splits or not: how most laboratories keep cells."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hemacell.core.errors import UserError
from hemacell.data.images import UnreadableImage, read_rgb
from hemacell.data.manifest import Skipped
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.layout import pairs_of_endings, read_layout
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.walk import Found, is_image_file, walk

_LOOKED_AT = 2_000  # folders, before it is decided whether a folder holds class folders
_MASK_LEVELS = 8  # grey values that a mask has at most


@source("class folders", jobs=("wbc",))
class ClassFolders(Source):
    """`<Class>/`, `Train/<class>s/`, `images/TEST/<CLASS>/<patient>/`, …; see `layout.read_layout`."""

    general = True

    @classmethod
    def matches(cls, root: Path) -> bool:
        if not root.is_dir():
            return False
        return len({place.label for place in read_layout(_one_image_per_folder(root)).places}) > 1

    def listing(self, options: SourceOptions) -> Listing:
        self.refuse(options)
        return list_folder(self.root, self.root.name, self.root)


def list_folder(folder: Path, name: str, root: Path) -> Listing:
    """All images in the class folders below a folder.

    Args:
        folder: to read.
        name: short, for titles.
        root: that paths are shown relative to.

    Raises:
        UserError: no such folder, or no images in it.
    """
    found = walk(folder)
    masks = _masks_by_ending(found)
    layout = read_layout(path for path in found.images if path not in masks)
    beside = {os.path.splitext(mask)[0]: mask for mask in masks}
    items = [
        Item(
            str(folder / place.path),
            place.label,
            place.split,
            place.group,
            _absolute(folder, place.mask or beside.get(os.path.splitext(place.path)[0], "")),
        )
        for place in layout.places
    ]
    skipped = [
        *found.skipped,
        *(Skipped(path, "image outside of the class folders") for path in layout.outside),
        *(Skipped(path, "mask without an image") for path in layout.unused_masks),
    ]
    if not items:
        what = ", ".join(f"{count} {reason}" for reason, count in list(found.reasons().items())[:4])
        other = f"{len(layout.outside)} images outside of class folders" if layout.outside else what or "no files"
        raise UserError(f"no class folders with images in {folder}: expected <Class>/… at any depth, found {other}")
    if any(item.split for item in items):
        divided = [item for item in items if item.split]
        skipped += [Skipped(item.path, "image outside of the splits") for item in items if not item.split]
        items = divided
    return Listing(name, root, items, skipped, _notes(items, layout.unused_masks))


def _notes(items: Iterable[Item], unused_masks: list[str]) -> list[str]:
    notes = []
    masks = sum(bool(item.mask) for item in items)
    if masks or unused_masks:
        notes.append(f"{masks} of {masks + len(unused_masks)} masks belong to an image")
    if groups := {item.group for item in items if item.group}:
        notes.append(f"{len(groups)} groups (patients or slides) by the folders' names")
    return notes


def _absolute(folder: Path, path: str) -> str:
    return str(folder / path) if path else ""


def _masks_by_ending(found: Found) -> set[str]:
    """The masks among files of one name and two endings, such as `001.bmp` and `001.png`; told by their pixels."""
    masks: set[str] = set()
    for endings, stems in pairs_of_endings(found.images).items():
        for ending in endings:
            if all(_is_mask(found.root / f"{stem}{ending}") for stem in stems[:3]):
                masks.update(f"{stem}{ending}" for stem in stems)
                break
    return masks


def _is_mask(path: Path) -> bool:
    """Whether an image has few values, all grey."""
    try:
        pixels = np.asarray(read_rgb(path))
    except UnreadableImage:
        return False
    grey = (pixels == pixels[..., :1]).all()
    return bool(grey) and len(np.unique(pixels[..., 0])) <= _MASK_LEVELS


def _one_image_per_folder(root: Path) -> list[str]:
    """One image of each of the first folders, relative to the root."""
    chosen = []
    for number, (folder, folders, files) in enumerate(os.walk(root, followlinks=False)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if number >= _LOOKED_AT:
            break
        inside = Path(folder).relative_to(root)
        name = next((name for name in files if is_image_file(Path(folder, name))), None)
        if name:
            chosen.append((inside / name).as_posix())
    return chosen
