"""Image files without labels: tiles for the pretraining of an autoencoder."""

from __future__ import annotations

import re
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.walk import is_image_file, walk

# A TCGA barcode's first three fields name the patient.
_PATIENT = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE)
# <name>_<n>_<x>_<y>: pieces of the field of view n.
_FIELD = re.compile(r"(.+_\d+)_\d+_\d+")


@source("a folder of tiles", jobs=("prcc",))
class TileFolder(Source):
    """Images at any depth, grouped by the patient or field that their names hold."""

    general = True

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether images lie in the folder itself: deeper ones could be labelled cells."""
        return root.is_dir() and any(is_image_file(path) for path in root.iterdir() if not path.is_dir())

    def listing(self, options: SourceOptions) -> Listing:
        self.refuse(options)
        return list_tiles(self.root, self.root.name, self.root.parent)


def list_tiles(folder: Path, name: str, root: Path) -> Listing:
    """All images below a folder, without labels and splits.

    The group is the patient where the name holds a TCGA barcode, the field where it ends in `_<n>_<x>_<y>`.

    Raises:
        UserError: no images.
    """
    found = walk(folder)
    if not found.images:
        raise UserError(f"no images in {folder}: expected image files at any depth, found {found.other_files()}")
    items = [Item(str(folder / path), group=prcc_group(Path(path).stem)) for path in found.images]
    return Listing(name, root, items, found.skipped, labelled=False)


def prcc_group(stem: str) -> str:
    """The patient or field of view that a tile's name holds; '' where it holds neither."""
    if patient := _PATIENT.search(stem):
        return patient.group().upper()
    field = _FIELD.fullmatch(stem)
    return field.group(1) if field else ""
