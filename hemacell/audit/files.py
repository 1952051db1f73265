"""What kind of files the images are, by their headers: format, size, mode and depth."""

from __future__ import annotations

import pandas as pd

from hemacell.core.threads import map_in_threads
from hemacell.data.boxes import split_box
from hemacell.data.images import Header, UnreadableImage, image_header
from hemacell.data.manifest import Manifest

NOT_KNOWN = Header("", "", 0, 0, 0, 0)
"""Of what is not a file (a patch of an array), or a TIFF whose header Pillow does not know."""


def file_facts(manifest: Manifest) -> pd.DataFrame:
    """The headers of all images, one row per row of the manifest, with the columns of `Header`.

    Boxes of one picture share its file. What has no header gives `NOT_KNOWN`.
    """
    if manifest.read is not None:
        return pd.DataFrame([NOT_KNOWN] * len(manifest), columns=Header._fields)
    names = [split_box(path)[0] for path in manifest.table["path"]]
    files = list(dict.fromkeys(names))
    facts = dict(zip(files, map_in_threads(_header, files), strict=True))
    return pd.DataFrame([facts[name] for name in names], columns=Header._fields)


def count_kinds(facts: pd.DataFrame) -> list[tuple[str, int]]:
    """The kinds of files with their numbers, the most frequent first: (`JPEG, RGB, 8 bits, 224 x 224`, 120)."""
    known = facts[facts["format"] != ""]
    counted = known.groupby(["format", "mode", "bits", "width", "height"]).size().sort_values(ascending=False)
    return [
        (f"{format}, {mode}, {bits} bits, {width} x {height}", int(count))
        for (format, mode, bits, width, height), count in counted.items()
    ]


def _header(file: str) -> Header:
    try:
        return image_header(file)
    except UnreadableImage:
        return NOT_KNOWN
