"""Pixels that Pillow does not keep: more than 8 bits per channel, planes and pages of TIFF files.

Cameras of microscopes write 10, 12 or 14 bits into files of 16 bits per channel. Pillow reads the upper byte of these,
so that a picture of 12 bits is nearly black. Of three grey pages that are red, green and blue it reads the first.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, NamedTuple

import imagecodecs
import numpy as np
import tifffile

from hemacell.data.walk import image_kind

_PNG_BITS = slice(24, 25)  # the byte of the bit depth in a PNG's header
_MOST_TAGS = 4096
_BITS, _SAMPLES, _PLANAR, _SHORT = 258, 277, 284, 3  # tags of a TIFF, and the type of their values
MOST_BITS = 16
_DEPTHS = (8, 10, 12, 14, MOST_BITS)  # of cameras and files


class UnsupportedPixels(ValueError):
    """Pixels of a kind that is no picture of a camera; the text is the reason."""


class DeepPixels(NamedTuple):
    """What is stored, undecided how bright it is shown."""

    values: np.ndarray
    """uint8 or uint16 [H, W] or [H, W, 3 or 4]."""
    full_scale: int
    """The value of white where the file states it; 0 where it does not."""
    note: str
    """What a user should know of how it was read; '' for nothing."""

    def unstated_maximum(self) -> int:
        """The largest value where the file does not state its white; 0 where it does, and for 8 bits."""
        stated = self.full_scale or self.values.dtype == np.uint8
        return 0 if stated else int(self.values.max(initial=0))


def stored_bits(file: BinaryIO, head: bytes) -> int:
    """Bits per channel as an image file stores them, by its header; arguments as in `is_deep`."""
    kind = image_kind(head)
    if kind == "PNG":
        return head[_PNG_BITS][0]
    return _first_page(file, head)[0].get(_BITS, 1) if kind == "TIFF" else 8


def is_deep(file: BinaryIO, head: bytes) -> bool:
    """Whether an image file needs `read_deep`; reads its header only.

    Args:
        file: open; it is left at another place.
        head: its first `walk.HEAD_BYTES` bytes.
    """
    kind = image_kind(head)
    if kind == "PNG":
        return head[_PNG_BITS] == b"\x10"
    if kind != "TIFF":
        return False
    tags, more_pages = _first_page(file, head)
    separate = tags.get(_PLANAR, 1) == tifffile.PLANARCONFIG.SEPARATE and tags.get(_SAMPLES, 1) > 1
    return tags.get(_BITS, 1) > 8 or separate or more_pages


def _first_page(file: BinaryIO, head: bytes) -> tuple[dict[int, int], bool]:
    """The tags of short numbers of a TIFF's first page, each by its first value, and whether it has more pages.

    Read here, as libraries parse all tags of a page: 0.1 ms (Pillow) or 0.4 (tifffile) per file, which counts for
    10,000 files before any work. See TIFF 6.0, section 2, and the BigTIFF design of AWare Systems.
    """
    order = "<" if head[:2] == b"II" else ">"
    large = head[2:4] in (b"+\0", b"\0+")
    count, entry, offset, start = ("Q", "HHQQ", "Q", 8) if large else ("H", "HHII", "I", 4)
    file.seek(struct.unpack_from(order + offset, head, start)[0])
    (entries,) = struct.unpack(order + count, file.read(struct.calcsize(order + count)))
    if entries > _MOST_TAGS:  # damaged: do not ask for that much memory
        raise UnsupportedPixels(f"has {entries} tags in its first page")
    size = struct.calcsize(order + entry)
    table = file.read(entries * size + struct.calcsize(order + offset))
    tags = {}
    for at in range(0, entries * size, size):
        tag, kind, values, place = struct.unpack_from(order + entry, table, at)
        if tag in (_BITS, _PLANAR, _SAMPLES) and kind == _SHORT:
            inline = 2 * values <= struct.calcsize(offset)
            if not inline:
                file.seek(place)
            first = table[at + size - struct.calcsize(offset) :][:2] if inline else file.read(2)
            (tags[tag],) = struct.unpack(order + "H", first)
    return tags, struct.unpack_from(order + offset, table, entries * size)[0] > 0


def read_deep(data: bytes, kind: str, max_pixels: int) -> DeepPixels:
    """The pixels of a PNG or TIFF as they are stored, undecoded where the header states more than `max_pixels`.

    Of several pages of a TIFF, three grey ones of one size are red, green and blue (as ImageJ and OME-TIFF store
    colours), unless ImageJ calls them slices or frames. Of others the first is taken: the full one of a pyramid.

    Raises:
        UnsupportedPixels: floating-point or 32-bit pixels, other numbers of channels than 1, 3 and 4, too many.
        Exception: whatever the libraries raise on damaged files.
    """
    if kind == "PNG":
        return DeepPixels(imagecodecs.png_decode(data), 0, "")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.imagewidth * page.imagelength > max_pixels:
            raise UnsupportedPixels(f"has more than {max_pixels} pixels")
        pages = [other for other in file.pages if other.shape == page.shape and other.dtype == page.dtype]
        if len(pages) == 3 and page.samplesperpixel == 1 and not _is_stack(file):
            values, note = (
                np.stack([other.asarray() for other in pages], axis=-1),
                "three grey pages read as red, green, blue",
            )
        else:
            values = page.asarray()
            if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and values.ndim == 3:
                values = np.moveaxis(values, 0, -1)
            note = f"the first of {len(pages)} pages is used" if len(pages) > 1 else ""
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            values = np.iinfo(values.dtype).max - values
        return DeepPixels(checked(values), _stated_scale(page), note)


def to_eight_bits(pixels: DeepPixels, bits: int | None = None) -> np.ndarray:
    """Scale to uint8, white to 255.

    Args:
        pixels: of a file.
        bits: of the camera, for files that do not state their white; None takes the smallest usual depth that holds the
            largest value of this picture.
    """
    values = pixels.values
    if values.dtype == np.uint8:
        return values
    white = pixels.full_scale or 2 ** (bits or depth_of(int(values.max(initial=0)))) - 1
    wide = np.minimum(values, white).astype(np.uint32)
    return ((wide * 255 + white // 2) // white).astype(np.uint8)


def depth_of(largest: int) -> int:
    """The smallest usual bit depth of a camera, 8 to 16, that holds a value."""
    return next(bits for bits in _DEPTHS if largest < 2**bits)


def _is_stack(file: tifffile.TiffFile) -> bool:
    described = file.imagej_metadata or {}
    return any(int(described.get(axis, 1)) > 1 for axis in ("slices", "frames"))


def _stated_scale(page: tifffile.TiffPage) -> int:
    """White as the file states it: bits that fill no whole bytes, or the largest sample value."""
    if page.bitspersample not in (8, 16):
        return int(2**page.bitspersample - 1)
    for name in ("SMaxSampleValue", "MaxSampleValue"):
        if (tag := page.tags.get(name)) is not None:
            return int(np.max(tag.value))
    return 0


def checked(values: np.ndarray) -> np.ndarray:
    """The pixels as uint8 or uint16 [H, W] or [H, W, 3 or 4]; raises UnsupportedPixels for others."""
    if values.dtype.kind == "f":
        raise UnsupportedPixels("has floating-point pixels; 8 or 16 bits are expected")
    if values.dtype not in (np.uint8, np.uint16):
        if values.min() < 0 or values.max() > 65535:
            raise UnsupportedPixels(f"has {values.dtype.itemsize * 8} bits per pixel; 8 or 16 are expected")
        values = values.astype(np.uint16)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 2 and not (values.ndim == 3 and values.shape[-1] in (3, 4)):
        raise UnsupportedPixels(f"has pixels of the shape {values.shape}; grey or RGB is expected")
    return values
