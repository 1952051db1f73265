"""Evaluate a classifier on labelled images: compute, draw, log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hemacell.core.errors import UserError
from hemacell.data.groups import known_groups
from hemacell.data.images import UnreadableImage
from hemacell.evaluation.classification import Acceptance, Evaluation, evaluate
from hemacell.evaluation.groups import resampled_units, units_in_a_sentence
from hemacell.evaluation.laboratories import ADAPTED, split_of
from hemacell.evaluation.predictions import Predictions
from hemacell.evaluation.reference_scores import compare_with_reference, drop_in_words, reference_checks
from hemacell.evaluation.saliency import saliency_metrics
from hemacell.evaluation.temperature import apply_temperature
from hemacell.tracking.registry.lookup import RegisteredModel
from hemacell.tracking.runs.evaluation import log_evaluation
from hemacell.tracking.runs.reference_scores import log_reference_comparison, reference_scores_of
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import INTERVALS_OVER, OOD_DISTANCES, REFERENCE_FIGURE

if TYPE_CHECKING:
    from hemacell.classifiers.cells import CellImages
    from hemacell.classifiers.description import ClassifierConfig
    from hemacell.classifiers.description import Predictions as ClassifierPredictions
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.classifiers.model import ClassifierModel
    from hemacell.data.manifest import Manifest
    from hemacell.framing.decoding import FramedImages

logger = logging.getLogger(__name__)

#: Masked images whose saliency is measured: a share deviates by 0.15 between images, its mean over so many by 0.01.
MOST_MASKED = 300
#: Cells from which images out of distribution are made: enough for a rate in per cent.
OOD_CELLS = 100


def evaluate_and_log(
    run: Tracker,
    manifest: Manifest,
    probabilities: np.ndarray,
    pixels: np.ndarray,
    split: str = "test",
    step: int = 0,
    acceptance: Acceptance | None = None,
    grad_cam: GradCAM | None = None,
    intervals: bool = False,
    mask_of: Callable[[int], np.ndarray] | None = None,
) -> Evaluation:
    """Compute all scores of a classifier on labelled images, and log them with their figures and the predictions.

    Args:
        run: the open run.
        manifest: N labelled images.
        probabilities: float [N, C], calibrated.
        pixels: uint8 [N, S, S, 3], the decoded images.
        split: `test` or `external/lisc`: the prefix of the metrics.
        step: of the metrics.
        acceptance: what decides which predictions are accepted without review; None for a model that is not calibrated.
        grad_cam: shows beside each mistake what supported the prediction. Where images have a mask, the share of these
            maps that lies inside is measured, on at most `MOST_MASKED` of them.
        intervals: whether to compute the intervals of the scores.
        mask_of: the mask of an image, by its row, as it lies in its picture; see `FramedImages.mask`.
    """
    from hemacell.reporting.evaluation_figures import evaluation_figures

    names = tuple(manifest.names)
    found = Predictions(
        manifest.classes,
        split,
        names,
        tuple(manifest.table["sha256"]),
        manifest.labels,
        np.asarray(probabilities, dtype=np.float32),
        known_groups(manifest),
    )
    inside = (
        _saliency_inside_masks(manifest, found.predicted, pixels, grad_cam, mask_of) if grad_cam and mask_of else {}
    )
    evaluation = evaluate(found, acceptance, intervals, inside)
    saliency = (lambda rows: grad_cam(pixels[rows], found.predicted[rows])) if grad_cam else None
    figures = evaluation_figures(evaluation, pixels, saliency, grad_cam.crop if grad_cam else 1.0)
    log_evaluation(run, evaluation, figures, split, step)
    if intervals or acceptance:
        run.tags({INTERVALS_OVER.format(split): resampled_units(evaluation.groups, len(found))})
    return evaluation


def acceptance_of(config: ClassifierConfig, found: ClassifierPredictions) -> Acceptance:
    """What decides which predictions of a calibrated classifier are accepted without review."""
    uncalibrated = apply_temperature(found.probabilities, 1 / config.temperature)
    return Acceptance(config.confidence_threshold, uncalibrated, found.is_ood, found.is_unknown)


def embed_images(model: ClassifierModel, images: FramedImages, what: str) -> CellImages:
    """Labelled images that are framed for a classifier, with the embeddings that it makes of them."""
    from hemacell.classifiers.cells import CellImages
    from hemacell.core.progress import Progress

    decoded = images.decoded
    embeddings = model.embed_pixels(decoded.array, Progress(f"embedding {what}"))
    return CellImages(np.arange(len(decoded)), decoded.manifest.labels, embeddings)


def evaluate_images(
    run: Tracker,
    model: ClassifierModel,
    images: FramedImages,
    split: str,
    step: int = 0,
    intervals: bool = False,
    cells: CellImages | None = None,
) -> Evaluation:
    """Classify labelled images that are framed for a classifier; score and log as `evaluate_and_log` does.

    `cells` are all of the images, by `embed_images`, where they are embedded already.
    """
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.core.progress import Progress

    decoded = images.decoded
    if cells:
        found = model.predict_embedded(decoded.array, cells)
    else:
        found = model.predict_pixels(decoded.array, progress=Progress(f"scoring {split}"))
    return evaluate_and_log(
        run,
        decoded.manifest,
        found.probabilities,
        decoded.array,
        split=split,
        step=step,
        acceptance=acceptance_of(model.config, found),
        grad_cam=GradCAM.if_possible(model),
        intervals=intervals,
        mask_of=images.mask,
    )


def evaluate_adapted(
    run: Tracker,
    model: ClassifierModel,
    images: FramedImages,
    laboratory: str,
    cells: CellImages,
    amounts: Sequence[int] = (),
    step: int = 0,
) -> Evaluation:
    """Score a classifier with the own statistics of a laboratory's images; labels are used for the scores alone.

    Args:
        run: the open run; scores and files are `external_adapted/<laboratory>/…`.
        model: the classifier; its method standardises embeddings.
        images: framed for it.
        laboratory: their name.
        cells: the same images, by `embed_images`.
        amounts: labels of each class, for each of which it is logged what they would bring; see `site_labels`.
        step: of the metrics.

    Raises:
        UserError: the classifier has no embeddings that could be adapted.
    """
    from hemacell.classifiers.adaptation import adapted
    from hemacell.jobs.site_labels import evaluate_with_labels

    own = adapted(model, images.decoded.array, cells.embeddings)
    found = evaluate_images(run, own, images, split_of(laboratory, ADAPTED), step, intervals=True, cells=cells)
    evaluate_with_labels(run, own, images, laboratory, cells, amounts, step)
    return found


def evaluate_ood_detection(
    run: Tracker, model: ClassifierModel, cells: np.ndarray, known: np.ndarray, step: int = 0
) -> dict[str, float]:
    """Log how often altered images are flagged as out of distribution: `ood_images/<kind>`, and `distances.png`.

    Args:
        run: the open run.
        model: the classifier.
        cells: uint8 [M, S, S, 3], test cells, from which images of each kind are made.
        known: float [N], distances of the test cells: those above 1 are false alarms.
        step: of the metrics.

    Returns:
        Kind -> share that is flagged, 0 to 1.
    """
    from hemacell.classifiers.description import OOD_THRESHOLD
    from hemacell.data.ood_images import ood_images
    from hemacell.reporting import figures

    chosen = np.unique(np.linspace(0, len(cells) - 1, OOD_CELLS).astype(int))
    distances = {name: model.distances(made) for name, made in ood_images(np.asarray(cells[chosen])).items()}
    flagged = {name: float((found > OOD_THRESHOLD).mean()) for name, found in distances.items()}
    run.metrics({f"ood_images/{name}": share for name, share in flagged.items()}, step)
    run.figure(figures.ood_distances({"test cells": known, **distances}, OOD_THRESHOLD), OOD_DISTANCES)
    return flagged


def compare_with_own_test(
    run: Tracker,
    evaluation: Evaluation,
    model: RegisteredModel,
    facts: Mapping[str, str],
    doubts: Sequence[str],
    resamples: int,
) -> None:
    """Compare scores with those on a classifier's own test images, and log the comparison.

    Args:
        run: the open run.
        evaluation: on the images of this run.
        model: the registered classifier.
        facts: label -> text, shown above the table.
        doubts: warnings about model and images, shown below the table.
        resamples: of the bootstrap over images, or over groups where these are known.
    """
    from hemacell.reporting import figures
    from hemacell.reporting.reference_tables import reference_page

    reference, unknown = reference_scores_of(model)
    found = evaluation.predictions
    rows = compare_with_reference(
        found.labels, found.probabilities, found.classes, reference, resamples, groups=found.groups
    )
    warnings = [
        *filter(None, (drop_in_words(rows), unknown)),
        *doubts,
        *reference_checks(found.labels, rows, found.classes, found.groups),
    ]
    shown = {
        "classifier": model.uri,
        "its own test scores": f"run {model.run_id}" if reference else "not known",
        **facts,
        "interval": f"percentile bootstrap over {resampled_units(evaluation.groups, len(found))}, {resamples} resamples"
        f" ({units_in_a_sentence(evaluation.groups)})",
    }
    if evaluation.selective is not None:
        shown["accepted without review"] = evaluation.selective.in_words()
    log_reference_comparison(run, rows, shown, warnings, reference_page(rows, shown, warnings))
    run.figure(figures.reference_scores(rows), REFERENCE_FIGURE)


def _saliency_inside_masks(
    manifest: Manifest,
    predicted: np.ndarray,
    pixels: np.ndarray,
    grad_cam: GradCAM,
    mask_of: Callable[[int], np.ndarray],
) -> dict[str, float]:
    """From `saliency_metrics`; empty where no image has a mask."""
    from hemacell.classifiers.grad_cam import crop_mask

    files = manifest.table["own_mask"].tolist()
    masks: dict[int, np.ndarray] = {}
    problems: list[str] = []
    # The rows are sorted by content, which is a random order.
    for row in [row for row, file in enumerate(files) if file][:MOST_MASKED]:
        try:
            masks[row] = mask_of(row)
        except (UnreadableImage, UserError) as error:
            problems.append(str(error) if isinstance(error, UserError) else f"{files[row]}: {error}")
    if problems:
        logger.warning(f"{len(problems)} masks cannot be used to measure the saliency; the first: {problems[0]}")
    if not masks:
        return {}
    rows = np.array(list(masks))
    maps = grad_cam(pixels[rows], predicted[rows])
    return saliency_metrics(maps, np.stack(list(masks.values())), crop_mask(pixels.shape[1], grad_cam.crop))
