"""Short ways to read images in tests."""

import re
from collections import defaultdict
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


def duplicates_across_splits(manifest: Manifest) -> list[list[int]]:
    """Positions of rows with the very same file in different splits, one list per file; masked copies left out."""
    return _differing(manifest, "split")


def conflicting_labels(manifest: Manifest) -> list[list[int]]:
    """Positions of rows with the very same file under different labels, one list per file."""
    return _differing(manifest, "label")


def _differing(manifest: Manifest, column: str) -> list[list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    values = manifest.table[column].tolist()
    for position, (digest, mask) in enumerate(zip(manifest.table["sha256"], manifest.table["mask"], strict=True)):
        if not mask:
            rows[digest].append(position)
    return [positions for positions in rows.values() if len({values[position] for position in positions}) > 1]
