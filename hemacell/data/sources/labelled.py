"""The labelled images that a finished classifier is scored on: any folder of class folders, or the course layout."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.core.text import did_you_mean
from hemacell.data.manifest import SPLITS, Manifest
from hemacell.data.sources.base import WBC_FOLDER, find_source, read_source
from hemacell.data.sources.class_folders import ClassFolders, folder_manifest, split_folders
from hemacell.data.sources.course import CLASSES, CourseCells, folders_in, wbc_manifest
from hemacell.data.splits import official_splits

ALL = "all"


def labelled_images(root: Path, classes: Sequence[str], wbc_folder: str = WBC_FOLDER, split: str = "test") -> Manifest:
    """Read one set of labelled images; all its rows are marked `test`, wherever they lie.

    * The course layout (`root` holds `wbc_folder`): one split, completed as for training where the disk lacks it
      (see `splits.official_splits`). Masks are ignored.
    * `{train,val,test}/data/<Class>/` or `{train,val,test}/<Class>/`: the images of one split.
    * `<Class>/` or `data/<Class>/`: all of it. A class may be missing here and above.
    * Any other registered source: one split.

    Args:
        root: the data folder.
        classes: those that the classifier knows, in the order of its probabilities.
        wbc_folder: name of the part with the cells, in a folder of the course layout.
        split: `test`, `val`, `train`, or `all` for all of them together.

    Raises:
        UserError: another layout, no such split, a class that the classifier does not know, a class without images.
    """
    root = Path(root).absolute()
    source = find_source(root, "wbc")
    if source is not None and not isinstance(source, (CourseCells, ClassFolders)):
        _check_known(root, source.classes, classes)
        return _as_test(official_splits(read_source(source)), classes, split)
    if (root / wbc_folder).is_dir() or wbc_folder != WBC_FOLDER:
        _check_known(root / wbc_folder, CLASSES, classes)
        return _as_test(official_splits(wbc_manifest(root, wbc_folder, masks=False)), classes, split)
    sides = [side for side in SPLITS if (root / side).is_dir()]
    if sides and split not in (ALL, *sides):
        raise UserError(
            f"split={split}: expected a folder {split} in {root}, found {', '.join(sides)}; "
            f"type split={sides[-1]}, or split={ALL} for all of them"
        )
    if not sides and split not in (ALL, "test"):
        raise UserError(f"split={split}: {root} has no folders {', '.join(SPLITS)}; leave split out for all its images")
    tops = list(split_folders(root))
    found = sorted({name for top in tops for name in folders_in(top)})
    # Folders that hold no known class at all are `folder_manifest`'s to refuse, unless their place says what they are.
    if tops != [root] or set(found) & set(classes):
        _check_known(root, found, classes)
    images = folder_manifest(root, classes)
    if sides:
        images = images.with_splits([Path(path).relative_to(root).parts[0] for path in images.table["path"]])
    return _as_test(images, classes, split if sides else ALL)


def _as_test(images: Manifest, classes: Sequence[str], split: str) -> Manifest:
    chosen = images if split == ALL else images.part(split)
    if not len(chosen):
        raise UserError(f"split={split}: {images.root / images.name} has no images there; type split={ALL} for all")
    return replace(chosen, classes=tuple(classes)).with_splits(["test"] * len(chosen))


def _check_known(folder: Path, found: Sequence[str], classes: Sequence[str]) -> None:
    """Raise UserError, with all class folders, where the model does not know one."""
    if unknown := [name for name in sorted(found) if name not in classes]:
        raise UserError(
            f"{folder} has class folders that the model does not know: found {', '.join(found)}; the model knows "
            f"{', '.join(classes)}{did_you_mean(unknown[0], classes)}; rename or leave out {', '.join(unknown)}"
        )
