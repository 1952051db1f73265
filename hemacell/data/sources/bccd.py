"""BCCD, in the two forms that are passed on: fields with boxes, and the augmented folders of Kaggle.

    BCCD/{Annotations/BloodImage_00001.xml,JPEGImages/BloodImage_00001.jpg}, with labels.csv (number, Category) beside
    dataset2-master/images/{TRAIN,TEST,TEST_SIMPLE}/{EOSINOPHIL,…}/_0_1234.jpeg    number of the original, of the copy

The boxes name WBC, RBC and Platelets only. What kind of white cell a field shows is in labels.csv of Kaggle's
`dataset-master`.
"""

from __future__ import annotations

import re
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.data.boxes import with_box
from hemacell.data.class_names import normal_form, split_of
from hemacell.data.manifest import Card, Skipped
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.formats import UnreadableBoxes, read_voc
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.sources.places import columns_of, folder_with
from hemacell.data.walk import walk

_CARD = Card("MIT", "BCCD Dataset, github.com/Shenggan/BCCD_Dataset, after cosmicad and akshaylamba")
_WHITE = "WBC"
_COPY = re.compile(r"_(?P<original>\d+)_\d+")


@source("BCCD (fields)", jobs=("wbc",))
class BccdFields(Source):
    """The white cells of the fields, cut out; red cells and platelets where `classes=` names them."""

    card = _CARD

    @classmethod
    def matches(cls, root: Path) -> bool:
        folder = folder_with(root, "Annotations", "JPEGImages")
        return folder is not None and any((folder / "Annotations").glob("BloodImage_*.xml"))

    def listing(self, options: SourceOptions) -> Listing:
        """One row per box, grouped by field.

        Raises:
            UserError: an option that it does not know, no table that says what the white cells are.
        """
        self.refuse(options)
        folder = folder_with(self.root, "Annotations", "JPEGImages") or self.root
        wanted = {normal_form(pair.partition(":")[0]) for pair in options.classes.split(",")}
        categories = _categories(folder / "labels.csv")
        if not categories and not wanted & {"rbc", "platelets"}:
            raise UserError(
                f"{folder}: the boxes say WBC, RBC or Platelets, not which white cell; expected labels.csv of Kaggle's "
                "dataset-master beside Annotations; copy it there, or type classes=RBC:RBC,Platelets:Platelet"
            )
        items: list[Item] = []
        skipped: list[Skipped] = []
        for file in sorted((folder / "Annotations").glob("*.xml")):
            picture = folder / "JPEGImages" / f"{file.stem}.jpg"
            if not picture.is_file():
                skipped.append(Skipped(str(file), "annotation without a picture"))
                continue
            try:
                boxes = read_voc(file)
            except UnreadableBoxes as error:
                skipped.append(Skipped(str(file), str(error)))
                continue
            white = categories.get(_number(file.stem), "") if categories else _WHITE
            for name, box in boxes:
                path, label = with_box(str(picture), box), white if name == _WHITE else name
                if name != _WHITE and normal_form(name) not in wanted:
                    skipped.append(Skipped(path, f"{name}, no white cell"))
                elif not label:
                    skipped.append(Skipped(path, "white cell without a class of its own in labels.csv"))
                else:
                    items.append(Item(path, label, group=file.stem))
        return Listing("BCCD", folder, items, skipped, ["cells are grouped by their field; patients are not known"])


@source("BCCD (augmented copies, Kaggle)", jobs=("wbc",))
class BccdCopies(Source):
    """TRAIN and TEST of `dataset2-master`, copies of one original in one group."""

    card = _CARD

    @classmethod
    def matches(cls, root: Path) -> bool:
        folder = folder_with(root, "TRAIN", "TEST", "TEST_SIMPLE")
        return folder is not None and folder_with(folder / "TRAIN", "EOSINOPHIL", "NEUTROPHIL", depth=0) is not None

    def listing(self, options: SourceOptions) -> Listing:
        """All copies.

        Raises:
            UserError: an option that it does not know.
        """
        self.refuse(options)
        folder = folder_with(self.root, "TRAIN", "TEST", "TEST_SIMPLE") or self.root
        found = walk(folder)
        items: list[Item] = []
        skipped = list(found.skipped)
        copies = 0
        for path in found.images:
            part, label, *_ = [*path.split("/")[:-1], "", ""]
            if not (split := split_of(part)) or not label:
                reason = "TEST_SIMPLE, no split" if normal_form(part) == "testsimple" else "image outside of the splits"
                skipped.append(Skipped(path, reason))
                continue
            copy = _COPY.fullmatch(Path(path).stem)
            copies += bool(copy)
            group = f"{part} {label} {copy['original']}" if copy else ""
            items.append(Item(str(folder / path), label, split, group))
        originals = len({item.group for item in items if item.group})
        notes = [
            f"{copies} of {len(items)} images are augmented copies, by their names of {originals} originals",
            "whether TRAIN and TEST share originals is not known",
        ]
        return Listing("BCCD copies", folder, items, skipped, notes)


def _categories(table: Path) -> dict[str, str]:
    """Number of a field -> the class of its white cells, '' where they differ or it is not given."""
    if not table.is_file():
        return {}
    kinds = {}
    for number, text in zip(*columns_of(table, 1, 2), strict=True):
        names = {name.strip() for name in text.split(",")}
        kinds[_number(number)] = names.pop() if len(names) == 1 else ""
    return kinds


def _number(name: str) -> str:
    """`BloodImage_00012`, `12` and `12.0` are one field."""
    return name.removesuffix(".0").rpartition("_")[2].lstrip("0")
