"""Short ways to read images in tests."""

from pathlib import Path

from hemacell.data.manifest import Manifest
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.resolve import read_manifest


def read_cells(root: Path, **options: object) -> Manifest:
    """The cells of a folder, with the given `SourceOptions`."""
    return read_manifest(root, "wbc", SourceOptions(**options))
