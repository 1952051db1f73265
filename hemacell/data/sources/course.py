"""The course layout: a folder with up to three parts, each a source of its own, read into a manifest.

    <root>/WBC_100/{train,val,test}/data/<Class>/        <root>/WBC_100/train/mask/<Class>/
    <root>/CAM16_100cls_10mask/{train,val,test}/{data,mask}/{normal,tumor}/
    <root>/pRCC_nolabel/…                                images at any depth

Only `train` is required; `val`, `test` and the masks may be missing.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.core.files import sha256_of_files
from hemacell.core.text import did_you_mean
from hemacell.data.images import SUFFIXES, UnreadableImage, check_mask_size, image_size, is_image
from hemacell.data.manifest import SPLITS, Manifest, Row
from hemacell.data.sources.base import WBC_FOLDER, Source, SourceOptions, source

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
CAMELYON_CLASSES = ("normal", "tumor")
CAMELYON_FOLDER = "CAM16_100cls_10mask"
PRCC_FOLDER = "pRCC_nolabel"

# A TCGA barcode's first three fields name the patient.
_PATIENT = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE)
# <name>_<n>_<x>_<y>: pieces of the field of view n.
_FIELD = re.compile(r"(.+_\d+)_\d+_\d+")


def wbc_manifest(root: Path, wbc_folder: str = WBC_FOLDER, masks: bool = True, mask_from: str = "") -> Manifest:
    """The white blood cells with the splits found on disk (see `splits.official_splits` for those that are missing).

    Args:
        root: the data folder.
        wbc_folder: name of the part with the cells.
        masks: add a masked copy of every training image that has a mask, as a new training image.
        mask_from: name (in root) or path of another folder of the same layout, whose training images and their masked
            copies are added to the training images; '' adds none.

    Raises:
        UserError: no such folder, another layout, a class folder missing, empty or unknown, a mask of another size.
    """
    root = Path(root).absolute()
    part = _part(root, wbc_folder, "wbc_folder")
    rows = _labelled(part, CLASSES, masks)
    if mask_from:
        if not masks:
            raise UserError(f"mask_from={mask_from} adds masked copies, but masks=off: type masks=on or mask_from=")
        extra = _part(root, mask_from, "mask_from")
        if extra.resolve() == part.resolve():
            raise UserError(f"mask_from={mask_from} is the folder of the cells themselves: name another one")
        if not (extra / "train" / "mask").is_dir():
            raise UserError(f"mask_from={mask_from}: expected masks in {extra / 'train' / 'mask'}/<Class>, found none")
        rows += _split_rows(extra, "train", CLASSES, masked=True, complete=False, source="extra")
    return Manifest.from_rows(rows, CLASSES, wbc_folder, root)


def tile_manifest(folder: Path, name: str, root: Path) -> Manifest:
    """Images without labels and without splits, at any depth of a folder, grouped by patient or field of view.

    The group is the patient where the name holds a TCGA barcode, the field where it ends in `_<n>_<x>_<y>`, else the
    image itself.

    Raises:
        UserError: no images.
    """
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if is_image(path) and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not paths:
        raise UserError(f"no images in {folder}: expected files that end in {' '.join(SUFFIXES)}, at any depth")
    rows = [
        Row(str(path), "", "", prcc_group(path.stem) or digest, "", digest, "original")
        for path, digest in zip(paths, sha256_of_files(paths), strict=True)
    ]
    return Manifest.from_rows(rows, (), name, root)


@source("the course layout (cells)", jobs=("wbc",))
class CourseCells(Source):
    """`<root>/WBC_100/train/data/<Class>/`, or a part of another name, as `wbc_folder` says."""

    classes = CLASSES

    @classmethod
    def matches(cls, root: Path) -> bool:
        return any(path.is_dir() for path in root.glob("*/train/data"))

    def manifest(self, options: SourceOptions) -> Manifest:
        return wbc_manifest(self.root, options.wbc_folder, options.masks, options.mask_from)


@source("the course layout (patches)", jobs=("camelyon",))
class CoursePatches(Source):
    """`<root>/CAM16_100cls_10mask/train/data/{normal,tumor}/`."""

    classes = CAMELYON_CLASSES

    @classmethod
    def matches(cls, root: Path) -> bool:
        return (root / CAMELYON_FOLDER).is_dir()

    def manifest(self, options: SourceOptions) -> Manifest:
        rows = _labelled(_part(self.root, CAMELYON_FOLDER), CAMELYON_CLASSES, options.masks)
        return Manifest.from_rows(rows, CAMELYON_CLASSES, CAMELYON_FOLDER, self.root)


@source("the course layout (tiles)", jobs=("prcc",))
class CourseTiles(Source):
    """Images at any depth of `<root>/pRCC_nolabel`."""

    classes = ()

    @classmethod
    def matches(cls, root: Path) -> bool:
        return (root / PRCC_FOLDER).is_dir()

    def manifest(self, options: SourceOptions) -> Manifest:
        return tile_manifest(_part(self.root, PRCC_FOLDER), PRCC_FOLDER, self.root)


def prcc_group(stem: str) -> str:
    """The patient or field of view that a tile's name holds; '' where it holds neither."""
    if patient := _PATIENT.search(stem):
        return patient.group().upper()
    field = _FIELD.fullmatch(stem)
    return field.group(1) if field else ""


