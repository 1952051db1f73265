"""Boxes in larger pictures: a row of a manifest can be a part of a file, written `fields/7.jpg#xywh=120,80,64,70`.

The form is that of W3C's Media Fragments: left, top, width and height in pixels of the picture.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from hemacell.data.images import Picture, UnreadableImage, read_picture

MARGIN = 1.5
"""Side of the crop, in longer sides of the box: boxes are drawn tightly, while crops of cells show their surround."""

_FRAGMENT = re.compile(r"(.+)#xywh=(-?\d+),(-?\d+),(\d+),(\d+)", re.DOTALL)


class Box(NamedTuple):
    """Pixels of a picture, from its upper left corner."""

    left: int
    top: int
    width: int
    height: int


def with_box(path: str, box: Box) -> str:
    """The path of a part of a picture."""
    return f"{path}#xywh={box.left},{box.top},{box.width},{box.height}"


def split_box(path: str) -> tuple[str, Box | None]:
    """The path of the file, and the box where the path names one."""
    match = _FRAGMENT.fullmatch(path)
    return (match[1], Box(*map(int, match.groups()[1:]))) if match else (path, None)


def read_path(path: str, bits: int | None = None) -> Picture:
    """Read the image of a row: a file, or the square around a box in it.

    Raises:
        UnreadableImage: as `read_picture`, or the box is empty or lies outside of the picture.
    """
    file, box = split_box(path)
    if box is None:
        return read_picture(Path(file), bits=bits)
    picture = _whole(file, bits)
    return Picture(crop_around(picture.image, box), picture.note)


def crop_around(image: Image.Image, box: Box) -> Image.Image:
    """The square around a box, `MARGIN` times as large as its longer side, moved or shrunk to lie in the picture.

    Raises:
        UnreadableImage: the box is empty or lies outside of the picture.
    """
    right, bottom = box.left + box.width, box.top + box.height
    if (
        min(box.width, box.height) < 1
        or right <= 0
        or bottom <= 0
        or box.left >= image.width
        or box.top >= image.height
    ):
        raise UnreadableImage(f"has {image.width}x{image.height} pixels, and the box {tuple(box)} lies outside of them")
    side = min(round(MARGIN * max(box.width, box.height)), image.width, image.height)
    left = min(max(round(box.left + box.width / 2 - side / 2), 0), image.width - side)
    top = min(max(round(box.top + box.height / 2 - side / 2), 0), image.height - side)
    return image.crop((left, top, left + side, top + side))


@lru_cache(maxsize=8)  # the boxes of a picture follow each other, and several threads read at once
def _whole(file: str, bits: int | None) -> Picture:
    return read_picture(Path(file), bits=bits)
