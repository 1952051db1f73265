"""Short ways to read images in tests."""

import re
from pathlib import Path

from hemacell.data.manifest import Manifest
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.resolve import read_manifest


def read_cells(root: Path, **options: object) -> Manifest:
    """The cells of a folder, with the given `SourceOptions`."""
    return read_manifest(root, "wbc", SourceOptions(**options))


def without_account(lines: list[str]) -> list[str]:
    """What a job printed, but for what it said of the images that it read."""
    return [line for line in lines if not re.match(r"\d+ images (of|in) |divided into ", line)]
