"""Copies among the images of a job: found once per set of images, reported before the training, dropped on request."""

from __future__ import annotations

import json
import logging
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
from hemacell.core.files import atomic_write, disk_error
from hemacell.core.progress import Progress
from hemacell.data.decoding import decode
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
    """Groups of copies among decoded images, masked copies aside; positions are those of `decoded`.

    What was found is stored beside the pixels, since each run of a study asks for it.
    """
    from hemacell.audit.copies import SEARCH_VERSION, copy_groups, find_copies

    file = decoded.folder / f"copies-{SEARCH_VERSION}.json" if decoded.folder else None
    groups = _read_back(file) if file else None
    if groups is None:
        image = (decoded.manifest.table["mask"] == "").to_numpy()
        pairs = find_copies(decoded.array, progress=Progress("looking for copies"))
        groups = copy_groups([pair for pair in pairs if image[pair.first] and image[pair.second]], len(decoded))
        if file:
            _store(file, groups)
    return copy_groups_of(decoded.manifest, groups)


def _store(file: Path, groups: list[list[int]]) -> None:
    try:
        with atomic_write(file) as temporary:
            temporary.write_text(json.dumps(groups), encoding="utf-8")
    except OSError as error:
        raise disk_error(error, f"cannot store what was found in {file.parent}") from error


def _read_back(file: Path) -> list[list[int]] | None:
    """What is stored, or None where it is missing or damaged."""
    try:
        return [[int(row) for row in group] for group in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return None


def without_duplicates(settings: CellSettings, manifest: Manifest) -> Manifest:
    """The images without copies of others, as `drop=duplicates` asks for; says how many it leaves out.

    Raises:
        UserError: too many images cannot be read.
    """
    from hemacell.audit.cleaning import without_copies

    cache = cache_dir()
    decoded = decode(manifest, settings.decoded_size, cache, settings.max_bad, Progress("decoding"))
    kept = without_copies(manifest, decoded.manifest, copies_among(decoded))
    originals = [int((each.table["source"] == "original").sum()) for each in (manifest, kept)]
    logger.info(f"drop=duplicates: {originals[0] - originals[1]} of {originals[0]} images left out (skipped.csv)")
    return kept


def report_findings(job: RunContext[Any], run: Tracker, decoded: Decoded, dropped: bool = False) -> None:
    """Say what makes scores wrong, the most serious first, with a picture of copies; tag the run with their numbers.

    Args:
        job, run: the job and its open run.
        decoded: all images of the job.
        dropped: whether copies are left out, so that they do no harm.
    """
    images = decoded.manifest
    copies = [] if dropped else copies_among(decoded)
    found = ordered([*group_findings(images), *copy_findings(images, copies), *class_findings(images)])
    serious = [finding for finding in found if finding.severity < Severity.NOTE]
    for finding in serious[:SAID]:
        logger.warning(finding.words)
    if len(serious) > SAID:
        logger.info(f"{len(serious) - SAID} more findings: mlflow run . -e audit -P data={job.settings.data or 'DIR'}")
    crossing, conflicting = ([group for group in copies if getattr(group, of)] for of in ("crosses", "conflicts"))
    run.tags({DUPLICATES: _images(crossing), CONFLICTS: _images(conflicting)})
    if shown := list(dict.fromkeys([*crossing, *conflicting]))[:_PAIRS]:
        _log_picture(run, decoded, [differing_pair(images, group) for group in shown])


def _log_picture(run: Tracker, decoded: Decoded, pairs: list[tuple[int, int]]) -> None:
    from hemacell.reporting import figures

    table, names = decoded.manifest.table, decoded.manifest.names
    said = [f"{table['split'].iat[row]} {table['label'].iat[row]} {Path(names[row]).name}" for row in range(len(table))]
    first, second = (np.stack([decoded.array[row] for row in rows]) for rows in zip(*pairs, strict=True))
    run.figure(figures.copies(first, second, [(said[one], said[other]) for one, other in pairs]), COPIES_FIGURE)


def _images(groups: list[CopyGroup]) -> int:
    return sum(len(group.rows) for group in groups)
