"""The course layout: a folder with up to three parts, each a source of its own.

    <root>/WBC_100/{train,val,test}/data/<Class>/        <root>/WBC_100/train/mask/<Class>/
    <root>/CAM16_100cls_10mask/{train,val,test}/{data,mask}/{normal,tumor}/
    <root>/pRCC_nolabel/…                                images at any depth

Each part is read as class folders are; only `train` is required.
"""

from __future__ import annotations

from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.core.text import did_you_mean
from hemacell.data.class_names import split_of
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.class_folders import list_folder
from hemacell.data.sources.listing import Listing
from hemacell.data.sources.tile_folder import list_tiles
from hemacell.data.walk import existing_folder

CAMELYON_FOLDER = "CAM16_100cls_10mask"
PRCC_FOLDER = "pRCC_nolabel"


@source("the course layout (cells)", jobs=("wbc",))
class CourseCells(Source):
    """`<root>/WBC_100/train/data/<Class>/`, or a part of another name, as `wbc_folder` says."""

    @classmethod
    def matches(cls, root: Path) -> bool:
        return any(path.is_dir() for path in root.glob("*/train/data"))

    def listing(self, options: SourceOptions) -> Listing:
        part = _part(self.root, options.wbc_folder, "wbc_folder")
        listing = list_folder(part, options.wbc_folder, self.root)
        if options.mask_from:
            listing.extra = [item for item in _extra(self.root, part, options).items if item.split == "train"]
        return listing


def _extra(root: Path, part: Path, options: SourceOptions) -> Listing:
    """Another part, whose training images and masked copies are added."""
    name = options.mask_from
    if not options.masks:
        raise UserError(f"mask_from={name} adds masked copies, but masks=off: type masks=on or mask_from=")
    extra = _part(root, name, "mask_from")
    if extra.resolve() == part.resolve():
        raise UserError(f"mask_from={name} is the folder of the cells themselves: name another one")
    listing = list_folder(extra, name, root)
    if not any(item.mask for item in listing.items if item.split == "train"):
        raise UserError(f"mask_from={name}: expected masks in {extra / 'train' / 'mask'}/<Class>, found none")
    return listing


@source("the course layout (patches)", jobs=("camelyon",))
class CoursePatches(Source):
    """`<root>/CAM16_100cls_10mask/train/data/{normal,tumor}/`."""

    @classmethod
    def matches(cls, root: Path) -> bool:
        return (root / CAMELYON_FOLDER).is_dir()

    def listing(self, options: SourceOptions) -> Listing:
        return list_folder(_part(self.root, CAMELYON_FOLDER), CAMELYON_FOLDER, self.root)


@source("the course layout (tiles)", jobs=("prcc",))
class CourseTiles(Source):
    """Images at any depth of `<root>/pRCC_nolabel`."""

    @classmethod
    def matches(cls, root: Path) -> bool:
        return (root / PRCC_FOLDER).is_dir()

    def listing(self, options: SourceOptions) -> Listing:
        return list_tiles(_part(self.root, PRCC_FOLDER), PRCC_FOLDER, self.root)


def _part(root: Path, name: str, setting: str = "") -> Path:
    """The folder of one part of the data."""
    part = existing_folder(root) / name
    if part.is_dir():
        return part
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if root.name == name or any(map(split_of, names)):
        raise UserError(f"expected a folder {name} in {root}, which is itself such a part; type {root.parent} instead")
    hint = did_you_mean(name, names) or (f"; type {setting}=FOLDER" if setting else "")
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    raise UserError(f"expected a folder {name} in {root}, found {', '.join(names[:6]) or 'no folders'}{more}{hint}")
