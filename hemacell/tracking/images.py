"""Pictures as they come over the wire: bytes or base64 text, never the name of a file."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from hemacell.data.images import UnreadableImage, read_rgb

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

COLUMN = "image"

# Decoded pictures that are held at once: a table of ten thousand files must not become ten thousand bitmaps.
CHUNK = 64


def decode(value: object) -> Image | str:
    """A cell of the table as an RGB picture, or the reason why it is none.

    Text is taken as base64 and nothing else. A path is refused like any other text: a served model must not open
    files of its server because a caller names them.
    """
    if isinstance(value, str):
        try:
            value = base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            return "neither the bytes of an image file nor base64 text of them"
    if isinstance(value, (bytearray, memoryview)):
        value = bytes(value)
    if not isinstance(value, bytes):
        return f"expected bytes or base64 text of an image file, found {type(value).__name__}"
    try:
        return read_rgb(value)
    except UnreadableImage as error:
        return str(error)


def column(table: pd.DataFrame) -> list[object]:
    """The pictures of a table, undecoded, in its order.

    Raises:
        ValueError: the table has no column `image`.
    """
    if COLUMN not in table.columns:
        raise ValueError(f"expected a table with the column {COLUMN!r}, found the columns {list(table.columns)}")
    return list(table[COLUMN])


def chunks(pictures: Iterable[Image | str]) -> Iterator[list[Image | str]]:
    """Successive lists of at most `CHUNK` pictures."""
    source = iter(pictures)
    while chunk := list(islice(source, CHUNK)):
        yield chunk
