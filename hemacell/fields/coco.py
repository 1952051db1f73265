"""Boxes of COCO: one .json file with the pictures, the boxes and the names of classes of a set."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

from hemacell.core.errors import UserError, in_one_line
from hemacell.data.boxes import Box
from hemacell.data.sources.formats import LabelledBox

_MOST_BYTES = 500_000_000


def is_coco(file: Path) -> bool:
    """Whether a .json file looks like one of COCO, by its start and its end; none of it is parsed."""
    with open(file, "rb") as stream:
        head = stream.read(1 << 16)
        stream.seek(max(0, file.stat().st_size - (1 << 16)))
        ends = head + stream.read()
    return head.lstrip().startswith(b"{") and any(name in ends for name in (b'"images"', b'"annotations"'))


def read_coco(file: Path) -> tuple[dict[str, list[LabelledBox]], int]:
    """Read a set.

    Returns:
        Name of each picture, as the file has it -> its boxes; and how many annotations have no box.

    Raises:
        UserError: no file of COCO, or one of more than 500 MB.
    """
    if file.stat().st_size > _MOST_BYTES:
        raise UserError(
            f"{file}: has more than {_MOST_BYTES // 1_000_000} MB; divide it, one file per folder of pictures"
        )
    try:
        content = json.loads(file.read_bytes())
        names = {each["id"]: str(each["name"]) for each in content.get("categories", [])}
        pictures = {each["id"]: str(each["file_name"]) for each in content["images"]}
        boxes: dict[str, list[LabelledBox]] = {picture: [] for picture in pictures.values()}
        found = defaultdict(list)
        for each in content["annotations"]:
            found[pictures[each["image_id"]]].append((names.get(each.get("category_id"), ""), each.get("bbox")))
    except (
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
    ) as error:
        raise UserError(
            f"{file}: expected a file of COCO with images and annotations ({type(error).__name__}: "
            f"{in_one_line(error)[:100]}); export it again"
        ) from error
    without = 0
    for picture, objects in found.items():
        for label, numbers in objects:
            box = _box(numbers)
            without += box is None
            boxes[picture] += [LabelledBox(label, box)] if box else []
    return boxes, without


def _box(numbers: object) -> Box | None:
    """Left, top, width and height; None where they are no numbers or span nothing."""
    if (
        not isinstance(numbers, list)
        or len(numbers) != 4
        or not all(isinstance(each, (int, float)) for each in numbers)
    ):
        return None
    left, top, width, height = map(float, numbers)
    if not all(map(math.isfinite, (left, top, width, height))) or min(width, height) <= 0:
        return None
    return Box(round(left), round(top), max(1, round(width)), max(1, round(height)))
