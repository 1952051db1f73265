"""Copies among the images of a job: found once per set of images, reported before the training, dropped on request."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hemacell.audit.findings import (
    CopyGroup,
    Severity,
    class_findings,
    copy_findings,
    copy_groups_of,
    differing_pair,
    group_findings,
    ordered,
)
from hemacell.core.cache import cache_dir
from hemacell.core.progress import Progress
from hemacell.core.text import counted
from hemacell.data.decoding import decode
from hemacell.data.nucleus import SIDE
from hemacell.framing.description import framing_of
from hemacell.tracking.schema import CONFLICTS, COPIES_FIGURE, DUPLICATES

if TYPE_CHECKING:
    from hemacell.config.jobs import CellSettings
    from hemacell.data.decoding import Decoded
    from hemacell.data.manifest import Manifest
    from hemacell.jobs.context import RunContext
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)

SAID = 2
"""Findings that a training says; `audit` says all."""
_PAIRS = 12  # in the figure


def copies_among(decoded: Decoded) -> list[CopyGroup]:
    """Groups of copies among decoded images, masked copies aside; positions are those of `decoded`."""
    from hemacell.audit.copies import copy_groups, find_copies
    from hemacell.audit.picture_hash import hashes_of

    rows = np.flatnonzero(decoded.manifest.table["mask"] == "")
    pairs = find_copies(decoded.array, hashes_of(decoded, Progress("looking for copies")), rows=rows)
    return copy_groups_of(decoded.manifest, copy_groups(pairs, len(decoded)))


def without_duplicates(settings: CellSettings, manifest: Manifest, corrections: Manifest | None = None) -> Manifest:
    """The images without copies of others, as `drop=duplicates` asks for; says how many it leaves out.

    Args:
        settings: of the job.
        manifest: its images.
        corrections: the same with corrected labels, where `manifest` has the old ones.

    Raises:
        UserError: too many images cannot be read.
    """
    from hemacell.audit.cleaning import with_corrections, without_copies

    cache = cache_dir()
    size = SIDE if framing_of(settings) else settings.decoded_size  # as the training decodes their central squares
    decoded = decode(manifest, size, cache, settings.max_bad, Progress("decoding"))
    images, copies = decoded.manifest, copies_among(decoded)
    if corrections is not None:
        images, copies = with_corrections(images, copies, corrections)
    kept = without_copies(manifest, images, copies)
    originals = [int((each.table["source"] == "original").sum()) for each in (manifest, kept)]
    logger.info(f"drop=duplicates: {originals[0] - originals[1]} of {originals[0]} images left out (skipped.csv)")
    return kept


def report_findings(job: RunContext[Any], run: Tracker, decoded: Decoded, images: Manifest | None = None) -> None:
    """Say what makes scores wrong, the most serious first, with a picture of copies; tag the run with their numbers.

    Args:
        job, run: the job and its open run.
        decoded: all images of the job.
        images: those of them that are used, with their splits and labels; by default all.
    """
    used, row_of = _used(decoded, images or decoded.manifest)
    place_of = {row: place for place, row in enumerate(row_of)}
    groups = [[place_of[row] for row in group.rows if row in place_of] for group in copies_among(decoded)]
    copies = copy_groups_of(used, [group for group in groups if len(group) > 1])
    found = ordered([*group_findings(used), *copy_findings(used, copies), *class_findings(used)])
    serious = [finding for finding in found if finding.severity < Severity.NOTE]
    for finding in serious[:SAID]:
        logger.warning(finding.words)
    if len(serious) > SAID:
        patches = " -P images=camelyon" if job.name == "camelyon" else ""
        command = f"mlflow run . -e audit -P data={job.settings.data or 'DIR'}{patches}"
        logger.info(f"{counted(len(serious) - SAID, 'more finding')}: {command}")
    crossing, conflicting = ([group for group in copies if getattr(group, of)] for of in ("crosses", "conflicts"))
    run.tags({DUPLICATES: _images(crossing), CONFLICTS: _images(conflicting)})
    if shown := list(dict.fromkeys([*crossing, *conflicting]))[:_PAIRS]:
        _log_picture(run, used, decoded.array, row_of, [differing_pair(used, group) for group in shown])


def _used(decoded: Decoded, images: Manifest) -> tuple[Manifest, list[int]]:
    """Those of `images` that are decoded, masked copies aside, and the row of each in the decoded pixels.

    A row is found by its path and label, or by its path alone where the label was corrected.
    """
    rows: dict[tuple[str, str], int] = {}
    table = decoded.manifest.table
    for row, (path, label, mask) in enumerate(zip(table["path"], table["label"], table["mask"], strict=True)):
        if not mask:
            rows[path, label] = row
            rows.setdefault((path, ""), row)
    keys = zip(images.table["path"], images.table["label"], images.table["mask"], strict=True)
    found = [-1 if mask else rows.get((path, label), rows.get((path, ""), -1)) for path, label, mask in keys]
    return images.select([row >= 0 for row in found]), [row for row in found if row >= 0]


def _log_picture(
    run: Tracker, images: Manifest, pixels: np.ndarray, row_of: Sequence[int], pairs: Sequence[tuple[int, int]]
) -> None:
    from hemacell.reporting import figures

    def said(place: int) -> str:
        return f"{images.table['split'].iat[place]} {images.table['label'].iat[place]} {Path(names[place]).name}"

    names = images.names
    first, second = (np.stack([pixels[row_of[place]] for place in places]) for places in zip(*pairs, strict=True))
    run.figure(figures.copies(first, second, [(said(one), said(other)) for one, other in pairs]), COPIES_FIGURE)


def _images(groups: Sequence[CopyGroup]) -> int:
    return sum(len(group.rows) for group in groups)
