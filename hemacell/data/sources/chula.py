"""WBC_Dataset of Chulalongkorn University: whole fields with YOLO boxes, and cells that were cut out of them.

    WBC_Samples/{train,valid}/images/E-14_0586.jpg      slide E-14, frame 586
    WBC_Samples/{train,valid}/labels/E-14_0586.txt      class, centre x and y, width and height
    <Class>/E-14_0586_0.jpg with cells.csv              file,cell: which cut-out pictures show the same cell

Frames follow each other on a slide, so many of them show the same cell.
"""

from __future__ import annotations

import os
from pathlib import Path

from hemacell.data.boxes import with_box
from hemacell.data.images import UnreadableImage, image_size
from hemacell.data.manifest import Card, Skipped, shown
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.class_folders import list_folder
from hemacell.data.sources.formats import UnreadableBoxes, read_yolo
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.sources.places import columns_of, folder_with
from hemacell.data.tables import place_of
from hemacell.data.walk import walk

_CLASSES = ("Neutrophil", "Eosinophil", "Basophil", "Lymphocyte", "Monocyte")  # in the order of their numbers
_CARD = Card("MIT", "WBC_Dataset, Chulalongkorn University, 2022, github.com/singgihbekti/WBC_Dataset")


@source("Chula (WBC_Dataset)", jobs=("wbc",))
class Chula(Source):
    """Every box as a cell, grouped by slide; the two folders are divided anew, as they share slides."""

    card = _CARD

    @classmethod
    def matches(cls, root: Path) -> bool:
        folder = folder_with(root, "train", "valid")
        return folder is not None and any((folder / "train" / "labels").glob("[BELMN]-*_[0-9][0-9][0-9][0-9].txt"))

    def listing(self, options: SourceOptions) -> Listing:
        """All boxes of both folders.

        Raises:
            UserError: an option that it does not know.
        """
        self.refuse(options)
        folder = folder_with(self.root, "train", "valid") or self.root
        found = walk(folder)
        listing = Listing("Chula", folder, [], list(found.skipped))
        for path in found.images:
            try:
                listing.items += _cells(folder / path)
            except (UnreadableBoxes, UnreadableImage) as error:
                listing.skipped.append(Skipped(path, str(error)))
        slides = len({item.group for item in listing.items})
        listing.notes.append(f"{slides} slides, by the names of the files; train and valid share slides: divided anew")
        return listing


@source("cut-out cells with cells.csv", jobs=("wbc",))
class CutOutCells(Source):
    """Class folders beside a table that says which pictures show the same cell: its group."""

    card = _CARD

    @classmethod
    def matches(cls, root: Path) -> bool:
        return (root / "cells.csv").is_file() and any(root.glob("[A-Z]*/[BELMN]-*_[0-9][0-9][0-9][0-9]_[0-9].jpg"))

    def listing(self, options: SourceOptions) -> Listing:
        """All pictures; one that the table does not name is a cell of its own.

        Raises:
            UserError: an option that it does not know, a table that cannot be read.
        """
        self.refuse(options)
        listing = list_folder(self.root, self.root.name, self.root)
        files, cells = columns_of(self.root / "cells.csv", 0, 1)
        cell_of = {place_of(self.root, file): cell for file, cell in zip(files, cells, strict=True)}
        listing.items = [item._replace(group=cell_of.get(shown(item.path, self.root), "")) for item in listing.items]
        number = len({item.group for item in listing.items if item.group})
        listing.notes.append(f"{number} cells by cells.csv")
        return listing


def _cells(picture: Path) -> list[Item]:
    """The boxes of one field. Flipped copies (HF-) belong to the slide that they are of."""
    labels = picture.parent.parent / "labels" / f"{picture.stem}.txt"
    slide = os.path.splitext(picture.name)[0].rpartition("_")[0].removeprefix("HF-")
    boxes = read_yolo(labels, image_size(picture), _CLASSES)
    return [Item(with_box(str(picture), box), label, group=slide) for label, box in boxes]
