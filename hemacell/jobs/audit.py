"""The steps of an audit: read, decode, look for copies, measure, doubt labels, compare with a model, write the page."""

from __future__ import annotations

import json
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hemacell.config.jobs import AuditSettings
from hemacell.core.errors import UserError
from hemacell.core.files import atomic_write, disk_error
from hemacell.core.progress import Progress
from hemacell.data import splits
from hemacell.data.corrections import corrected
from hemacell.data.groups import known_groups
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.subsets import limit
from hemacell.jobs.context import RunContext
from hemacell.jobs.images import decode, decode_cells, log_images, report_unreadable
from hemacell.tracking.registry.classifiers import find_classifier
from hemacell.tracking.registry.lookup import fetch
from hemacell.tracking.runs.existing import read_file
from hemacell.tracking.runs.tracker import FIGURE_DPI
from hemacell.tracking.schema import AUDIT_JSON, AUDIT_PAGE, COPIES, DOUBTFUL_LABELS, MEASUREMENTS
from hemacell.tracking.store import get_client

if TYPE_CHECKING:
    from hemacell.audit.doubtful_labels import Doubts
    from hemacell.audit.findings import CopyGroup
    from hemacell.audit.result import Audit, Distances
    from hemacell.data.decoding import Decoded
    from hemacell.data.manifest import Manifest
    from hemacell.tracking.registry.encoders import EncoderSpec
    from hemacell.tracking.registry.lookup import RegisteredModel
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)

Job = RunContext[AuditSettings]

SHOWN_MEASURES = ["brightness", "contrast", "saturation", "sharpness", "glass_blue", "nucleus_diameter"]
"""Measures in the figure; the table has all."""
SHOWN = 8
"""Findings on the screen; the page has all."""


@dataclass(frozen=True)
class AuditInputs:
    """Images and models of an audit, not loaded yet."""

    images: Manifest
    """With their splits, without masked copies."""
    encoders: Sequence[EncoderSpec]
    """The one whose features labels are doubted with; none for images without labels."""
    model: RegisteredModel | None
    """The classifier to compare with."""

    def key(self, job: Job) -> str:
        """The digest of all that decides the result."""
        # Names, groups and what was passed over stand on the page, and are not in the digest of the images.
        shown = json.dumps([self.images.names, list(self.images.table["group"]), self.images.summary()])
        inputs = {"data": self.images.digest, "shown": shown, "model": self.model.model_id if self.model else ""}
        return job.key(inputs | {spec.slug: spec.identity for spec in self.encoders})


def find_images(job: Job) -> AuditInputs:
    """Read the images that the settings name, and look up the models.

    Raises:
        UserError: no such images, table of labels, encoder or classifier.
    """
    from hemacell.tracking.registry.encoders import resolve_encoders

    settings, kind = job.settings, job.source.kind
    options = SourceOptions(settings.wbc_folder, masks=False, classes=settings.classes, group=settings.group)
    images = read_manifest(job.source.root, settings.images, options)
    if images.classes:
        images = splits.official_splits(images)
    if settings.labels:
        notes = len(images.account.notes)
        images = corrected(images, Path(settings.labels).expanduser())
        logger.info("; ".join(images.account.notes[notes:]))
    if settings.limit:
        images = limit(images, settings.limit)
    encoders = resolve_encoders([settings.encoder], kind, job.cache, settings.seed) if images.classes else []
    if missing := [spec.name for spec in encoders if spec.missing]:
        raise UserError(f"encoder={missing[0]}: it is not registered yet; type encoder=imagenet, or pretrain it first")
    return AuditInputs(images, encoders, find_classifier(settings.model, kind) if settings.model else None)


def decode_images(job: Job, run: Tracker, found: AuditInputs) -> Decoded:
    """Decode the images, and log what they are and which cannot be read.

    Raises:
        UserError: none can be read.
    """
    log_images(run, found.images, "audit")
    decoded = decode(job, found.images, job.settings.decoded_size)
    report_unreadable(run, decoded)
    if not len(decoded):
        raise UserError(f"{found.images.root}: none of its {len(found.images)} images can be read; check the files")
    return decoded


def doubt_labels(
    job: Job, decoded: Decoded, copies: Sequence[CopyGroup], specs: Sequence[EncoderSpec]
) -> Doubts | None:
    """Labels that features of a frozen encoder speak against; None for images without labels."""
    if not specs:
        return None
    from hemacell.audit.doubtful_labels import doubtful_labels
    from hemacell.audit.findings import joined_groups
    from hemacell.encoders.embeddings import StoredViews, embed
    from hemacell.jobs.training import set_up
    from hemacell.tracking.registry.encoders import load_encoders

    settings, images = job.settings, decoded.manifest
    device = set_up(job)
    (encoder,) = load_encoders(specs, job.cache, settings.encoder_size, settings.crop)
    features = embed(
        encoder.to(device),
        decoded.array,
        np.arange(len(decoded)),
        list(images.table["sha256"]),
        StoredViews(1, augmented=False),
        job.cache,
        settings.precision,
        Progress("embedding"),
    )[:, 0]
    groups = joined_groups(images, copies)
    return doubtful_labels(features, images.labels, groups, images.classes, settings.seed)


def measure_images(decoded: Decoded) -> pd.DataFrame:
    """Colour, sharpness and size of the nucleus of each image."""
    from hemacell.audit.measurements import measure

    return measure(decoded.array, Progress("measuring"))


