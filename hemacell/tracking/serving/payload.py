"""Pictures as they come over the wire: bytes or base64 text, never the name of a file."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from hemacell.data.images import MAX_PIXELS, UnreadableImage, read_rgb

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

COLUMN = "image"
_URL_SAFE = str.maketrans("-_", "+/")


def decode(value: object, max_bytes: int | None = None, max_pixels: int = MAX_PIXELS) -> Image | str:
    """An entry of the table as an RGB image, or the reason why it cannot be read.

    Text is taken as base64 and nothing else, in the forms that programs and browsers write (see `_from_base64`). A path
    is refused like any other text: a served model must not open files of its server because a caller names them.

    Of 16 bits, the depth of the camera is what the file states, else a guess by the picture's largest value: a request
    has no set of images that would show it.

    Args:
        value: bytes or base64 text of an image file.
        max_bytes: of the file; None for any number.
        max_pixels: of the image, by its header.
    """
    if isinstance(value, str):
        try:
            value = _from_base64(value)
        except (binascii.Error, ValueError):
            return "neither the bytes of an image file nor base64 text of them"
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    if not isinstance(value, bytes):
        return f"expected bytes or base64 text of an image file, found {type(value).__name__}"
    if max_bytes is not None and len(value) > max_bytes:
        return f"has more than {max_bytes} bytes"
    try:
        return read_rgb(value, max_pixels)
    except UnreadableImage as error:
        return str(error)


def _from_base64(text: str) -> bytes:
    """The bytes that base64 text stands for: in lines or not, with `+/` or `-_`, padded or not, or as a data URL.

    Raises:
        binascii.Error, ValueError: it is something else.
    """
    text = "".join(text.split())
    if text[:5].lower() == "data:":  # what browsers make of a file: data:image/png;base64,iVBOR...
        text = text.partition(",")[2]
    text = text.rstrip("=").translate(_URL_SAFE)
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def column(table: pd.DataFrame) -> list[object]:
    """The pictures of a table, undecoded, in its order.

    Raises:
        ValueError: the table has no column `image`.
    """
    if COLUMN not in table.columns:
        raise ValueError(f"expected a table with the column {COLUMN!r}, found the columns {list(table.columns)}")
    return list(table[COLUMN])
