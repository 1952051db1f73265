"""How far answers can be relied on, as a run says it: calibration, what is accepted without review, what is flagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hemacell.tracking.runs.tracker import Tracker

if TYPE_CHECKING:
    from hemacell.classifiers.description import ClassifierConfig, Predictions
    from hemacell.classifiers.model import ClassifierModel
    from hemacell.evaluation.selective import SelectivePrediction

#: Cells of which foreign pictures are made: enough for a rate in per cent.
OOD_CELLS = 100


def log_calibration(run: Tracker, promised: SelectivePrediction, config: ClassifierConfig, step: int = 0) -> None:
    """Log what calibration found on val: `calibration/temperature`, `calibration/confidence_threshold` and what the
    threshold does to the half of val that chose it (`calibration/accepted_error_high` is its exact upper limit)."""
    found = {
        "temperature": config.temperature,
        "confidence_threshold": config.confidence_threshold,
        **promised.metrics(),
    }
    run.metrics({f"calibration/{name}": value for name, value in found.items()}, step)
    run.tags({"calibration": config.calibration_in_words()})


def log_selective_prediction(
    run: Tracker,
    labels: np.ndarray,
    answers: Predictions,
    config: ClassifierConfig,
    prefix: str = "test",
    step: int = 0,
) -> tuple[SelectivePrediction, dict[str, float]]:
    """Log how the limits that val gave hold on other labelled images.

    The metrics are `<prefix>/ece_uncalibrated` (before the temperature; `ece` is after it), `aurc`, `accepted_share`,
    `accepted_error` with `_low` and `_high`, `unlike` (share that is called unlike the known cells) and `needs_review`
    (both together); the picture is `risk_coverage.png`.

    Args:
        run: the open run.
        labels: int [N].
        answers: to N images.
        config: of the classifier.
        prefix: `test` or `external`; what is not of the test split lies in a folder of its own.
        step: of the metrics.

    Returns:
        What becomes of the images, and the metrics without prefix.
    """
    from hemacell.evaluation.calibration_error import expected_calibration_error
    from hemacell.evaluation.selective import accepted, risk_coverage
    from hemacell.evaluation.temperature import apply_temperature
    from hemacell.reporting import figures

    unlike = answers.is_ood
    kept = accepted(labels, answers.probabilities, config.confidence_threshold, also_doubtful=unlike)
    before = apply_temperature(answers.probabilities, 1 / config.temperature)
    found = {
        "ece_uncalibrated": expected_calibration_error(labels, before),
        "aurc": risk_coverage(labels, answers.probabilities).area,
        **kept.metrics(),
        "unlike": float(unlike.mean()),
        "needs_review": 1 - kept.coverage,
    }
    run.metrics({f"{prefix}/{name}": value for name, value in found.items()}, step)
    folder = "" if prefix == "test" else f"{prefix}/"
    figure = figures.risk_coverage(labels, answers.probabilities, config.confidence_threshold)
    run.figure(figure, f"{folder}risk_coverage.png")
    return kept, found


def log_intervals(
    run: Tracker, labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], step: int = 0
) -> dict[str, tuple[float, float]]:
    """Log the 95 % intervals of the test scores, `test/<metric>_low` and `_high`; returns them by metric."""
    from hemacell.evaluation.reference_scores import compare_with_reference

    found = {row.metric: (row.low, row.high) for row in compare_with_reference(labels, probabilities, classes, {})}
    run.metrics({f"test/{name}_low": low for name, (low, _) in found.items()}, step)
    run.metrics({f"test/{name}_high": high for name, (_, high) in found.items()}, step)
    return found


def log_ood_images(
    run: Tracker, predictor: ClassifierModel, cells: np.ndarray, known: np.ndarray, step: int = 0
) -> Mapping[str, float]:
    """Log how often pictures that are no such cells are flagged: `ood_images/<kind>`, and `distances.png`.

    Args:
        run: the open run.
        predictor: the classifier.
        cells: uint8 [M, S, S, 3], test cells, of which pictures of each kind are made.
        known: float [N], distances of the test cells: those above 1 are false alarms.
        step: of the metrics.

    Returns:
        Kind -> share that is flagged, 0 to 1.
    """
    from hemacell.classifiers.description import OOD_THRESHOLD
    from hemacell.data.ood_images import ood_images
    from hemacell.reporting import figures

    chosen = np.unique(np.linspace(0, len(cells) - 1, OOD_CELLS).astype(int))
    distances = {name: predictor.distances(made) for name, made in ood_images(np.asarray(cells[chosen])).items()}
    flagged = {name: float((found > OOD_THRESHOLD).mean()) for name, found in distances.items()}
    run.metrics({f"ood_images/{name}": share for name, share in flagged.items()}, step)
    run.figure(figures.ood_distances({"test cells": known, **distances}, OOD_THRESHOLD), "distances.png")
    return flagged


def reliability_in_words(
    config: ClassifierConfig,
    promised: SelectivePrediction,
    kept: SelectivePrediction,
    tested: Mapping[str, float],
    flagged: Mapping[str, float],
) -> dict[str, str]:
    """What a model card says of it, label -> text.

    Args:
        config: of the classifier.
        promised, kept: what its threshold does on the half of val that it was chosen on, and on test.
        tested: metrics on test: `ece`, and what `log_selective_prediction` returns.
        flagged: from `log_ood_images`.
    """
    foreign = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in flagged.items())
    return {
        "probabilities": f"temperature scaling by {config.temperature:.3f}, fitted on one half of val; "
        f"expected calibration error on test {tested['ece_uncalibrated']:.4f} before and {tested['ece']:.4f} after",
        "accepted without review": f"{config.calibration_in_words()}; on the other half of val {promised.in_words()}; "
        f"on test {kept.in_words()}",
        "unlike the known cells": f"{tested['unlike']:.1%} of the test cells are called so (false "
        f"alarms); of pictures made from them: {foreign}",
    }