def distances_from(job: Job, decoded: Decoded, found: AuditInputs) -> Distances | None:
    """How far each image lies from the cells that the given classifier was trained on; None without one."""
    if found.model is None:
        return None
    from hemacell.audit.result import Distances
    from hemacell.classifiers.folder import load_folder
    from hemacell.jobs.training import set_up

    device = set_up(job)
    model = load_folder(fetch(found.model, job.cache), "float32", device.type)
    config = model.config
    images = decode_cells(job, found.images, config.framing, config.decoded_size, known=config.site).decoded
    return Distances(found.model.uri, model.distances(images.array[images.rows(decoded.manifest)]))


def summarise(
    found: AuditInputs,
    decoded: Decoded,
    copies: Sequence[CopyGroup],
    measured: pd.DataFrame,
    doubts: Doubts | None,
    distances: Distances | None,
) -> Audit:
    """Put together what was measured, and say what is wrong."""
    from hemacell.audit import findings
    from hemacell.audit.files import file_facts
    from hemacell.audit.measurements import differences, outliers
    from hemacell.audit.result import Audit, doubtful_table

    images = decoded.manifest
    doubted = doubtful_table(images, doubts)
    labels = images.table["label"] if images.classes else None
    sides = images.table[["split"]]
    if labels is not None:
        sides = sides.assign(**{"class": labels})
    if groups := known_groups(images):
        sides = sides.assign(group=groups)
    differing = differences(measured, sides, labels)
    outlying = outliers(measured, labels)
    found_wrong = findings.ordered(
        [
            *findings.copy_findings(images, copies),
            *findings.group_findings(images),
            *findings.unreadable_finding(decoded.bad),
            *findings.class_findings(images),
            *findings.label_finding(doubted[doubted["confident"].astype(bool)]),
            *findings.measurement_findings(outlying, differing),
            *(findings.distance_finding(distances.model, distances.flagged) if distances else []),
        ]
    )
    return Audit(
        everything=found.images,
        decoded=decoded,
        files=file_facts(images),
        copies=copies,
        measured=measured,
        outliers=outlying,
        differences=differing,
        doubts=doubts,
        doubtful_labels=doubted,
        distances=distances,
        findings=found_wrong,
    )


def log_audit(job: Job, run: Tracker, audit: Audit) -> None:
    """Log page, tables, figures and counts."""
    from hemacell.classifiers.description import OOD_THRESHOLD
    from hemacell.reporting import figures
    from hemacell.reporting.audit_page import audit_page

    drawn = {
        "measurements": figures.measurements(
            audit.measured[SHOWN_MEASURES], *(audit.images.table[name].tolist() for name in ("label", "split"))
        )
    }
    if audit.distances is not None:
        kinds = audit.images.table["split"].replace("", "images")
        of_kind = {name: audit.distances.values[(kinds == name).to_numpy()] for name in dict.fromkeys(kinds)}
        drawn["distances"] = figures.ood_distances(of_kind, OOD_THRESHOLD)
    with tempfile.TemporaryDirectory() as scratch:  # each is drawn once, for the page and as a file of its own
        files = {name: Path(scratch) / f"{name}.png" for name in drawn}
        for name, figure in drawn.items():
            figure.savefig(files[name], dpi=FIGURE_DPI)
        run.artifacts(Path(scratch))
        page = audit_page(audit, job.settings.pictures, files, job.source.kind == "sample", run.run_id)
    run.text(page, AUDIT_PAGE)
    run.json(audit.to_json(), AUDIT_JSON)
    run.text(audit.copies_table().to_csv(index=False), COPIES)
    run.text(audit.measurements_table().to_csv(index=False, float_format="%.4f"), MEASUREMENTS)
    if audit.doubts is not None:
        run.text(audit.doubtful_labels.to_csv(index=False), DOUBTFUL_LABELS)
    about = Counter[str]()
    for finding in audit.findings:
        about[finding.section] += finding.count
    run.metrics({"images": len(audit.images), **{f"findings/{name}": count for name, count in about.items()}})
    run.summary = "\n".join(f"* {finding.words}" for finding in audit.findings) or "Nothing that an audit can see."


def show(run_id: str) -> None:
    """Say the most serious findings on the screen."""
    findings = json.loads(read_file(run_id, AUDIT_JSON))["findings"]
    for number, finding in enumerate(findings[:SHOWN], 1):
        print(f"{number}. {finding['words']}")
    if len(findings) > SHOWN:
        print(f"and {len(findings) - SHOWN} more, in {AUDIT_PAGE}")
    if not findings:
        print("nothing wrong that an audit can see")


def copy_page(run_id: str, output: str) -> None:
    """Write the page and its tables into a folder too.

    Raises:
        UserError: it cannot be written.
    """
    folder = Path(output).expanduser()
    logged = {file.path for file in get_client().list_artifacts(run_id)}  # without labels none is doubtful
    names = [name for name in (AUDIT_PAGE, AUDIT_JSON, COPIES, DOUBTFUL_LABELS, MEASUREMENTS) if name in logged]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            with atomic_write(folder / name) as file:
                file.write_text(read_file(run_id, name), encoding="utf-8")
    except OSError as error:
        raise disk_error(error, f"output={output}: cannot be written", "name another folder") from error
