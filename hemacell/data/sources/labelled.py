"""The labelled images that a finished classifier is scored on, from any source of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.core.text import did_you_mean
from hemacell.data.manifest import SPLITS, Manifest
from hemacell.data.sources.base import SourceOptions, read_source
from hemacell.data.sources.resolve import source_of
from hemacell.data.splits import official_splits

ALL = "all"


def labelled_images(
    root: Path, classes: Sequence[str], split: str = "test", options: SourceOptions | None = None
) -> Manifest:
    """Read one set of labelled images; all its rows are marked `test`, wherever they lie.

    Of a source that is divided, one split; of a set of its own layout this is completed as for training (see
    `splits.official_splits`). Of class folders and tables that are not divided, all. A class may be missing.

    Args:
        root: the data.
        classes: those that the classifier knows, in the order of its probabilities.
        split: `test`, `val`, `train`, or `all` for all of them together.
        options: of the source; masks are never applied.

    Raises:
        UserError: no images, no such split, a class that the classifier does not know.
    """
    source = source_of(Path(root).absolute(), "wbc")
    images = read_source(source, replace(options or SourceOptions(), masks=False), least_classes=1)
    if unknown := [name for name in images.classes if name not in classes]:
        left_out = ",".join(f"{name}:-" for name in unknown)
        raise UserError(
            f"{root} has classes that the model does not know: {', '.join(unknown)}; the model knows "
            f"{', '.join(classes)}{did_you_mean(unknown[0], classes)}; type "
            f"classes={left_out} to leave them out, or classes={unknown[0]}:CLASS for another name"
        )
    if not source.general:
        images = official_splits(images)
    sides = [side for side in SPLITS if (images.table["split"] == side).any()]
    if split == ALL or (split == "test" and sides == ["train"]):
        chosen = images
    elif split in sides:
        chosen = images.part(split)
    elif sides == ["train"]:
        raise UserError(f"split={split}: {root} is not divided; leave split out for all its images")
    else:
        raise UserError(
            f"split={split}: expected one of the splits in {root}, found {', '.join(sides)}; "
            f"type split={sides[-1]}, or split={ALL} for all of them"
        )
    return replace(chosen, classes=tuple(classes)).with_splits(["test"] * len(chosen))
