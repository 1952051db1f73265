"""The steps of `adapt`: read a laboratory's pictures, adapt, learn from labels, compare, register."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hemacell.config.jobs import AdaptSettings
from hemacell.config.roles import IN_KEY
from hemacell.core.cache import cache_dir
from hemacell.core.errors import UserError
from hemacell.core.logging import configure_logging
from hemacell.core.progress import Progress, end_lines
from hemacell.core.provenance import sources_digest, step_key
from hemacell.core.threads import available_cores, set_threads
from hemacell.data.boxes import digests_of_paths
from hemacell.data.class_names import LEFT_OUT
from hemacell.data.corrections import labels_of
from hemacell.data.groups import groups_digest, known_groups
from hemacell.data.manifest import Manifest, Row
from hemacell.evaluation.predictions import Predictions
from hemacell.jobs.field_search import cells_of_fields
from hemacell.jobs.images import decode_cells, log_images, log_site, report_unreadable
from hemacell.prediction.inputs import Inputs, read_inputs
from hemacell.tracking.registry.classifiers import classes_of, find_classifier
from hemacell.tracking.registry.lookup import RegisteredModel, card_of, fetch, find_alias
from hemacell.tracking.registry.registration import register_for_site
from hemacell.tracking.runs.evaluation import log_predictions
from hemacell.tracking.runs.existing import finished_run
from hemacell.tracking.runs.lifecycle import track
from hemacell.tracking.runs.process import mark_stale_runs
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import (
    ADAPTATION,
    ADAPTED_FROM,
    CLASSES,
    CLASSES_DIGEST,
    DATA_DIGEST,
    DATA_KIND,
    KEY,
    MODEL_DATA_KIND,
    SITE_ALIAS,
    THREADS,
)

if TYPE_CHECKING:
    from hemacell.classifiers.model import ClassifierModel
    from hemacell.framing.decoding import FramedImages

logger = logging.getLogger(__name__)

NAME = "adapt"
#: Pictures from which on the statistics of a laboratory are worth having.
ENOUGH = 8


@dataclass(frozen=True)
class AdaptJob:
    """A run of `adapt` that is about to start, or found to be done."""

    settings: AdaptSettings
    inputs: Inputs
    model: RegisteredModel
    folder: Path
    """the classifier's own files, fetched"""
    images: Manifest
    """the pictures, with the classes of the classifier; none has a label here"""
    labels: Mapping[str, str]
    """path of a picture -> its class"""
    threads: int
    cache: Path
    key: str
    done: str
    """the run that did all this already, '' without one"""

    @contextmanager
    def open(self) -> Iterator[Tracker]:
        """The run of this job."""
        tags = {
            DATA_KIND: self.inputs.kind(),
            DATA_DIGEST: self.images.digest,
            THREADS: self.threads,
            MODEL_DATA_KIND: self.model.data_kind,
            KEY: self.key,
        }
        settings = self.settings
        with track(
            NAME, settings.canonical(), experiment=settings.experiment, run_name=settings.run_name, tags=tags
        ) as run:
            try:
                run.model_inputs([self.model.uri], "classifier")
                log_images(run, self.images, "adaptation")
                yield run
            finally:
                end_lines()


def prepare(settings: AdaptSettings) -> AdaptJob:
    """Settle what is adapted to which pictures; loads no network, and decodes no image but fields.

    Raises:
        UserError: no such classifier, images or labels; labels of too few classes; the site exists already.
    """
    configure_logging()
    mark_stale_runs()
    settings = settings.resolved()
    inputs = read_inputs(settings.images)
    model = find_classifier(settings.model, inputs.kind())
    cache, threads = cache_dir(), settings.threads or available_cores()
    folder = fetch(model, cache)
    if settings.find_cells:
        inputs = cells_of_fields(inputs, cache, threads).inputs
    images, labels = _with_labels(_manifest_of(inputs, classes_of(folder)), settings.labels)
    logger.info(inputs.summary())
    inputs_digest = {
        "model": model.model_id,
        "images": images.digest,
        "labels": json.dumps(sorted(labels.items())),
        "groups": groups_digest(images),
    }
    sources = sources_digest(*settings.computed_by)
    key = step_key(NAME, sources, settings.texts(*IN_KEY), inputs_digest, threads)
    done = "" if settings.force else finished_run(NAME, key) or ""
    if done:
        logger.info(f"adapt: run {done} has done exactly this already; type force=true to do it again")
    elif not settings.force and (taken := find_alias(model.name, SITE_ALIAS.format(settings.site))):
        raise UserError(
            f"site={settings.site} exists already: {taken.uri} is adapted to it; give another name, or type "
            "force=true, which leaves that version and gives its alias to the new one"
        )
    return AdaptJob(settings, inputs, model, folder, images, labels, threads, cache, key, done)


