"""How labelled images lie in folders: which part of a path is the split, which the class, which the patient.

    NEUTROPHIL/*.png        Train/neutrophils/*.jpg        dataset/images/TEST/BNE/*.tif        patient 7/Monocyte/*.png
    WBC_100/train/data/Basophil/*.jpg  with  WBC_100/train/mask/Basophil/*.png

Only names are read here, no files.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hemacell.data.class_names import known_class, normal_form, split_of

#: Folders that only say that images are in them.
DATA_FOLDERS = frozenset(("data", "dataset", "datasets", "images", "image", "imgs", "img"))
MASK_FOLDERS = frozenset(("mask", "masks", "groundtruth", "segmentation", "segmentations"))
MASK_ENDINGS = ("_mask", "-mask", "_seg", "-seg", "_gt", "-gt")


class Place(NamedTuple):
    """What the path of one image says; '' for what it does not say."""

    path: str
    """Relative, with `/`."""
    label: str
    split: str
    group: str
    mask: str
    """The path of its mask, relative too."""


class Layout(NamedTuple):
    """All places, and what belongs to none."""

    places: list[Place]
    unused_masks: list[str]
    outside: list[str]
    """Images that lie in no class folder."""


class _Parts(NamedTuple):
    path: str
    split: str
    names: tuple[str, ...]
    """Of the folders, without those of splits, data and masks."""
    is_mask: bool
    stem: str
    """Of the file, in one Unicode form, without the ending of a mask."""


def read_layout(paths: Iterable[str]) -> Layout:
    """Understand the relative paths of the images of a folder.

    * The split is the first folder with such a name, whatever its case.
    * The class is the last folder whose name is known to mean one where half of the images have such a folder; else the
      first folder in which not all images lie.
    * Other folders, above or below, are the group: a patient, a slide, a smear.
    * A mask lies in a folder `mask`, or its name ends in `_mask`.
    """
    parts = [_split_up(path) for path in paths]
    images = [part for part in parts if not part.is_mask]
    masks = {_key(part): part.path for part in parts if part.is_mask}
    # Above this depth all images lie in the same folders, none of which is called like a class.
    levels = enumerate(zip(*(part.names for part in images), strict=False))
    depth = next((at for at, names in levels if len(set(names)) > 1 or known_class(names[0])), 0)
    by_known = sum(any(map(known_class, part.names)) for part in images) * 2 >= len(images) > 0
    usual = _usual_place(images, depth) if by_known else 0

    places, outside, used = [], [], set()
    for part in images:
        names = part.names[depth:]
        at = _class_place(names, usual) if by_known else 0
        if at >= len(names):
            outside.append(part.path)
            continue
        key = _key(part)
        used.add(key)
        group = "/".join(names[:at] + names[at + 1 :])
        places.append(Place(part.path, names[at], part.split, group, masks.get(key, "")))
    return Layout(places, sorted(path for key, path in masks.items() if key not in used), outside)


def _split_up(path: str) -> _Parts:
    *folders, file = unicodedata.normalize("NFC", path).split("/")
    forms = [normal_form(name) for name in folders]
    split = next(filter(None, map(split_of, folders)), "")
    names = tuple(
        name
        for name, form in zip(folders, forms, strict=True)
        if form not in DATA_FOLDERS and form not in MASK_FOLDERS and not split_of(name)
    )
    stem = os.path.splitext(file)[0]
    ending = next((ending for ending in MASK_ENDINGS if stem.lower().endswith(ending)), "")
    in_masks = any(form in MASK_FOLDERS for form in forms)
    return _Parts(path, split, names, in_masks or bool(ending), stem[: len(stem) - len(ending)])


def _key(part: _Parts) -> tuple[str, tuple[str, ...], str]:
    return part.split, part.names, part.stem


def _class_place(names: Sequence[str], usual: int) -> int:
    """Where the class stands among the folders of one image: the last known name, else the usual place."""
    return max((at for at, name in enumerate(names) if known_class(name)), default=usual)


def _usual_place(images: Sequence[_Parts], depth: int) -> int:
    places = Counter(at for part in images for at, name in enumerate(part.names[depth:]) if known_class(name))
    return places.most_common(1)[0][0]


def pairs_of_endings(paths: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Files of one folder with one name and two endings: (ending, other ending) -> the names, without their endings.

    Such are images and their masks in some public sets (`001.bmp` and `001.png`).
    """
    endings: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        stem, ending = os.path.splitext(path)
        endings[stem].add(ending)
    pairs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for stem, found in endings.items():
        if len(found) == 2:
            first, second = sorted(found)
            pairs[first, second].append(stem)
    return pairs
