"""What every classifier leaves in its run at the end: scores, pictures, predictions."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import PREDICTIONS

if TYPE_CHECKING:
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.data.manifest import Manifest

logger = logging.getLogger(__name__)

#: Masked images whose heat is looked at: a share deviates by 0.15 between images, its mean over so many by 0.01.
MOST_MASKED = 300


def log_classification(
    run: Tracker,
    manifest: Manifest,
    probabilities: np.ndarray,
    pixels: np.ndarray,
    prefix: str = "test",
    step: int = 0,
    explain: GradCAM | None = None,
) -> dict[str, float]:
    """Log `<prefix>/…` scores, confusion matrix, per-class bars, reliability, mistakes and predictions.json.

    What is not of the test split lies in a folder of its own, named by the prefix.

    Args:
        run: the open run.
        manifest: N labelled images.
        probabilities: float [N, classes], calibrated.
        pixels: uint8 [N, H, W, 3], for the gallery.
        prefix: `test` or `external`.
        step: of the metrics.
        explain: shows beside each mistake that is shown what spoke for the answer. Where images have a mask, the share
            of this heat that lies inside is `<prefix>/cam_inside`, and what even heat would have is
            `<prefix>/cam_inside_by_chance`: means over those of them (at most `MOST_MASKED`) for whose answer anything
            spoke, `<prefix>/cam_images`.

    Returns:
        The scores, without prefix.
    """
    from hemacell.evaluation.metrics import classification_metrics
    from hemacell.evaluation.predictions import Predictions, write_predictions
    from hemacell.reporting import figures

    labels, classes = manifest.labels, manifest.classes
    predicted = probabilities.argmax(1)
    scores = classification_metrics(labels, probabilities, classes)
    if explain:
        scores |= _inside_masks(manifest, predicted, pixels, explain)
    run.metrics({f"{prefix}/{name}": value for name, value in scores.items()}, step)
    folder = "" if prefix == "test" else f"{prefix}/"
    run.figure(figures.confusion_matrix(labels, predicted, classes), f"{folder}confusion_matrix.png")
    run.figure(figures.per_class(scores, classes), f"{folder}per_class.png")
    run.figure(figures.reliability(labels, probabilities), f"{folder}reliability.png")
    heat = (lambda rows: explain(pixels[rows], predicted[rows])) if explain else None
    crop = explain.crop if explain else 1.0
    run.figure(
        figures.mistakes(pixels, labels, probabilities, classes, saliency=heat, crop=crop), f"{folder}mistakes.png"
    )
    with tempfile.TemporaryDirectory() as scratch:
        names = manifest.names
        file = Path(scratch) / PREDICTIONS
        digests = tuple(manifest.table["sha256"])
        write_predictions(
            file, Predictions(classes, prefix, tuple(names), digests, labels, probabilities.astype(np.float32))
        )
        run.artifact(file, f"{folder}{PREDICTIONS}")
    return scores


def _inside_masks(manifest: Manifest, predicted: np.ndarray, pixels: np.ndarray, explain: GradCAM) -> dict[str, float]:
    """The metrics `cam_…`; none where no image has a mask and a map that is not empty."""
    from hemacell.classifiers.grad_cam import crop_mask
    from hemacell.core.errors import UserError
    from hemacell.data.images import UnreadableImage
    from hemacell.data.masks import masks_beside, square_mask
    from hemacell.evaluation.saliency import saliency_inside

    files = masks_beside(manifest)
    masks: dict[int, np.ndarray] = {}
    problems: list[str] = []
    # The rows are sorted by content, which is a random order.
    for row in [row for row, file in enumerate(files) if file][:MOST_MASKED]:
        try:
            masks[row] = square_mask(Path(files[row]), Path(manifest.table["path"].iat[row]), pixels.shape[1])
        except (UnreadableImage, UserError) as error:
            problems.append(str(error) if isinstance(error, UserError) else f"{files[row]}: {error}")
    if problems:
        logger.warning(f"{len(problems)} masks are not used to see where heat lies; the first: {problems[0]}")
    if not masks:
        return {}
    rows = np.array(list(masks))
    heat = explain(pixels[rows], predicted[rows])
    shares, by_chance = saliency_inside(heat, np.stack(list(masks.values())), crop_mask(pixels.shape[1], explain.crop))
    told = ~np.isnan(shares)
    if not told.any():
        return {}
    means = {"cam_inside": float(shares[told].mean()), "cam_inside_by_chance": float(by_chance[told].mean())}
    return {**means, "cam_images": int(told.sum())}
