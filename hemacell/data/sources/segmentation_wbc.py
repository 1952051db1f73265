"""JTSC and CellaVision: the two sets of the repository segmentation_WBC, single cells with masks.

Dataset 1/001.bmp, Dataset 1/001.png       an image and its mask: 255 nucleus, about 128 cytoplasm, 0 background
Class Labels of Dataset 1.csv              image ID,class label: 1 to 5
Dataset 2/…                                the same, from another laboratory
"""

from __future__ import annotations

import re
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.data.manifest import Card, Skipped
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.sources.places import columns_of, entry_of, folder_with
from hemacell.data.walk import walk

_CLASSES = {"1": "Neutrophil", "2": "Lymphocyte", "3": "Monocyte", "4": "Eosinophil", "5": "Basophil"}
_PARTS = {"Dataset 1": "JTSC", "Dataset 2": "CellaVision"}


@source("JTSC / CellaVision (segmentation_WBC)", jobs=("wbc",))
class SegmentationWbc(Source):
    """Dataset 1 (JTSC), or Dataset 2 (CellaVision) where its own folder is named."""

    card = Card(
        "GPL-3.0 (repository)",
        "X. Zheng et al., Fast and robust segmentation of white blood cell images by self-supervised learning, Micron "
        "2018, doi:10.1016/j.micron.2018.01.010",
    )

    @classmethod
    def matches(cls, root: Path) -> bool:
        if root.name in _PARTS:
            return (root.parent / _labels_of(root.name)).is_file()
        return folder_with(root, "Dataset 1", _labels_of("Dataset 1")) is not None

    def listing(self, options: SourceOptions) -> Listing:
        """One of the two parts.

        Raises:
            UserError: an option that it does not know, a table of labels that is missing or has others than 1 to 5.
        """
        self.refuse(options)
        if self.root.name in _PARTS:
            return _list_part(self.root, [])
        whole = folder_with(self.root, "Dataset 1", _labels_of("Dataset 1")) or self.root
        other = whole / "Dataset 2"
        reason = "another laboratory's set: name its folder to use it"
        return _list_part(whole / "Dataset 1", [Skipped(str(other), reason)] if other.is_dir() else [])


def _list_part(folder: Path, skipped: list[Skipped]) -> Listing:
    labels = _read_labels(entry_of(folder.parent, _labels_of(folder.name)))
    found = walk(folder)
    masks = {Path(path).stem: path for path in found.images if path.lower().endswith(".png")}
    images = [path for path in found.images if not path.lower().endswith(".png")]
    items = [
        Item(
            str(folder / path),
            labels.get(_number(path), ""),
            mask=str(folder / masks[Path(path).stem]) if Path(path).stem in masks else "",
        )
        for path in images
    ]
    unused = sorted(set(masks) - {Path(path).stem for path in images})
    skipped = [*skipped, *found.skipped, *(Skipped(masks[stem], "mask without an image") for stem in unused)]
    notes = [f"{sum(bool(item.mask) for item in items)} of {len(masks)} masks belong to an image"]
    return Listing(_PARTS[folder.name], folder, items, skipped, notes)


def _read_labels(table: Path) -> dict[str, str]:
    numbers, classes = columns_of(table, 0, 1)
    for number, label in zip(numbers, classes, strict=True):
        if label not in _CLASSES:
            raise UserError(f"{table}: expected labels 1 to 5, found {label or 'none'} of image {number}")
    return {_number(number): _CLASSES[label] for number, label in zip(numbers, classes, strict=True)}


def _labels_of(part: str) -> str:
    return f"Class Labels of {part}.csv"


def _number(name: str) -> str:
    """`001.bmp` and `1` are one image."""
    return re.sub(r"\D", "", Path(name).stem).lstrip("0")
