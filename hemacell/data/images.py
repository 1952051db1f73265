"""Image files of any usual kind, read as 8-bit RGB."""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from hemacell.core.errors import UserError, in_one_line
from hemacell.core.threads import READERS, available_cores, map_in_threads
from hemacell.data.deep import (
    MOST_BITS,
    DeepPixels,
    UnsupportedPixels,
    checked,
    depth_of,
    is_deep,
    read_deep,
    stored_bits,
    to_eight_bits,
)
from hemacell.data.walk import HEAD_BYTES, image_kind

# Named, so that Pillow does not offer bytes from outside to parsers that are not needed here (EPS starts Ghostscript).
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
MAX_PIXELS = 89_478_485  # where Pillow warns of a decompression bomb: a quarter of a GiB as RGB
_AT_ONCE = 256  # files of 16 bits, before it is asked whether the rest can still change the camera's depth
INSIDE = 0.25  # of a mask's largest value: cytoplasm has half of the nucleus's value, JPEG noise far less


class UnreadableImage(ValueError):
    """An image file that cannot be read; the text is the reason, without the file's name."""


class Picture(NamedTuple):
    """An image as it is shown, and what a user should know of how its file was read."""

    image: Image.Image
    """8-bit RGB."""
    note: str
    """Such as 'the first of 12 pages is used'; '' for a usual file."""


def read_picture(source: Path | bytes, max_pixels: int = MAX_PIXELS, bits: int | None = None) -> Picture:
    """Read an image file, or its bytes, as 8-bit RGB; its kind is known by its content, not by its name.

    Grey, palette and CMYK images are converted, transparency is laid on white. More than 8 bits are scaled so that the
    camera's white is 255 (see `deep.to_eight_bits`). Pages of a TIFF: see `deep.read_deep`; of other files the first
    frame is taken. The EXIF orientation is ignored: masks are drawn on the pixels as stored.

    Args:
        source: the file, or what is in it.
        max_pixels: width x height above which the image is refused by its header, undecoded; at most `MAX_PIXELS`.
        bits: depth of the camera for files of 16 bits that do not state it, 8 to 16; None finds it in the picture, by
            its largest value.

    Raises:
        UnreadableImage: zero size, truncated, not an image, a decompression bomb, 32 bits per channel.
    """
    stored = _load(source, max_pixels)
    image, note = (stored, "") if isinstance(stored, Image.Image) else (_shown(stored, bits), stored.note)
    try:
        if image.mode != "RGB" and image.has_transparency_data:
            clear = image.convert("RGBA")
            if not clear.getchannel("A").getbbox():
                return Picture(clear.convert("RGB"), "transparent everywhere: the colours below are shown")
            image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
        # converted to what it is, a picture would be copied: 120 MB for one of 40 megapixels
        return Picture(image if image.mode == "RGB" else image.convert("RGB"), note)
    except (OSError, ValueError) as error:
        raise UnreadableImage(f"of mode {image.mode} cannot be turned into RGB: {in_one_line(error)}") from error


def read_rgb(source: Path | bytes, max_pixels: int = MAX_PIXELS, bits: int | None = None) -> Image.Image:
    """The image of `read_picture`."""
    return read_picture(source, max_pixels, bits).image


def bits_in_words(bits: int) -> str:
    """What is said once of a set with files of 16 bits."""
    return f"files of 16 bits are shown as those of a camera of {bits} bits"


def camera_bits(files: Iterable[Path | str], threads: int = READERS) -> int | None:
    """Depth of the camera that made the 16-bit files of a set: the smallest usual one that holds their largest value.

    One depth for all keeps the pictures comparable: a dark one of 12 bits stays dark. None where there is no such file,
    or where all state their depth.

    Args:
        files: of the set.
        threads: that read headers. One is several times as fast as many where the files were read just before, and lie
            in the system's memory; many wait for a slow disk together.
    """
    files = list(files)
    deep = [file for file, there in zip(files, map_in_threads(_is_deep, files, threads), strict=True) if there]
    largest = 0
    for start in range(0, len(deep), _AT_ONCE):
        some = deep[start : start + _AT_ONCE]
        largest = max(largest, *map_in_threads(_largest_value, some, available_cores()))
        if largest and depth_of(largest) == MOST_BITS:
            break  # the others cannot have more
    return depth_of(largest) if largest else None


def _is_deep(file: Path | str) -> bool:
    try:
        with open(file, "rb") as stream, _reasons():
            return is_deep(stream, stream.read(HEAD_BYTES))
    except (OSError, UnreadableImage):
        return False  # counted with its reason where the image is decoded


def _largest_value(file: Path | str) -> int:
    """The largest value of a 16-bit image whose file does not state its depth; 0 for others and unreadable ones."""
    try:
        stored = _read_deep(_bytes(Path(file)), MAX_PIXELS)
    except UnreadableImage:
        return 0
    return stored.unstated_maximum() if stored else 0


def _load(source: Path | bytes, max_pixels: int = MAX_PIXELS) -> Image.Image | DeepPixels:
    """The decoded image, or its stored pixels where Pillow would not show them as they are."""
    data = _bytes(source)
    if stored := _read_deep(data, max_pixels):
        return stored
    image = _open(data, max_pixels)
    with _reasons():
        image.load()
        if image.mode.startswith("I"):
            return DeepPixels(checked(np.asarray(image)), 0, "")
        if image.mode == "F":
            raise UnsupportedPixels("has floating-point pixels; 8 or 16 bits are expected")
    return image


