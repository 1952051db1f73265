"""The layouts on disk that are understood, each read into a manifest.

    <root>/WBC_100/{train,val,test}/data/<Class>/        <root>/WBC_100/train/mask/<Class>/
    <root>/CAM16_100cls_10mask/{train,val,test}/{data,mask}/{normal,tumor}/
    <root>/pRCC_nolabel/…                                images at any depth

Only `train` is required; `val`, `test` and the masks may be missing.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.core.files import sha256_of_files
from hemacell.core.text import did_you_mean
from hemacell.data.images import SUFFIXES, UnreadableImage, check_mask_size, image_size
from hemacell.data.manifest import SPLITS, Manifest, Row

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
CAMELYON_CLASSES = ("normal", "tumor")
WBC_FOLDER = "WBC_100"
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
        if not _folder(extra / "train" / "mask"):
            raise UserError(f"mask_from={mask_from}: expected masks in {extra / 'train' / 'mask'}/<Class>, found none")
        rows += _split_rows(extra, "train", CLASSES, masked=True, complete=False, source="extra")
    return Manifest.from_rows(rows, CLASSES, wbc_folder, root)


def camelyon_manifest(root: Path, masks: bool = True) -> Manifest:
    """The lymph-node patches, normal and tumor; arguments and errors as for `wbc_manifest`."""
    root = Path(root).absolute()
    rows = _labelled(_part(root, CAMELYON_FOLDER), CAMELYON_CLASSES, masks)
    return Manifest.from_rows(rows, CAMELYON_CLASSES, CAMELYON_FOLDER, root)


def prcc_manifest(root: Path) -> Manifest:
    """The kidney tiles, without labels and without splits, grouped by patient or field of view.

    The group is the patient where the name holds a TCGA barcode, the field where it ends in `_<n>_<x>_<y>`, else the
    image itself.
    """
    root = Path(root).absolute()
    part = _part(root, PRCC_FOLDER)
    paths = [path for path in sorted(part.rglob("*")) if _is_image(path) and not _hidden(path.relative_to(part))]
    if not paths:
        raise UserError(f"no images in {part}: expected files that end in {' '.join(SUFFIXES)}, at any depth")
    rows = [
        Row(str(path), "", "", prcc_group(path.stem) or digest, "", digest, "original")
        for path, digest in zip(paths, sha256_of_files(paths), strict=True)
    ]
    return Manifest.from_rows(rows, (), PRCC_FOLDER, root)


def folder_manifest(root: Path, classes: Iterable[str]) -> Manifest:
    """Any folder of class folders, as one test set: every split that it has is taken together as 'test'.

    Understood are `<Class>/`, `data/<Class>/`, `{train,val,test}/data/<Class>/` and `{train,val,test}/<Class>/`. A
    class may be missing; an unknown or an empty one is an error.
    """
    classes = tuple(classes)
    root = _existing(Path(root).absolute())
    splits = [root / split for split in SPLITS if _folder(root / split)]
    tops = [top / "data" if _folder(top / "data") else top for top in splits or [root]]
    if not any(_folder(top / name) for top in tops for name in classes):
        inner = [
            name
            for name in _folders(root)
            if any(_folder(root / name / split / "data" / label) for split in SPLITS for label in classes)
        ]
        hint = f"; type {root / inner[0]} instead" if inner and not splits else ""
        raise UserError(
            f"no class folders in {root}: expected {', '.join(classes)} (or data/<Class>, or train/data/<Class>), "
            f"found {_listing(root)}{hint}"
        )
    files = [
        (path, label)
        for top in tops
        for label, paths in _class_files(top, classes, complete=False).items()
        for path in paths
    ]
    rows = [
        Row(str(path), label, "test", digest, "", digest, "original")
        for (path, label), digest in zip(files, sha256_of_files([path for path, _ in files]), strict=True)
    ]
    return Manifest.from_rows(rows, classes, root.name, root)


def has_part(root: Path, part: str, wbc_folder: str = WBC_FOLDER) -> bool:
    """Whether the data folder has the part 'wbc', 'camelyon' or 'prcc'."""
    folders = {"wbc": wbc_folder, "camelyon": CAMELYON_FOLDER, "prcc": PRCC_FOLDER}
    return (Path(root) / folders[part]).is_dir()


def prcc_group(stem: str) -> str:
    """The patient or field that a tile's name tells; '' where it tells none."""
    if patient := _PATIENT.search(stem):
        return patient.group().upper()
    field = _FIELD.fullmatch(stem)
    return field.group(1) if field else ""


def data_files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, str, str]]:
    """(path, class, sha256) of all images in the class folders of `folder`; classes may be missing."""
    files = [(path, name) for name, paths in _class_files(folder, classes, complete=False).items() for path in paths]
    digests = sha256_of_files([path for path, _ in files])
    return [(path, name, digest) for (path, name), digest in zip(files, digests, strict=True)]


# --- what is on disk


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _folder(path: Path) -> bool:
    return path.is_dir()