def _manifest_of(inputs: Inputs, classes: tuple[str, ...]) -> Manifest:
    paths = [str(path) for path in map(inputs.path, range(len(inputs))) if path is not None]
    rows = [
        Row(path, "", "", digest, "", digest, "original")
        for path, digest in zip(paths, digests_of_paths(paths), strict=True)
    ]
    return Manifest.from_rows(rows, classes, inputs.source.name, inputs.root, bits=inputs.bits, account=inputs.account)


def _with_labels(images: Manifest, file: str) -> tuple[Manifest, dict[str, str]]:
    """The pictures, with their groups, and path -> class of the labelled ones; those of no class are left out."""
    if not file:
        return images, {}
    named = labels_of(images, Path(file).expanduser())
    if named.unknown:
        logger.warning(f"labels: {len(named.unknown)} rows name no picture of these, such as {named.unknown[0]}")
    known = {path: label for path, label in named.labels.items() if label != LEFT_OUT}
    if not known:
        raise UserError(f"labels={file}: expected labels of some of these pictures, found none; correct the paths")
    if len(set(known.values())) < 2:
        raise UserError(
            f"labels={file}: all labels are {next(iter(known.values()))}: expected two classes or more; label cells of "
            "others too, or leave labels out"
        )
    paths = images.table["path"]
    groups = [named.groups.get(path, digest) for path, digest in zip(paths, images.table["sha256"], strict=True)]
    kept = [named.labels.get(path) != LEFT_OUT for path in paths]
    if not all(kept):
        logger.info(f"labels: {kept.count(False)} pictures with the label {LEFT_OUT} are left out")
    return replace(images, table=images.table.assign(group=groups)).select(kept), known


# --- the steps


def load(job: AdaptJob, run: Tracker) -> tuple[ClassifierModel, FramedImages]:
    """The classifier at the scale of the laboratory, and the laboratory's pictures.

    Raises:
        UserError: too many cannot be read, or too few are left.
    """
    from hemacell.classifiers.folder import load_folder

    settings = job.settings
    set_threads(job.threads)
    model = load_folder(job.folder, settings.precision, settings.device, settings.crop, fused=False)  # saved again
    config = model.config
    # A version for another site is adapted anew, at the scale of these pictures.
    site = None if settings.crop == "auto" else model.site
    pictures = decode_cells(job, job.images, config.framing, config.decoded_size, site=site, known=config.site)
    report_unreadable(run, pictures.decoded)
    log_site(run, pictures)
    count = len(pictures.decoded)
    if count < 2:
        raise UserError(f"images={settings.images}: expected two pictures of the laboratory or more, found {count}")
    if count < ENOUGH:
        logger.warning(f"adapt: {count} pictures say little of a laboratory; give thirty or more")
    return model.of_site(pictures.site), pictures


@dataclass(frozen=True, eq=False)
class Adapted:
    """A classifier for a laboratory, and what can be said of it there."""

    model: ClassifierModel
    flagged: tuple[float, float]
    """share of the pictures that are flagged as out of distribution, before and after"""
    shares: np.ndarray
    """float [C], of the classes among the pictures"""
    labelled: Mapping[str, Predictions]
    """way -> predictions for the labelled cells, by classifiers that have not learnt from them; empty without labels"""
    strength: float = 0.0
    """with which the labels count, as cross-validation chose it"""


def adapt_to_pictures(job: AdaptJob, model: ClassifierModel, pictures: FramedImages) -> Adapted:
    """Take the laboratory's statistics; learn from its labels where there are some. Pictures are embedded once."""
    from hemacell.classifiers.adaptation import adapted, with_site_threshold
    from hemacell.classifiers.cells import CellImages
    from hemacell.classifiers.site_head import learn_from_labels
    from hemacell.evaluation.prior_shift import class_shares

    pixels, images = pictures.decoded.array, pictures.decoded.manifest
    embeddings = model.embed_pixels(pixels, Progress("embedding"))
    cells = CellImages(np.arange(len(pixels)), _labels_in(job, images), embeddings)
    before = model.predict_embedded(pixels, cells)
    made = adapted(model, pixels, embeddings)
    assert made.detector is not None  # an adapted classifier has one
    made = made.calibrated(made.detector, adapted_to=job.settings.site, site=pictures.site)
    after = made.predict_embedded(pixels, cells)
    flagged = (float(before.is_ood.mean()), float(after.is_ood.mean()))
    rows = np.flatnonzero(cells.labels >= 0)
    if not len(rows):
        return Adapted(made, flagged, class_shares(after.probabilities), {})
    labelled = cells.select(rows)
    known = known_groups(images)
    groups = tuple(known[row] for row in rows) if known else ()
    moved, learnt = learn_from_labels(made, pixels, labelled, groups)
    moved = with_site_threshold(moved, model, pixels, embeddings)  # its logits are others now
    final, held_out = _calibrated(moved, learnt.held_out, labelled.labels, groups)
    ways = {"before": before.probabilities[rows], "adapted": after.probabilities[rows], "labelled": held_out}
    names, digests = (tuple(np.asarray(each)[rows]) for each in (images.names, images.table["sha256"]))
    scored = {
        way: Predictions(
            images.classes, job.settings.site, names, digests, labelled.labels, found.astype(np.float32), groups
        )
        for way, found in ways.items()
    }
    shares = class_shares(final.predict_embedded(pixels, cells).probabilities)
    return Adapted(final, flagged, shares, scored, learnt.strength)