def _read_deep(data: bytes, max_pixels: int) -> DeepPixels | None:
    """The stored pixels of an image that Pillow would not show as they are; None for others."""
    head = data[:HEAD_BYTES]
    kind = image_kind(head)
    with _reasons():
        if not is_deep(io.BytesIO(data), head):
            return None
        if kind == "PNG":
            _open(data, max_pixels)  # for its limit of pixels
        return read_deep(data, kind, max_pixels)


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn what libraries raise on damaged files into UnreadableImage."""
    try:
        yield
    except (MemoryError, UnreadableImage):
        raise
    except UnsupportedPixels as error:
        raise UnreadableImage(str(error)) from error
    except Exception as error:  # as in `_open`: OSError, SyntaxError, EOFError, struct.error, zlib.error ...
        kind = "is truncated" if "truncated" in str(error).lower() else "cannot be decoded"
        raise UnreadableImage(f"{kind}: {in_one_line(error)}") from error


def _bytes(source: Path | bytes) -> bytes:
    if isinstance(source, Path):
        try:
            source = source.read_bytes()
        except OSError as error:
            raise UnreadableImage(f"cannot be opened: {error.strerror}") from error
    if not source:
        raise UnreadableImage("has zero size")
    return source


def _open(data: bytes | BinaryIO, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open and check the header; the pixels are not decoded yet."""
    try:
        image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(f"has more than {max_pixels} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableImage("is not an image, or of an unknown kind") from error
    except Exception as error:  # Pillow's plugins let errors of many types through on damaged headers
        raise UnreadableImage(f"has a damaged header: {in_one_line(error)}") from error
    if image.width * image.height > max_pixels:
        raise UnreadableImage(f"has more than {max_pixels} pixels")
    return image


def _shown(stored: DeepPixels, bits: int | None = None) -> Image.Image:
    return Image.fromarray(to_eight_bits(stored, bits))


class Header(NamedTuple):
    """What the header of an image file says."""

    format: str
    """As Pillow names it, and so is the mode."""
    mode: str
    width: int
    """In pixels."""
    height: int
    bits: int
    """Per channel, as stored."""
    bytes: int
    """Size of the file."""


def image_header(path: Path | str) -> Header:
    """Read the header of an image file and no more of it. Raises UnreadableImage."""
    with _header(path) as (file, size):
        image = _open(file)
        file.seek(0)
        with _reasons():
            bits = stored_bits(file, file.read(HEAD_BYTES))
        return Header(str(image.format), image.mode, *image.size, bits, size)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) from the file's header; no more of the file is read. Raises UnreadableImage."""
    with _header(path) as (file, _):
        return _open(file).size


@contextmanager
def _header(path: Path | str) -> Iterator[tuple[BinaryIO, int]]:
    """A file to read its header from, and its size. Raises UnreadableImage."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise UnreadableImage("has zero size")
            yield file, size
    except OSError as error:
        raise UnreadableImage(f"cannot be opened: {error.strerror}") from error


def check_mask_size(path: Path, mask_size: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise UserError where a mask and its image differ in (width, height)."""
    if mask_size != size:
        raise UserError(
            f"the mask {path} has {mask_size[0]}x{mask_size[1]} pixels, its image {size[0]}x{size[1]}: expected the "
            "same size; draw the mask again, remove it, or type masks=off"
        )


def read_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Read a mask as grey values: 255 nucleus (or lesion), about 128 cytoplasm, 0 outside.

    Args:
        path: the mask's file, of any mode.
        size: (width, height) of the image that it belongs to.

    Returns:
        uint8 [H, W].

    Raises:
        UserError: the mask has another size than its image.
        UnreadableImage: as for `read_rgb`.
    """
    stored = _load(path)
    image = stored if isinstance(stored, Image.Image) else _shown(stored)
    check_mask_size(path, image.size, size)
    return np.asarray(image.convert("L"))


def inside(mask: np.ndarray) -> np.ndarray:
    """Which pixels [H, W] of a mask belong to the cell or lesion; none where the mask is empty.

    Relative to the mask's largest value, so that masks of 0/1/2 work like those of 0/128/255.
    """
    return mask > INSIDE * mask.max(initial=0)


def keep_inside(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """A copy with everything outside the mask in the colour of the image's border (its median: the background)."""
    pixels = np.asarray(image).copy()
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    pixels[~inside(mask)] = np.median(border, axis=0).astype(np.uint8)
    return Image.fromarray(pixels)


def to_square(image: Image.Image, size: int) -> np.ndarray:
    """Crop an RGB image to its central square and resize that to uint8 [size, size, 3].

    Bilinear with antialiasing (Pillow widens the filter when it shrinks). Training and inference both come through
    here, so a stored picture and the same picture sent to a served model have the same pixels.
    """
    # Not resize(box=...), whose filter reaches over the border of the box.
    return np.asarray(_central_square(image).resize((size, size), Image.Resampling.BILINEAR))


def mask_to_square(mask: np.ndarray, size: int) -> np.ndarray:
    """Bring what is inside a mask, bool [H, W], to the square of its picture (see `to_square`).

    Returns:
        float32 [size, size], the share of each pixel that lies inside, 0 to 1.
    """
    square = _central_square(Image.fromarray(mask.astype(np.float32)))
    return np.asarray(square.resize((size, size), Image.Resampling.BOX))


def _central_square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
