"""Boxes as annotation programs write them: Pascal VOC (one .xml file per picture) and YOLO (one .txt file per picture).

Such files come from outside, so neither reader follows anything that they name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from hemacell.data.boxes import Box

_MOST_BYTES = 10_000_000  # of one annotation: about 50,000 boxes


class LabelledBox(NamedTuple):
    """One object in a picture."""

    label: str
    box: Box


class UnreadableBoxes(ValueError):
    """An annotation that cannot be read; the text is the reason, the same for all of its kind."""


def read_voc(file: Path) -> list[LabelledBox]:
    """Read a Pascal VOC annotation. Its corners count pixels from 1, and both belong to the box.

    Raises:
        UnreadableBoxes: no XML in UTF-8, a document type (which could name other files, or grow without bound), an
            object without a name or with corners that are no numbers.
    """
    data = _bytes(file)
    if b"\0" in data or b"<!doctype" in data.lower():
        raise UnreadableBoxes("annotation has a document type, or is not in UTF-8")
    try:
        objects = ElementTree.fromstring(data).findall("object")
        return [
            _of_corners(
                (each.findtext("name") or "").strip(),
                [float(each.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")],
            )
            for each in objects
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise UnreadableBoxes("annotation is no VOC file") from error


def read_yolo(file: Path, size: tuple[int, int], names: Sequence[str]) -> list[LabelledBox]:
    """Read a YOLO annotation: lines of class, centre x and y, width and height, as shares of the picture.

    Args:
        file: the annotation; an empty one has no boxes.
        size: (width, height) of the picture in pixels.
        names: of the classes, in their order.

    Raises:
        UnreadableBoxes: other lines, a class without a name, shares outside of 0 to 1.
    """
    try:
        lines = [line.split() for line in _bytes(file).decode().splitlines() if line.strip()]
        boxes = []
        for number, *shares in lines:
            x, y, width, height = map(float, shares)
            if not all(0 <= share <= 1 for share in (x, y, width, height)) or not 0 <= int(number) < len(names):
                raise UnreadableBoxes("annotation has a class or a share out of range")
            corners = [(x - width / 2) * size[0], (y - height / 2) * size[1]]
            sides = [width * size[0], height * size[1]]
            boxes.append(LabelledBox(names[int(number)], Box(*map(round, (*corners, *sides)))))
    except UnreadableBoxes:
        raise
    except ValueError as error:  # UnicodeDecodeError is one
        raise UnreadableBoxes("annotation is no YOLO file") from error
    return boxes


def _of_corners(label: str, corners: Sequence[float]) -> LabelledBox:
    if not label or not all(map(math.isfinite, corners)):
        raise ValueError("an object without a name or corners")
    left, top, right, bottom = map(round, corners)
    return LabelledBox(label, Box(left - 1, top - 1, max(right - left + 1, 0), max(bottom - top + 1, 0)))


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise UnreadableBoxes("annotation is too large")
        return file.read_bytes()
    except OSError as error:
        raise UnreadableBoxes(f"annotation cannot be opened: {error.strerror}") from error
