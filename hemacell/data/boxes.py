"""Boxes in larger pictures: a row of a manifest can be a part of a file, written `fields/7.jpg#xywh=120,80,64,70`.

The form is that of W3C's Media Fragments: left, top, width and height in pixels of the picture. An image is the
square around its box; the mask of such an image is named as that very square of a mask's file, and may reach over its
border.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from hemacell.core.files import digests_of_files
from hemacell.data.images import Picture, UnreadableImage, check_mask_size, image_size, read_mask, read_picture
from hemacell.data.whole_pictures import WholePictures

MARGIN = 1.5
"""Side of the crop, in longer sides of the box: boxes are drawn tightly, while crops of cells show their surround."""

WHOLE_PICTURES = WholePictures()  # the boxes of a picture follow each other, and several threads read at once
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


def box_of_texts(values: Sequence[str], corners: bool) -> Box | None:
    """A box in whole pixels; None where the texts are no numbers, are shares of the picture, or span nothing.

    Args:
        values: left, top and two more, as `Table.box_columns` finds them.
        corners: whether these are the lower right corner; else width and height.
    """
    try:
        left, top, third, fourth = (float(value.replace(",", ".")) for value in values)
        width, height = (third - left, fourth - top) if corners else (third, fourth)
        box = Box(round(left), round(top), math.ceil(width), math.ceil(height))
    except (ValueError, OverflowError):
        return None
    in_shares = max(abs(left), abs(top), third, fourth) <= 1
    return None if in_shares or min(box.width, box.height) < 1 else box


def read_path(path: str, bits: int | None = None) -> Picture:
    """Read the image of a row: a file, or the square around a box in it.

    Raises:
        UnreadableImage: as `read_picture`, or the box is empty or lies outside of the picture.
    """
    file, box = split_box(path)
    if box is None:
        return read_picture(Path(file), bits=bits)
    picture = WHOLE_PICTURES.read(file, bits)
    return Picture(crop_around(picture.image, box), picture.note)


def read_mask_path(path: str, size: tuple[int, int]) -> np.ndarray:
    """Read the mask of a row: a file, or the part of it that the path names, 0 where that lies outside of the file.

    Args:
        path: of the mask.
        size: (width, height) of the row's image.

    Returns:
        uint8 [H, W], as `images.read_mask`.

    Raises:
        UserError: the mask has another size than its image.
        UnreadableImage: as for `read_picture`.
    """
    file, part = split_box(path)
    if part is None:
        return read_mask(Path(file), size)
    check_mask_size(Path(file), (part.width, part.height), size)
    whole = Image.fromarray(read_mask(Path(file), image_size(Path(file))))
    return np.asarray(whole.crop((part.left, part.top, part.left + part.width, part.top + part.height)))


def path_size(path: str) -> tuple[int, int]:
    """(width, height) of the image of a row, from its file's header. Raises UnreadableImage."""
    file, box = split_box(path)
    size = image_size(Path(file))
    if box is None:
        return size
    square = square_around(size, box)
    return square.width, square.height


def mask_path_size(path: str) -> tuple[int, int]:
    """(width, height) of the mask of a row. Raises UnreadableImage."""
    file, part = split_box(path)
    return image_size(Path(file)) if part is None else (part.width, part.height)


def digests_of_paths(paths: Sequence[str]) -> list[str]:
    """sha256 (hex) of each file or part of a file; every file is read once."""
    places = [split_box(path) for path in paths]
    files = dict.fromkeys(file for file, _ in places)
    of_file = dict(zip(files, digests_of_files(files), strict=True))
    return [
        of_file[file] if box is None else hashlib.sha256(f"{of_file[file]} {box}".encode()).hexdigest()
        for file, box in places
    ]


def crop_around(image: Image.Image, box: Box) -> Image.Image:
    """The part of a picture that `square_around` gives. Raises UnreadableImage."""
    square = square_around(image.size, box)
    return image.crop((square.left, square.top, square.left + square.width, square.top + square.height))


def square_around(size: tuple[int, int], box: Box) -> Box:
    """The square around a box, `MARGIN` times as large as its longer side, moved or shrunk to lie in the picture.

    Raises:
        UnreadableImage: the box is empty or lies outside of the picture.
    """
    width, height = size
    if min(box.width, box.height) < 1:
        raise UnreadableImage("has no box in pixels")
    right, bottom = box.left + box.width, box.top + box.height
    if right <= 0 or bottom <= 0 or box.left >= width or box.top >= height:
        raise UnreadableImage(f"has {width}x{height} pixels, and the box {tuple(box)} lies outside of them")
    side = min(round(MARGIN * max(box.width, box.height)), width, height)
    left = min(max(round(box.left + box.width / 2 - side / 2), 0), width - side)
    top = min(max(round(box.top + box.height / 2 - side / 2), 0), height - side)
    return Box(left, top, side, side)
