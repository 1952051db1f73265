"""What every classifier leaves in its run at the end: scores, pictures, predictions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hemacell.tracking.tracker import Tracker

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest

PREDICTIONS = "predictions.json"
#: The rows that were reported in training, in one file: a comparison of many runs reads them at once.
HISTORY = "history.json"


def log_classification(
    run: Tracker,
    manifest: Manifest,
    probabilities: np.ndarray,
    pixels: np.ndarray,
    prefix: str = "test",
    step: int = 0,
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

    Returns:
        The scores, without prefix.
    """
    from hemacell.evaluation import figures
    from hemacell.evaluation.metrics import classification_metrics
    from hemacell.evaluation.predictions import write_predictions

    labels, classes = manifest.labels, manifest.classes
    scores = classification_metrics(labels, probabilities, classes)
    run.metrics({f"{prefix}/{name}": value for name, value in scores.items()}, step)
    folder = "" if prefix == "test" else f"{prefix}/"
    predicted = probabilities.argmax(1)
    run.figure(figures.confusion_matrix(labels, predicted, classes), f"{folder}confusion_matrix.png")
    run.figure(figures.per_class(scores, classes), f"{folder}per_class.png")
    run.figure(figures.reliability(labels, probabilities), f"{folder}reliability.png")
    run.figure(figures.mistakes(pixels, labels, probabilities, classes), f"{folder}mistakes.png")
    with tempfile.TemporaryDirectory() as scratch:
        names = [Path(path).relative_to(manifest.root).as_posix() for path in manifest.table["path"]]
        file = Path(scratch) / PREDICTIONS
        write_predictions(file, names, labels, probabilities, classes, list(manifest.table["sha256"]), prefix)
        run.artifact(file, f"{folder}{PREDICTIONS}")
    return scores


def score_table(rows: Sequence[tuple[str, Mapping[str, float]]], keys: Sequence[str]) -> str:
    """A short table for the screen: a row a thing, a column a score; a score that is missing is a dash."""
    width = max(len(name) for name, _ in rows)
    head = " ".join([" " * width, *(f"{key:>18}" for key in keys)])
    lines = [
        " ".join([f"{name:<{width}}", *(f"{scores[key]:>18.3f}" if key in scores else f"{'-':>18}" for key in keys)])
        for name, scores in rows
    ]
    return "\n".join([head, *lines])
