"""LISC: fields with one kind of white cell each, and masks of the cells that an expert drew.

    LISC Database/Main Dataset/{Baso,eosi,lymp,mixt,mono,neut}/7.bmp
    LISC Database/Ground Truth Segmentation/{Baso,…}/areaforexpert1/7_expert.bmp

The masks have 4 pixels less at each side than the fields. Every cell of a mask becomes an image, the square around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hemacell.data.boxes import Box, square_around, with_box
from hemacell.data.class_names import normal_form
from hemacell.data.images import UnreadableImage, image_size, read_mask
from hemacell.data.manifest import Card, Skipped
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.sources.places import entry_of, folder_with
from hemacell.data.walk import walk

_CLASSES = {"baso": "Basophil", "eosi": "Eosinophil", "lymp": "Lymphocyte", "mono": "Monocyte", "neut": "Neutrophil"}
_FIELDS, _MASKS = "Main Dataset", "Ground Truth Segmentation"
_MOST_BORDER = 16  # pixels that a mask may lack at each side
_GAP = 5  # pixels between parts of one cell
_LEAST = 0.1  # of the largest cell's area: smaller spots are slips of the pen


@source("LISC", jobs=("wbc",))
class Lisc(Source):
    """The cells of the main set, each with its mask, grouped by field."""

    card = Card(
        "free for research and education; no redistribution",
        "S. H. Rezatofighi and H. Soltanian-Zadeh, Automatic recognition of five types of white blood cells in "
        "peripheral blood, Computerized Medical Imaging and Graphics 2011",
    )

    @classmethod
    def matches(cls, root: Path) -> bool:
        return folder_with(root, _FIELDS, _MASKS) is not None

    def listing(self, options: SourceOptions) -> Listing:
        """Find the cells in the masks.

        Raises:
            UserError: an option that it does not know.
        """
        self.refuse(options)
        folder = folder_with(self.root, _FIELDS, _MASKS) or self.root
        fields, drawn = walk(entry_of(folder, _FIELDS)), walk(entry_of(folder, _MASKS))
        masks: dict[tuple[str, str], Path] = {}
        for path in drawn.images:
            masks.setdefault(_key(path), drawn.root / path)  # of several experts the first
        items: list[Item] = []
        skipped = [*fields.skipped, *drawn.skipped]
        for path in fields.images:
            kind, number = _key(path)
            if kind not in _CLASSES:
                several = kind == "mixt"
                skipped.append(
                    Skipped(path, "mixt, cells of several classes" if several else "not of the five classes")
                )
                continue
            if (kind, number) not in masks:
                skipped.append(Skipped(path, "field without a mask"))
                continue
            try:
                for image, mask in _cells(fields.root / path, masks[kind, number]):
                    items.append(Item(image, _CLASSES[kind], group=f"{kind}/{number}", mask=mask))
            except UnreadableImage as error:
                skipped.append(Skipped(path, f"field or mask {error}"))
        used = len({item.group for item in items})
        return Listing(
            "LISC", folder, items, skipped, [f"{len(items)} cells in {used} fields, cut out around their masks"]
        )


def _cells(field: Path, mask: Path) -> Iterator[tuple[str, str]]:
    """The path of each cell of a field, and that of its part of the mask."""
    from scipy import ndimage

    size, mask_size = image_size(field), image_size(mask)
    across, down = ((whole - part) // 2 for whole, part in zip(size, mask_size, strict=True))
    if not (0 <= across <= _MOST_BORDER and 0 <= down <= _MOST_BORDER):
        raise UnreadableImage("differ in size")
    inside = read_mask(mask, mask_size) > 0
    parts, _ = ndimage.label(ndimage.binary_dilation(inside, iterations=_GAP))
    parts[~inside] = 0
    areas = np.bincount(parts.ravel())[1:]
    if not areas.any():
        raise UnreadableImage("shows no cell")
    for area, place in zip(areas, ndimage.find_objects(parts), strict=True):
        if place is None or area < _LEAST * areas.max():
            continue
        rows, columns = place
        box = Box(columns.start + across, rows.start + down, columns.stop - columns.start, rows.stop - rows.start)
        square = square_around(size, box)
        of_mask = square._replace(left=square.left - across, top=square.top - down)
        yield with_box(str(field), box), with_box(str(mask), of_mask)


def _key(path: str) -> tuple[str, str]:
    """Class folder and number of a field or a mask: `Baso/areaforexpert1/7_expert.bmp` and `Baso/7.bmp` are one."""
    return normal_form(path.split("/")[0]), Path(path).stem.partition("_")[0]
