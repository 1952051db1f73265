"""The steps of training a cell classifier, whatever its method: load, embed, fit, calibrate, evaluate, register."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from hemacell.classifiers.calibration import Calibration, calibrate, calibration_split
from hemacell.classifiers.cells import CellImages, cell_images
from hemacell.classifiers.description import DESCRIPTION, ClassifierConfig, Predictions
from hemacell.classifiers.folder import load_folder, save_folder
from hemacell.classifiers.grad_cam import GradCAM
from hemacell.classifiers.methods import METHODS, FitContext, Fitted, TrainingData
from hemacell.classifiers.model import ClassifierModel
from hemacell.config.jobs import WbcSettings
from hemacell.config.roles import Role
from hemacell.core.progress import Progress
from hemacell.data.decoding import Decoded
from hemacell.data.groups import known_groups
from hemacell.data.manifest import SPLITS, Manifest
from hemacell.data.stacked import Pixels
from hemacell.encoders.embeddings import StoredViews
from hemacell.encoders.frozen import FrozenEncoder
from hemacell.evaluation.classification import Evaluation
from hemacell.evaluation.groups import number_of_groups, units_in_a_sentence
from hemacell.evaluation.laboratories import ADAPTED, TEST, split_of
from hemacell.evaluation.metrics import classification_metrics
from hemacell.evaluation.paired import right_by_image
from hemacell.framing.decoding import FramedImages
from hemacell.framing.description import as_trained, central_part, framing_of
from hemacell.jobs.context import RunContext
from hemacell.jobs.copies import report_findings
from hemacell.jobs.evaluation import (
    acceptance_of,
    embed_images,
    evaluate_adapted,
    evaluate_and_log,
    evaluate_images,
    evaluate_ood_detection,
)
from hemacell.jobs.images import decode_cells, log_images, log_site, log_training_images, report_unreadable
from hemacell.jobs.laboratories import in_synthetic_laboratories
from hemacell.jobs.training import train
from hemacell.jobs.wbc_inputs import Images, divided_images, with_scale
from hemacell.reporting import model_card
from hemacell.reporting.model_card import Score
from hemacell.reporting.reliability_words import reliability_in_words
from hemacell.tracking import registry
from hemacell.tracking.registry.classifiers import trained_on
from hemacell.tracking.registry.encoders import load_encoders
from hemacell.tracking.registry.lookup import RegisteredModel
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import (
    CLASSIFIER,
    DRAW_DIGEST,
    DRAW_GROUPS,
    DRAW_LABELS,
    ENCODER,
    INIT_FROM,
    MODEL_SUMMARY,
)

if TYPE_CHECKING:
    from hemacell.tracking.registry.encoders import EncoderSpec

logger = logging.getLogger(__name__)

Job = RunContext[WbcSettings]


@dataclass(frozen=True, eq=False)
class LoadedCells:
    """The decoded images of a draw, without those that cannot be read."""

    pictures: FramedImages
    manifest: Manifest
    parts: Mapping[str, Manifest]
    """`train`, `val` and `test`"""

    @property
    def decoded(self) -> Decoded:
        """The pictures as the classifier sees them."""
        return self.pictures.decoded


def load_cells(job: Job, run: Tracker, images: Images, manifest: Manifest) -> LoadedCells:
    """Decode the cells and log what they are.

    Args:
        job, run: the job and its open run.
        images: all cells; they are decoded once for all draws.
        manifest: those of this draw.

    Raises:
        UserError: too many cannot be read, or val is too small to be divided for the calibration.
    """
    drawn = manifest.part("train")
    labels = int((drawn.table["source"] != "masked").sum())
    groups = number_of_groups(known_groups(drawn))
    run.tags({DRAW_DIGEST: drawn.digest, DRAW_LABELS: labels, DRAW_GROUPS: groups})
    if groups:
        logger.info(f"{job.name}: the draw has {labels} images of {groups} groups")
    settings, divided = job.settings, divided_images(job.settings, images)
    pictures = decode_cells(job, images.everything, framing_of(settings), settings.decoded_size, of=with_scale(divided))
    log_site(run, pictures)
    report_findings(job, run, pictures.whole, divided)
    decoded = pictures.decoded
    readable = manifest.readable(decoded.manifest)
    parts = {split: readable.part(split) for split in SPLITS}
    log_training_images(job, run, manifest, decoded, decoded.rows(parts["train"]))
    calibration_split(parts["val"].labels, known_groups(parts["val"]))  # too few are reported before the training
    return LoadedCells(pictures, readable, parts)


@dataclass(frozen=True, eq=False)
class EmbeddedCells(LoadedCells):
    """The same with frozen encoders and their embeddings."""

    encoders: Mapping[str, FrozenEncoder]
    """slug -> encoder, on its device"""
    images: Mapping[str, CellImages]
    """of each part; those of `train` followed by cells in synthetic laboratories, where the method learns from these"""
    pixels: Pixels
    """of all of them"""


def embed_cells(
    job: Job, run: Tracker, cells: LoadedCells, specs: Sequence[EncoderSpec], device: torch.device
) -> EmbeddedCells:
    """Load the frozen encoders, and embed each stored view of each cell once; it is read back ever after."""
    run.model_inputs([spec.uri for spec in specs if spec.model])
    run.tags({f"{ENCODER}{spec.slug}": spec.uri for spec in specs})
    settings = job.settings
    loaded = load_encoders(specs, job.cache, settings.encoder_size, central_part(settings))
    encoders = {spec.slug: encoder.to(device) for spec, encoder in zip(specs, loaded, strict=True)}

    def embedded(split: str, part: Manifest, views: StoredViews) -> CellImages:
        def progress(what: str) -> Progress:
            return Progress(f"embedding {what} {split}", "views")

        return cell_images(cells.decoded, part, list(encoders.values()), views, job.cache, settings.precision, progress)

    stored = METHODS[settings.method].stored_views(settings, len(cells.parts["train"]))
    turns = StoredViews(settings.prediction_views, augmented=False)
    images = {
        split: embedded(split, part, stored if split == "train" else turns) for split, part in cells.parts.items()
    }
    pixels: Pixels = cells.decoded.array
    if METHODS[settings.method].learns_from_laboratories:
        images["train"], pixels = in_synthetic_laboratories(
            job, cells.pictures, cells.parts["train"], images["train"], list(encoders.values())
        )
    return EmbeddedCells(cells.pictures, cells.manifest, cells.parts, encoders, images, pixels)


def fit_method(
    job: Job, run: Tracker, cells: EmbeddedCells, start: RegisteredModel | None, device: torch.device
) -> Fitted:
    """Learn from the training cells, and log what was learnt; `start` is the classifier to start from."""
    settings, train_part = job.settings, cells.parts["train"]
    config = ClassifierConfig(
        classes=cells.manifest.classes,
        decoded_size=settings.decoded_size,
        size=settings.image_size,
        crop=central_part(settings),
        framing=as_trained(framing_of(settings), cells.pictures.site),
        site=cells.pictures.site,
        views=settings.prediction_views,
        encoders=tuple(cells.encoders),
        method=settings.method,
    )
    if start:
        run.tags({INIT_FROM: start.uri})
    context = FitContext(
        settings,
        config,
        [encoder.width for encoder in cells.encoders.values()],
        device,
        lambda task, network, steps: train(job, run, task, network, steps),
        registry.fetch(start, job.cache) if start else None,
    )
    digests = list(train_part.table["sha256"])
    data = TrainingData(cells.pixels, cells.images["train"], cells.images["val"], digests)
    fitted = METHODS[settings.method].fit(data, context)
    count = sum(parameter.numel() for parameter in fitted.network.parameters())
    run.text(f"{fitted.network}\n\ntrained: {count:,} parameters\n", MODEL_SUMMARY)
    fit_metrics = {f"{settings.method}/{name}": value for name, value in fitted.metrics.items()}
    run.metrics({"train_images": len(train_part), **fit_metrics}, fitted.steps)
    return fitted


def calibrate_on_val(
    job: Job, run: Tracker, cells: EmbeddedCells, fitted: Fitted, device: torch.device
) -> tuple[Calibration, dict[str, float]]:
    """Set temperature, threshold and detector; returns them, and the scores on val."""
    settings = job.settings
    encoders = list(cells.encoders.values())
    model = ClassifierModel(fitted.config, fitted.network, encoders, precision=settings.precision).to(device)
    val = cells.parts["val"]
    found = calibrate(
        model,
        cells.decoded.array,
        cells.images["val"],
        settings.target_risk,
        settings.ood_false_positive_rate,
        known_groups(val),
        settings.open_set_false_positive_rate,
    )
    scores = classification_metrics(val.labels, found.val.probabilities, val.classes)
    over_all = {f"calibrated_val/{name}": value for name, value in scores.items() if "/" not in name}
    run.metrics(over_all, fitted.steps)
    config = found.model.config
    calibration = {
        "temperature": config.temperature,
        "confidence_threshold": config.confidence_threshold,
        **found.selected.metrics(),
    }
    run.metrics({f"calibration/{name}": value for name, value in calibration.items()}, fitted.steps)
    run.tags({"calibration": config.calibration_in_words()})
    return found, scores


@dataclass(frozen=True, eq=False)
class Tested:
    """What a classifier does on the test images, which are looked at once."""

    predictions: Predictions
    test: Evaluation
    external: Mapping[str, Evaluation]
    """`external/lisc` -> on the images of that laboratory"""

    def scores(self) -> dict[str, Mapping[str, float]]:
        """Of `test`, and of each other laboratory."""
        return {TEST: self.test.scores, **{split: each.scores for split, each in self.external.items()}}


def evaluate_once(
    job: Job,
    run: Tracker,
    cells: EmbeddedCells,
    model: ClassifierModel,
    laboratories: Mapping[str, Manifest],
    steps: int,
) -> Tested:
    """Score the calibrated classifier on the test images and on other laboratories', and log all that they show."""
    found = model.predict_embedded(cells.decoded.array, cells.images["test"])
    test = evaluate_and_log(
        run,
        cells.parts["test"],
        found.probabilities,
        cells.decoded.array[cells.images["test"].rows],
        step=steps,
        acceptance=acceptance_of(model.config, found),
        grad_cam=GradCAM.if_possible(model),
        intervals=True,
        mask_of=lambda row: cells.pictures.mask(cells.images["test"].rows[row]),
    )
    external: dict[str, Evaluation] = {}
    for name, images in laboratories.items():
        external |= _evaluate_external(job, run, name, images, model, steps)
    return Tested(found, test, external)


