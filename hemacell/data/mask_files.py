"""Which of the images of a folder are masks, and which image each belongs to.

train/data/Basophil/1.jpg and train/mask/Basophil/1.png        7.png and 7_mask.png        001.bmp and 001.png
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from hemacell.data.class_names import normal_form
from hemacell.data.images import UnreadableImage, read_rgb
from hemacell.data.walk import Found

#: Folders that only say that images are in them.
DATA_FOLDERS = frozenset(("data", "dataset", "datasets", "images", "image", "imgs", "img"))
MASK_FOLDERS = frozenset(("mask", "masks", "groundtruth", "segmentation", "segmentations"))
_MASK_ENDINGS = ("_mask", "-mask", "_seg", "-seg", "_gt", "-gt")
_MOST_VALUES = 8  # of a mask
_LOOKED_AT = 3  # of a pair of endings

_Key = tuple[tuple[str, ...], str]


@dataclass(frozen=True)
class MaskFiles:
    """Images and masks, by their paths relative to the folder, with `/`."""

    images: list[str]
    of_image: dict[str, str]
    """image -> its mask"""
    unused: list[str]
    """Masks that belong to no image, and second masks of one."""


def find_masks(found: Found) -> MaskFiles:
    """Tell masks from images.

    A mask lies in a folder `mask`, its name ends in `_mask`, or it has the name of its image with another ending; of
    two such files the mask is the grey one with few values, which is decided for all of a pair of endings at once, by
    the first that can be read. Of several masks of one image the first by name is used.
    Names are compared in one Unicode form, as file systems and archives write several.
    """
    by_ending = _masks_by_ending(found)
    images: list[tuple[str, _Key]] = []
    masks: dict[_Key, list[str]] = defaultdict(list)
    for path in found.images:
        key, is_mask = _key(path)
        if is_mask or path in by_ending:
            masks[key].append(path)
        else:
            images.append((path, key))
    of_image = {path: masks[key][0] for path, key in images if key in masks}
    used = set(of_image.values())
    unused = [mask for several in masks.values() for mask in several if mask not in used]
    return MaskFiles([path for path, _ in images], of_image, unused)


def _key(path: str) -> tuple[_Key, bool]:
    """What an image and its mask share, and whether the name is one of a mask."""
    folder, _, file = unicodedata.normalize("NFC", path).rpartition("/")
    names, of_masks = _folder_key(folder)
    stem = os.path.splitext(file)[0]
    ending = next((ending for ending in _MASK_ENDINGS if stem.lower().endswith(ending)), "")
    return (names, stem[: len(stem) - len(ending)]), bool(ending) or of_masks


@lru_cache(maxsize=4096)  # many images lie in one folder
def _folder_key(folder: str) -> tuple[tuple[str, ...], bool]:
    """The folders that an image and its mask share, and whether one of the others is for masks."""
    names = folder.split("/") if folder else []
    shared = tuple(name for name in names if normal_form(name) not in DATA_FOLDERS | MASK_FOLDERS)
    return shared, any(normal_form(name) in MASK_FOLDERS for name in names)


def _masks_by_ending(found: Found) -> set[str]:
    masks: set[str] = set()
    for endings, stems in _pairs_of_endings(found.images).items():
        for ending in endings:
            looks = (_looks_like_mask(found.root / f"{stem}{ending}") for stem in stems)
            known = list(islice((look for look in looks if look is not None), _LOOKED_AT))
            if known and all(known):
                masks.update(f"{stem}{ending}" for stem in stems)
                break
    return masks


def _pairs_of_endings(paths: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Files of one folder with one name and two endings: (ending, other ending) -> the paths without them."""
    endings: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        stem, ending = os.path.splitext(path)
        endings[stem].add(ending)
    pairs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for stem, different in endings.items():
        if len(different) == 2:
            first, second = sorted(different)
            pairs[first, second].append(stem)
    return pairs


def _looks_like_mask(path: Path) -> bool | None:
    """Whether an image has few values, all grey; None where it cannot be read, which says nothing of the others."""
    try:
        pixels = np.asarray(read_rgb(path))
    except UnreadableImage:
        return None
    grey = (pixels == pixels[..., :1]).all()
    return bool(grey) and len(np.unique(pixels[..., 0])) <= _MOST_VALUES