def image_rows(
    folders: Mapping[Path, str], classes: tuple[str, ...], complete: bool = False, source: str = "original"
) -> list[Row]:
    """Rows of all images in the class folders of some folders, each without a mask.

    Args:
        folders: a folder that holds class folders -> the split of its images.
        classes: those that are allowed.
        complete: whether a missing class is an error.
        source: as in `Row`.

    Raises:
        UserError: as `class_files`, or a file cannot be read.
    """
    files = [
        (path, label, split)
        for folder, split in folders.items()
        for label, paths in class_files(folder, classes, complete).items()
        for path in paths
    ]
    digests = sha256_of_files([path for path, *_ in files])
    return [
        Row(str(path), label, split, digest, "", digest, source)
        for (path, label, split), digest in zip(files, digests, strict=True)
    ]


# --- what is on disk


def folders_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def listing(folder: Path, most: int = 6) -> str:
    names = folders_in(folder)
    if not names:
        return "no folders"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def existing_folder(folder: Path) -> Path:
    """The folder itself, or a UserError that names the nearest existing one."""
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{folder} is a file: expected a folder with images")
    above = folder.parent
    hint = did_you_mean(folder.name, folders_in(above)) if above.is_dir() else f"; {above} does not exist either"
    raise UserError(f"no such folder: {folder}{hint}")


def _part(root: Path, name: str, setting: str = "") -> Path:
    """The folder of one part of the data."""
    existing_folder(root)
    part = root / name
    if part.is_dir():
        return part
    if root.name == name or any((root / split).is_dir() for split in SPLITS):
        raise UserError(f"expected a folder {name} in {root}, which is itself such a part; type {root.parent} instead")
    hint = did_you_mean(name, folders_in(root)) or (f"; type {setting}=FOLDER" if setting else "")
    other = ", or two or more class folders with images" if setting == "wbc_folder" else ""
    raise UserError(f"expected a folder {name} in {root}{other}, found {listing(root)}{hint}")


def class_files(
    folder: Path, classes: tuple[str, ...], complete: bool = True, empty: bool = False
) -> dict[str, list[Path]]:
    """The image files of each class folder, sorted by name.

    Raises:
        UserError: an unknown class folder; one without images unless `empty` allows it; a missing one if `complete`.
    """
    found = folders_in(folder)
    for name in found:
        if name not in classes:
            raise UserError(
                f"unknown class folder {name} in {folder}: expected {', '.join(classes)}{did_you_mean(name, classes)}"
                "; rename or remove it"
            )
    files = {}
    for name in classes:
        if name not in found:
            if complete:
                raise UserError(f"class folder {name} is missing in {folder}: expected {', '.join(classes)}")
            continue
        paths = sorted(path for path in (folder / name).iterdir() if is_image(path))
        if not paths and not empty:
            others = sorted({path.suffix or path.name for path in (folder / name).iterdir() if path.name[0] != "."})
            seen = f"found only {' '.join(others[:4])}" if others else "found nothing"
            raise UserError(f"class folder {folder / name} has no images ({' '.join(SUFFIXES)}), {seen}: fill it")
        files[name] = paths
    return files


def _labelled(part: Path, classes: tuple[str, ...], masks: bool) -> list[Row]:
    if not (part / "train" / "data").is_dir():
        raise UserError(
            f"{part} has not the expected layout: expected {part.name}/train/data/<Class> with "
            f"{', '.join(classes)}, found {listing(part / 'train' if (part / 'train').is_dir() else part)}"
        )
    rows: list[Row] = []
    for split in SPLITS:
        if (part / split).is_dir():
            rows += _split_rows(part, split, classes, masked=masks and split == "train", complete=True)
    return rows


def _split_rows(
    part: Path, split: str, classes: tuple[str, ...], masked: bool, complete: bool, source: str = ""
) -> list[Row]:
    """Rows of <part>/<split>/data and, on demand, the masked copies from <part>/<split>/mask."""
    folder = part / split / "data"
    if not folder.is_dir():
        raise UserError(f"expected a folder data in {part / split}, found {listing(part / split)}")
    rows = image_rows({folder: split}, classes, complete, source or "original")
    mask_folder = part / split / "mask"
    if not masked or not mask_folder.is_dir():
        return rows
    by_name = masks_by_name(mask_folder, classes)
    named = [(row, by_name.get((row.label, Path(row.path).stem))) for row in rows]
    pairs = [(row, mask) for row, mask in named if mask]
    for row, mask in pairs:
        _check_pair(Path(row.path), mask)
    mask_digests = sha256_of_files([mask for _, mask in pairs])
    return rows + [
        row._replace(
            mask=str(mask),
            sha256=hashlib.sha256((row.sha256 + digest).encode()).hexdigest(),
            source=source or "masked",
        )
        for (row, mask), digest in zip(pairs, mask_digests, strict=True)
    ]


def masks_by_name(folder: Path, classes: tuple[str, ...] | None = None) -> dict[tuple[str, str], Path]:
    """The masks in the class folders of a folder `mask`: (class, name without its ending) -> file.

    A mask has the class and the name of its image in the neighbouring folder `data`.

    Args:
        folder: with class folders, some of which may be missing or empty.
        classes: those that are allowed; None for whatever is there.

    Raises:
        UserError: a folder of another class.
    """
    known = tuple(folders_in(folder)) if classes is None else classes
    files = class_files(folder, known, complete=False, empty=True)
    return {(name, path.stem): path for name, paths in files.items() for path in paths}


def _check_pair(image: Path, mask: Path) -> None:
    """Compare the sizes by the headers alone, so that a wrong mask is reported before any work begins."""
    try:
        sizes = image_size(mask), image_size(image)
    except UnreadableImage:
        return  # listed with its reason when the pixels are decoded, where `max_bad` decides
    check_mask_size(mask, *sizes)
