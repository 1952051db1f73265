"""Folders named after classes, in any case and depth, divided in splits or not: how most laboratories keep cells."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.data.manifest import Skipped
from hemacell.data.mask_files import find_masks
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.layout import read_layout
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.walk import is_image_file, walk

_LOOKED_AT = 2_000  # folders, before it is decided whether a folder holds class folders


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
    masks = find_masks(found)
    layout = read_layout(masks.images)
    items = [
        Item(
            os.path.join(folder, place.path),
            place.label,
            place.split,
            place.group,
            os.path.join(folder, masks.of_image[place.path]) if place.path in masks.of_image else "",
        )
        for place in layout.places
    ]
    skipped = [
        *found.skipped,
        *(Skipped(path, "image outside of the class folders") for path in layout.outside),
        *(Skipped(path, "mask without an image") for path in masks.unused),
    ]
    if not items:
        other = f"{len(layout.outside)} images outside of class folders" if layout.outside else found.other_files()
        raise UserError(f"no class folders with images in {folder}: expected <Class>/… at any depth, found {other}")
    if any(item.split for item in items):
        divided = [item for item in items if item.split]
        skipped += [Skipped(item.path, "image outside of the splits") for item in items if not item.split]
        items = divided
    return Listing(name, root, items, skipped, _notes(items, masks.unused))


def _notes(items: Iterable[Item], unused_masks: list[str]) -> list[str]:
    notes = []
    masks = sum(bool(item.mask) for item in items)
    if masks or unused_masks:
        notes.append(f"{masks} of {masks + len(unused_masks)} masks belong to an image")
    if groups := {item.group for item in items if item.group}:
        notes.append(f"{len(groups)} groups (patients or slides) by the folders' names")
    return notes


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
