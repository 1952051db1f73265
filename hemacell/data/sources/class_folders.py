"""Folders named after classes, divided in train, val and test or not."""

from collections.abc import Iterable
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.data.images import is_image
from hemacell.data.manifest import SPLITS, Manifest
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.course import CourseCells, existing_folder, folders_in, image_rows, listing


@source("class folders", jobs=("wbc",))
class ClassFolders(Source):
    """`<Class>/`, `data/<Class>/` or `{train,val,test}/<Class>/`; the classes are the folders that hold images."""

    @classmethod
    def matches(cls, root: Path) -> bool:
        course = CourseCells.matches(root) or any((root / split / "data").is_dir() for split in SPLITS)
        if course or not root.is_dir():  # the course layout, or a part of it
            return False
        return len(_class_names(root)) > 1

    @property
    def classes(self) -> tuple[str, ...]:
        return _class_names(self.root)

    def manifest(self, options: SourceOptions) -> Manifest:
        self.refuse(options)
        classes = self.classes
        return Manifest.from_rows(image_rows(split_folders(self.root), classes), classes, self.root.name, self.root)


def folder_manifest(root: Path, classes: Iterable[str]) -> Manifest:
    """Any folder of class folders, as one test set: every split that it has is taken together as 'test'.

    Understood are `<Class>/`, `data/<Class>/`, `{train,val,test}/data/<Class>/` and `{train,val,test}/<Class>/`. A
    class may be missing; an unknown or an empty one is an error.
    """
    classes = tuple(classes)
    root = existing_folder(Path(root).absolute())
    tops = dict.fromkeys(split_folders(root), "test")
    divided = any((root / split).is_dir() for split in SPLITS)
    if not any((top / name).is_dir() for top in tops for name in classes):
        inner = [
            name
            for name in folders_in(root)
            if any((root / name / split / "data" / label).is_dir() for split in SPLITS for label in classes)
        ]
        hint = f"; type {root / inner[0]} instead" if inner and not divided else ""
        raise UserError(
            f"no class folders in {root}: expected {', '.join(classes)} (or data/<Class>, or train/data/<Class>), "
            f"found {listing(root)}{hint}"
        )
    return Manifest.from_rows(image_rows(tops, classes), classes, root.name, root)


def split_folders(root: Path) -> dict[Path, str]:
    """The folders that hold class folders -> the split that they are; 'train' where nothing is divided."""
    tops = {root / split: split for split in SPLITS if (root / split).is_dir()} or {root: "train"}
    return {top / "data" if (top / "data").is_dir() else top: split for top, split in tops.items()}


def _class_names(root: Path) -> tuple[str, ...]:
    folders = [top / name for top in split_folders(root) for name in folders_in(top)]
    return tuple(sorted({folder.name for folder in folders if any(map(is_image, folder.iterdir()))}))
