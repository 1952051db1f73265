"""How labelled images lie in folders: which part of a path is the split, which the class, which the patient.

    NEUTROPHIL/*.png        Train/neutrophils/*.jpg        dataset/images/TEST/BNE/*.tif        patient 7/Monocyte/*.png

Only names are read here, no files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hemacell.data.class_names import known_class, normal_form, split_of
from hemacell.data.mask_files import DATA_FOLDERS


class Place(NamedTuple):
    """What the path of one image says; '' for what it does not say."""

    path: str
    """Relative, with `/`."""
    label: str
    split: str
    group: str


class Layout(NamedTuple):
    """All places, and what has none."""

    places: list[Place]
    outside: list[str]
    """Images that lie in no class folder."""


class _Parts(NamedTuple):
    path: str
    split: str
    names: tuple[str, ...]
    """Of the folders, without those of splits and data."""


def read_layout(paths: Iterable[str]) -> Layout:
    """Understand the relative paths of the images of a folder.

    * The split is the first folder with such a name, whatever its case.
    * The class is the last folder whose name is known to mean one where half of the images have such a folder; else the
      first folder in which not all images lie.
    * Other folders, above or below, are the group: a patient, a slide, a smear.
    """
    images = [_split_up(path) for path in paths]
    # Above this depth all images lie in the same folders, none of which is called like a class.
    levels = enumerate(zip(*(image.names for image in images), strict=False))
    depth = next((at for at, names in levels if len(set(names)) > 1 or known_class(names[0])), 0)
    by_known = sum(any(map(known_class, image.names)) for image in images) * 2 >= len(images) > 0
    usual = _usual_place(images, depth) if by_known else 0

    places, outside = [], []
    for image in images:
        names = image.names[depth:]
        at = _class_place(names, usual) if by_known else 0
        if at >= len(names):
            outside.append(image.path)
        else:
            places.append(Place(image.path, names[at], image.split, "/".join(names[:at] + names[at + 1 :])))
    return Layout(places, outside)


def _split_up(path: str) -> _Parts:
    folders = path.split("/")[:-1]
    names = tuple(name for name in folders if normal_form(name) not in DATA_FOLDERS and not split_of(name))
    return _Parts(path, next(filter(None, map(split_of, folders)), ""), names)


def _class_place(names: Sequence[str], usual: int) -> int:
    """Where the class stands among the folders of one image: the last known name, else the usual place."""
    return max((at for at, name in enumerate(names) if known_class(name)), default=usual)


def _usual_place(images: Sequence[_Parts], depth: int) -> int:
    places = Counter(at for image in images for at, name in enumerate(image.names[depth:]) if known_class(name))
    return places.most_common(1)[0][0]
