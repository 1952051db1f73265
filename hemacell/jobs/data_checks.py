"""What a job reports about its images before it uses them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import BAD_IMAGES, CHANNEL_STAT, CONFLICTS, DUPLICATES

if TYPE_CHECKING:
    import numpy as np

    from hemacell.data.manifest import Manifest

logger = logging.getLogger(__name__)


def report_problems(manifest: Manifest) -> dict[str, int]:
    """Warn of what makes scores on these labelled images wrong without being an error; returns the counts as tags."""
    from hemacell.data.splits import conflicting_labels, duplicates_across_splits

    copies, conflicts = len(duplicates_across_splits(manifest)), len(conflicting_labels(manifest))
    if copies:
        logger.warning(f"{copies} images lie in more than one split, file for file: test scores are too good")
    if conflicts:
        logger.warning(f"{conflicts} images have more than one label")
    return {DUPLICATES: copies, CONFLICTS: conflicts}


def report_unreadable(run: Tracker, unreadable: Sequence[tuple[str, str]]) -> None:
    """Warn of images that could not be read, and log them as `bad_images.txt`.

    Args:
        run: the open run.
        unreadable: path and reason of each.
    """
    if not unreadable:
        return
    path, reason = unreadable[0]
    logger.warning(
        f"{len(unreadable)} images could not be read and are left out (bad_images.txt); the first: {path}: {reason}"
    )
    run.text("".join(f"{' '.join(path.splitlines())}\t{reason}\n" for path, reason in unreadable), BAD_IMAGES)


def log_channel_stats(run: Tracker, pixels: np.ndarray, rows: np.ndarray) -> None:
    """Tag a run with the mean and deviation of each channel over some of the decoded images, in 0..1."""
    from hemacell.data.channel_stats import channel_stats

    mean, deviation = channel_stats(pixels[rows])
    texts = {
        name: ",".join(f"{value:.4f}" for value in values) for name, values in (("mean", mean), ("std", deviation))
    }
    run.tags({CHANNEL_STAT.format(name): text for name, text in texts.items()})
    logger.info(f"channels (red, green, blue) of the training images: mean {texts['mean']}, deviation {texts['std']}")