def _labels_in(job: AdaptJob, images: Manifest) -> np.ndarray:
    """Class index of each picture that can be read, int64; -1 for one without a label."""
    index = {name: number for number, name in enumerate(images.classes)}
    labels = [index[job.labels[path]] if path in job.labels else -1 for path in images.table["path"]]
    return np.array(labels, np.int64)


def _calibrated(
    model: ClassifierModel, held_out: np.ndarray, labels: np.ndarray, groups: Sequence[str]
) -> tuple[ClassifierModel, np.ndarray]:
    """Temperature and threshold by predictions of classifiers that have not seen the labelled cell; and these."""
    from hemacell.evaluation.selective import choose_confidence_threshold
    from hemacell.evaluation.temperature import apply_temperature, fit_temperature

    assert model.detector is not None
    temperature = fit_temperature(held_out, labels)
    probabilities = apply_temperature(np.exp(held_out), temperature)
    threshold = choose_confidence_threshold(probabilities, labels, model.config.target_risk, groups)
    made = model.calibrated(
        model.detector,
        temperature=temperature,
        confidence_threshold=threshold,
        calibration_images=len(labels),
        site_labels=len(labels),
    )
    return made, probabilities


def log_adaptation(job: AdaptJob, run: Tracker, found: Adapted, pictures: FramedImages) -> str:
    """Log what the adaptation changes; returns it in words, as a page (Markdown)."""
    from hemacell.evaluation.site_comparison import compare_ways
    from hemacell.reporting.adaptation_page import adaptation_page

    rows = compare_ways(found.labelled, job.settings.resamples) if found.labelled else []
    classes = found.model.classes
    shares = dict(zip(classes, map(float, found.shares), strict=True))
    run.metrics(
        {
            "flagged/before": found.flagged[0],
            "flagged/after": found.flagged[1],
            **{f"share/{name}": share for name, share in shares.items()},
            **{f"{row.way}/{name}": value for row in rows for name, value in row.metrics().items()},
            **({"labelled/strength": found.strength} if rows else {}),
        }
    )
    facts = {
        "classifier": job.model.uri,
        "pictures": f"{len(pictures.decoded)} of {job.inputs.source.name}",
        "scale": pictures.site.in_words() if pictures.site else "as the pictures are",
        "labels": f"{len(job.labels)}" if job.labels else "none",
        "flagged as unlike the known cells": f"{found.flagged[0]:.1%} before, {found.flagged[1]:.1%} adapted",
    }
    if found.labelled:  # its mistakes in this laboratory, which correct counts
        log_predictions(run, found.labelled["labelled"])
    page = adaptation_page(job.settings.site, facts, rows, shares)
    run.text(page, ADAPTATION)
    run.summary = page
    return page


def register_site(job: AdaptJob, run: Tracker, found: Adapted, page: str) -> RegisteredModel:
    """Register the classifier under the alias of the site."""
    from hemacell.classifiers.description import DESCRIPTION
    from hemacell.classifiers.folder import save_folder
    from hemacell.tracking import registry
    from hemacell.tracking.registry.classifiers import trained_on

    with registry.scratch() as folder:
        save_folder(folder, found.model, sorted(trained_on(job.folder) | _digests(job)))
        run.artifact(folder / DESCRIPTION)
        return register_for_site(
            folder,
            job.model.name,
            job.settings.site,
            run=run,
            kind=job.inputs.kind(),
            tags={
                **{name: text for name, text in job.model.tags.items() if name in (CLASSES, CLASSES_DIGEST, "method")},
                ADAPTED_FROM: job.model.uri,
            },
            card=f"{page}\nWhat follows is the card of {job.model.uri}.\n\n{card_of(job.model)}",
        )


def _digests(job: AdaptJob) -> set[str]:
    """sha256 of the labelled pictures, which the classifier has learnt from."""
    table = job.images.table
    return set(table.loc[table["path"].isin(job.labels.keys()), "sha256"])
