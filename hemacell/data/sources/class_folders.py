"""Folders named after classes, divided in train, val and test or not."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.core.files import sha256_of_files
from hemacell.data.images import is_image
from hemacell.data.manifest import SPLITS, Manifest, Row
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.course import CourseCells, class_files, existing_folder, folders_in, has_folder, listing


@source("class folders", jobs=("wbc",))
class ClassFolders(Source):
    """`<Class>/`, `data/<Class>/` or `{train,val,test}/<Class>/`; the classes are the folders that hold images."""

    @classmethod
    def matches(cls, root: Path) -> bool:
        course = CourseCells.matches(root) or any(has_folder(root / split / "data") for split in SPLITS)
        if course or not root.is_dir():  # the course layout, or a part of it
            return False
        return len(_class_names(_tops(root))) > 1

    @property
    def classes(self) -> tuple[str, ...]:
        return _class_names(_tops(self.root))

    def manifest(self, options: SourceOptions) -> Manifest:
        self.refuse(options)
        return _read(self.root, _tops(self.root), self.classes)


def folder_manifest(root: Path, classes: Iterable[str]) -> Manifest:
    """Any folder of class folders, as one test set: every split that it has is taken together as 'test'.

    Understood are `<Class>/`, `data/<Class>/`, `{train,val,test}/data/<Class>/` and `{train,val,test}/<Class>/`. A
    class may be missing; an unknown or an empty one is an error.
    """
    classes = tuple(classes)
    root = existing_folder(Path(root).absolute())
    tops = dict.fromkeys(_tops(root), "test")
    divided = any(has_folder(root / split) for split in SPLITS)
    if not any(has_folder(top / name) for top in tops for name in classes):
        inner = [
            name
            for name in folders_in(root)
            if any(has_folder(root / name / split / "data" / label) for split in SPLITS for label in classes)
        ]
        hint = f"; type {root / inner[0]} instead" if inner and not divided else ""
        raise UserError(
            f"no class folders in {root}: expected {', '.join(classes)} (or data/<Class>, or train/data/<Class>), "
            f"found {listing(root)}{hint}"
        )
    return _read(root, tops, classes)


def _tops(root: Path) -> dict[Path, str]:
    """The folders that hold class folders -> the split that they are; 'train' where nothing is divided."""
    tops = {root / split: split for split in SPLITS if has_folder(root / split)} or {root: "train"}
    return {top / "data" if has_folder(top / "data") else top: split for top, split in tops.items()}


def _class_names(tops: Iterable[Path]) -> tuple[str, ...]:
    names = {name for top in tops for name in folders_in(top) if any(map(is_image, (top / name).iterdir()))}
    return tuple(sorted(names))


def _read(root: Path, tops: Mapping[Path, str], classes: tuple[str, ...]) -> Manifest:
    files = [
        (path, label, split)
        for top, split in tops.items()
        for label, paths in class_files(top, classes, complete=False).items()
        for path in paths
    ]
    digests = sha256_of_files([path for path, *_ in files])
    rows = [
        Row(str(path), label, split, digest, "", digest, "original")
        for (path, label, split), digest in zip(files, digests, strict=True)
    ]
    return Manifest.from_rows(rows, classes, root.name, root)