def _evaluate_external(
    job: Job, run: Tracker, name: str, images: Manifest, model: ClassifierModel, steps: int
) -> dict[str, Evaluation]:
    """The classifier on the images of another laboratory, in each of the `WAYS`: `external/lisc` -> scores."""
    log_images(run, images, split_of(name))
    config = model.config
    pictures = decode_cells(job, images, config.framing, config.decoded_size, known=config.site)
    report_unreadable(run, pictures.decoded, split_of(name))
    log_site(run, pictures, split_of(name))
    cells, split = embed_images(model, pictures, name), split_of(name)
    found = {split: evaluate_images(run, model, pictures, split, steps, intervals=True, cells=cells)}
    if model.network.standardisers:
        amounts = tuple(filter(None, job.settings.external_labels))
        found[split_of(name, ADAPTED)] = evaluate_adapted(run, model, pictures, name, cells, amounts, steps)
    return found


def register_classifier(
    job: Job,
    run: Tracker,
    cells: EmbeddedCells,
    specs: Sequence[EncoderSpec],
    found: Calibration,
    val_score: float,
    tested: Tested,
    steps: int,
) -> None:
    """Log the classifier's description, and register it where the settings ask for it."""
    settings, parts, model = job.settings, cells.parts, found.model
    varied = settings.texts(Role.VARIED)
    with registry.scratch() as folder:
        save_folder(folder, model, sorted(set(parts["train"].table["sha256"])))
        run.artifact(folder / DESCRIPTION)
        if not settings.register_model:
            return
        pixels = cells.decoded.array[cells.images["test"].rows]
        flagged = evaluate_ood_detection(run, model, pixels, tested.predictions.distance, steps)
        test = tested.test
        assert test.selective is not None  # the classifier is calibrated
        card = model_card.classifier_card(
            "White blood cell classifier",
            job,
            cells.manifest,
            {f"test/{name}": Score(value, *test.intervals.get(name, ())) for name, value in test.scores.items()},
            {spec.name: spec.uri for spec in specs},
            _how_seen(model)
            | reliability_in_words(model.config, found.selected, test.selective, test.metrics(), flagged),
            units_in_a_sentence(test.groups),
        )
        registry.register(
            folder,
            CLASSIFIER,
            run=run,
            model="classifier",
            kind=job.source.kind,
            trial=settings.limit > 0,
            val_score=val_score,
            val_images=right_by_image(parts["val"], found.val.probabilities),
            val_groups=dict(zip(parts["val"].table["sha256"], known_groups(parts["val"]), strict=False)),
            classes=parts["val"].classes,
            cache=job.cache,
            tags={"method": settings.method, **{name: text for name, text in varied.items() if text}},
            card=card,
            rescore=lambda champion: _right_of_champion(job, champion, cells.decoded, parts["val"]),
        )


def _how_seen(model: ClassifierModel) -> dict[str, str]:
    """Label -> text of a card: how the training laboratory's pictures were seen."""
    return {"pictures of the training laboratory": model.config.site.in_words()} if model.config.site else {}


def _right_of_champion(job: Job, folder: Path, own: Decoded, val: Manifest) -> dict[str, float]:
    """sha256 of each of this run's val images that the champion did not learn from -> 1 where it is right, else 0."""
    champion = load_folder(folder, job.settings.precision)
    unseen = val.select((~val.table["sha256"].isin(trained_on(folder))).to_numpy())
    if not len(unseen):
        return {}
    config = champion.config
    cells = decode_cells(job, own.manifest, config.framing, config.decoded_size, known=config.site).decoded
    found = champion.predict_pixels(np.asarray(cells.array[cells.rows(unseen)]))
    return right_by_image(unseen, found.probabilities)
