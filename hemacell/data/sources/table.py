"""A table that names images and their labels: `data=cells.csv`, `.tsv` or `.parquet`.

    image;label;split;patient;mask                filename,class,xmin,ymin,xmax,ymax
    a/1.png;Neutrophil;train;7;masks/1.png        field1.jpg,WBC,120,80,184,150

Paths are absolute or relative to the table's folder. See `tables` for the names of columns.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.data.boxes import box_of_texts, split_box, with_box
from hemacell.data.class_names import split_of
from hemacell.data.manifest import Skipped
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.tables import TABLES, Table, open_table, place_of, require_some_file

_NO_LABEL = ("", "na", "n/a", "nan")  # as R and pandas write what is missing


@source("a table", jobs=("wbc",))
class LabelTable(Source):
    """One row per image, or per box in an image."""

    general = True

    @classmethod
    def matches(cls, root: Path) -> bool:
        return root.suffix.lower() in TABLES and root.is_file()

    def listing(self, options: SourceOptions) -> Listing:
        """Read the table.

        Raises:
            UserError: no column of images or labels, two that could be the label, splits of other names, no files.
        """
        self.refuse(options)
        table, folder = open_table(self.root), self.root.parent
        image, label = table.image_column(), _label_column(table)
        split, group, mask = (next(iter(table.find(what)), "") for what in ("split", "group", "mask"))
        boxes, corners = table.box_columns()
        images, labels, splits, groups, masks, *sides = table.texts(
            [image, label, split, group, "" if boxes else mask, *boxes]
        )
        places = [place_of(folder, path) for path in images]
        require_some_file(self.root, folder, (split_box(place)[0] for place in places))
        splits, notes = _splits(self.root, split, splits)
        divided = any(splits)
        notes += _notes({"split": split if divided else "", "group": group, "mask": mask}, masks, boxes)

        items: dict[Item, None] = {}
        skipped = []
        for number, place in enumerate(places):
            path, reason = str(folder / place), "" if place else "row without an image"
            if boxes and not reason:
                box = box_of_texts([side[number] for side in sides], corners)
                path, reason = (with_box(path, box), "") if box else (path, "row without a box in pixels")
            own_mask = str(folder / place_of(folder, masks[number])) if masks[number] else ""
            group_of = groups[number] or (place if boxes else "")  # crops of one picture overlap
            item = Item(path, _label(labels[number]), splits[number], group_of, own_mask)
            if not reason and divided and not item.split:
                reason = "row without a split"
            if not reason and item in items:
                reason = "row given twice"
            if reason:
                skipped.append(Skipped(place or f"row {number + 1}", reason))
            else:
                items[item] = None
        if not items:
            raise UserError(f"{self.root}: no row can be used: {skipped[0].reason}, such as {skipped[0].path}")
        if twice := _with_several_labels(items):
            notes.append(f"{len(twice)} images stand under several labels, such as {twice[0]}")
        return Listing(self.root.stem, folder, list(items), skipped, notes)


def _with_several_labels(items: Iterable[Item]) -> list[str]:
    labels: dict[str, set[str]] = defaultdict(set)
    for item in items:
        labels[item.path].add(item.label)
    return [path for path, names in labels.items() if len(names) > 1]


def _label_column(table: Table) -> str:
    found = table.find("label")
    if len(found) > 1:
        raise UserError(f"{table.file}: {' and '.join(found)} could both be the label; rename or remove one of them")
    if not found:
        raise UserError(
            f"{table.file}: expected a column label, class or cell_type, found {table.shown()}; rename the column that "
            "has the labels"
        )
    return found[0]


def _label(text: str) -> str:
    if text.lower() in _NO_LABEL:
        return ""
    return text[:-2] if re.fullmatch(r"\d+\.0", text) else text  # a number beside missing ones


def _splits(file: Path, column: str, values: Sequence[str]) -> tuple[list[str], list[str]]:
    """The split of every row, and notes."""
    known = {value: split_of(value) for value in set(values) if value}
    others = sorted(value for value, split in known.items() if not split)
    if others and len(others) < len(known):
        raise UserError(
            f"{file}: expected train, val or test in the column {column}, found {', '.join(others[:4])}; correct it"
        )
    notes = [f"the column {column} is not used: it names no splits ({', '.join(others[:4])})"] if others else []
    return ([""] * len(values) if others else [known.get(value, "") for value in values]), notes


def _notes(columns: dict[str, str], masks: Sequence[str], boxes: Sequence[str]) -> list[str]:
    notes = [f"{what} by the column {columns[what]}" for what in ("split", "group") if columns[what]]
    if boxes:
        notes.append(f"boxes by the columns {', '.join(boxes)}")
        notes += [] if columns["group"] else ["boxes of one picture are a group"]
    if columns["mask"]:
        number = sum(map(bool, masks))
        notes.append("masks are not used: they do not go with boxes" if boxes else f"{number} images have a mask")
    return notes
