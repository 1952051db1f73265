"""What kind of files the images are, by their headers: format, size, mode and depth."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import tifffile
from PIL import Image

from hemacell.core.threads import available_cores
from hemacell.data.boxes import split_box
from hemacell.data.images import FORMATS
from hemacell.data.manifest import Manifest


class FileFacts(NamedTuple):
    """The header of one image file; the fields are the columns of `file_facts`."""

    format: str
    """As Pillow names it, '' for what is not a file (a patch of an array) or cannot be opened."""
    width: int
    """Of the file, in pixels; 0 where it is not known."""
    height: int
    mode: str
    """As Pillow names it: RGB, L (grey), RGBA, P (palette), CMYK, …"""
    bits: int
    """Per channel, as stored."""
    bytes: int
    """Size of the file."""


NOT_KNOWN = FileFacts("", 0, 0, "", 0, 0)


def file_facts(manifest: Manifest) -> pd.DataFrame:
    """The headers of all images, one row per row of the manifest; files are opened, their pixels are not decoded.

    Boxes of one picture share its file. Sources whose images are not files give `NOT_KNOWN`.
    """
    if manifest.read is not None:
        return pd.DataFrame([NOT_KNOWN] * len(manifest), columns=FileFacts._fields)
    names = [split_box(path)[0] for path in manifest.table["path"]]
    files = list(dict.fromkeys(names))
    with ThreadPoolExecutor(available_cores()) as pool:
        facts = dict(zip(files, pool.map(_facts, files), strict=True))
    return pd.DataFrame([facts[name] for name in names], columns=FileFacts._fields)


def count_kinds(facts: pd.DataFrame) -> list[tuple[str, int]]:
    """The kinds of files with their numbers, the most frequent first: (`JPEG, RGB, 8 bits, 224 x 224`, 120)."""
    known = facts[facts["format"] != ""]
    counted = known.groupby(["format", "mode", "bits", "width", "height"]).size().sort_values(ascending=False)
    return [
        (f"{format}, {mode}, {bits} bits, {width} x {height}", int(count))
        for (format, mode, bits, width, height), count in counted.items()
    ]


def _facts(name: str) -> FileFacts:
    path = Path(name)
    try:
        with Image.open(path, formats=FORMATS) as image:
            kind, size, mode = str(image.format), image.size, image.mode
        return FileFacts(kind, *size, mode, _bits(path, kind), path.stat().st_size)
    except Exception:  # as in `images`: damaged headers raise errors of many types; decoding lists them with the reason
        return NOT_KNOWN


def _bits(path: Path, kind: str) -> int:
    if kind == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24]
    if kind == "TIFF":
        with tifffile.TiffFile(path) as file:
            return int(file.pages.first.bitspersample)
    return 8