def _is_image(path: Path) -> bool:
    # Not is_file(): a broken link with an image's name must be spoken of, not passed over.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _listing(folder: Path, most: int = 6) -> str:
    names = _folders(folder)
    if not names:
        return "no folders"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _existing(folder: Path) -> Path:
    """The folder itself, or a UserError that names the nearest existing one."""
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{folder} is a file: expected a folder with images")
    above = folder.parent
    hint = did_you_mean(folder.name, _folders(above)) if above.is_dir() else f"; {above} does not exist either"
    raise UserError(f"no such folder: {folder}{hint}")


def _part(root: Path, name: str, setting: str = "") -> Path:
    """The folder of one part of the data."""
    _existing(root)
    part = root / name
    if part.is_dir():
        return part
    if root.name == name or any(_folder(root / split) for split in SPLITS):
        raise UserError(f"expected a folder {name} in {root}, which is itself such a part; type {root.parent} instead")
    hint = did_you_mean(name, _folders(root)) or (f"; type {setting}=FOLDER" if setting else "")
    raise UserError(f"expected a folder {name} in {root}, found {_listing(root)}{hint}")


def _class_files(
    folder: Path, classes: tuple[str, ...], complete: bool = True, empty: bool = False
) -> dict[str, list[Path]]:
    """The image files of each class folder, sorted by name.

    Raises:
        UserError: an unknown class folder; one without images unless `empty` allows it; a missing one if `complete`.
    """
    found = _folders(folder)
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
        paths = sorted(path for path in (folder / name).iterdir() if _is_image(path))
        if not paths and not empty:
            others = sorted({path.suffix or path.name for path in (folder / name).iterdir() if not _hidden(path)})
            seen = f"found only {' '.join(others[:4])}" if others else "found nothing"
            raise UserError(f"class folder {folder / name} has no images ({' '.join(SUFFIXES)}), {seen}: fill it")
        files[name] = paths
    return files


def _labelled(part: Path, classes: tuple[str, ...], masks: bool) -> list[Row]:
    if not _folder(part / "train" / "data"):
        raise UserError(
            f"{part} has not the expected layout: expected {part.name}/train/data/<Class> with "
            f"{', '.join(classes)}, found {_listing(part / 'train' if _folder(part / 'train') else part)}"
        )
    rows: list[Row] = []
    for split in SPLITS:
        if _folder(part / split):
            rows += _split_rows(part, split, classes, masked=masks and split == "train", complete=True)
    return rows


def _split_rows(
    part: Path, split: str, classes: tuple[str, ...], masked: bool, complete: bool, source: str = ""
) -> list[Row]:
    """Rows of <part>/<split>/data and, on demand, the masked copies from <part>/<split>/mask."""
    folder = part / split / "data"
    if not _folder(folder):
        raise UserError(f"expected a folder data in {part / split}, found {_listing(part / split)}")
    files = [(path, name) for name, paths in _class_files(folder, classes, complete).items() for path in paths]
    digests = sha256_of_files([path for path, _ in files])
    rows = [
        Row(str(path), name, split, digest, "", digest, source or "original")
        for (path, name), digest in zip(files, digests, strict=True)
    ]
    mask_folder = part / split / "mask"
    if not masked or not _folder(mask_folder):
        return rows
    by_name = masks_by_name(mask_folder, classes)
    pairs = [(row, by_name[row.label, Path(row.path).stem]) for row in rows if _has(by_name, row)]
    for row, mask in pairs:
        _check_pair(Path(row.path), mask)
    mask_digests = sha256_of_files([mask for _, mask in pairs])
    return rows + [
        row._replace(mask=str(mask), sha256=_joint_digest(row.sha256, digest), source=source or "masked")
        for (row, mask), digest in zip(pairs, mask_digests, strict=True)
    ]


def masks_by_name(folder: Path, classes: tuple[str, ...] | None = None) -> dict[tuple[str, str], Path]:
    """The masks in the class folders of a folder `mask`: (class, name without its ending) -> file.

    That of an image in the folder `data` beside it has the image's class and name.

    Args:
        folder: with class folders, some of which may be missing or empty.
        classes: those that are allowed; None for whatever is there.

    Raises:
        UserError: a folder of another class.
    """
    known = tuple(_folders(folder)) if classes is None else classes
    files = _class_files(folder, known, complete=False, empty=True)
    return {(name, path.stem): path for name, paths in files.items() for path in paths}


def _has(by_name: dict[tuple[str, str], Path], row: Row) -> bool:
    return (row.label, Path(row.path).stem) in by_name


def _check_pair(image: Path, mask: Path) -> None:
    """Compare the sizes by the headers alone, so that a wrong mask is told before any work begins."""
    try:
        sizes = image_size(mask), image_size(image)
    except UnreadableImage:
        return  # listed with its reason when the pixels are decoded, where `max_bad` decides
    check_mask_size(mask, *sizes)


def _joint_digest(image: str, mask: str) -> str:
    return hashlib.sha256((image + mask).encode()).hexdigest()
