"""All that is computed about the predictions of a classifier on labelled images, once, as one object."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hemacell.evaluation.calibration_error import expected_calibration_error
from hemacell.evaluation.groups import number_of_groups
from hemacell.evaluation.metrics import classification_metrics
from hemacell.evaluation.predictions import Predictions
from hemacell.evaluation.reference_scores import compare_with_reference
from hemacell.evaluation.selective import SelectivePrediction, accepted, risk_coverage


@dataclass(frozen=True, eq=False)
class Acceptance:
    """What decides which predictions are accepted without review."""

    confidence_threshold: float
    """probability from which a prediction is accepted"""
    uncalibrated: NDArray[np.float32]
    """[N, C], the probabilities before the temperature"""
    is_ood: NDArray[np.bool_]
    """[N], images that are flagged as out of distribution, which are never accepted"""
    is_unknown: NDArray[np.bool_] | None = None
    """[N], cells that are flagged as none of the classes, which are never accepted; None where none is"""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The predictions of a classifier on one set of labelled images, and how good they are."""

    predictions: Predictions
    scores: Mapping[str, float]
    """from `classification_metrics`"""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 % intervals of scores, by a bootstrap over images, or over groups where the predictions have them"""
    selective: SelectivePrediction | None = None
    reliability: Mapping[str, float] = field(default_factory=dict)
    """`ece_uncalibrated`, `aurc`, `accepted_…`; `ood_share` and `none_of_these_share`, of images that are flagged"""
    confidence_threshold: float | None = None
    saliency: Mapping[str, float] = field(default_factory=dict)
    """from `saliency_metrics`"""

    @property
    def groups(self) -> int:
        """How many groups the images are of; 0 where none is known."""
        return number_of_groups(self.predictions.groups)

    def metrics(self) -> dict[str, float]:
        """All numbers by the names that are logged behind `test/` or `external/lisc/`."""
        limits = {f"{name}_low": low for name, (low, _) in self.intervals.items()}
        limits |= {f"{name}_high": high for name, (_, high) in self.intervals.items()}
        return {**self.scores, **self.reliability, **self.saliency, **limits}


def evaluate(
    predictions: Predictions,
    acceptance: Acceptance | None = None,
    intervals: bool = False,
    saliency: Mapping[str, float] | None = None,
) -> Evaluation:
    """Compute everything about one set of predictions.

    Args:
        predictions: on N labelled images.
        acceptance: of a calibrated classifier: adds selective prediction and the share of flagged images.
        intervals: whether to compute the intervals of the scores.
        saliency: what was measured of its saliency maps.
    """
    labels, probabilities, classes = predictions.labels, predictions.probabilities, predictions.classes
    scores = classification_metrics(labels, probabilities, classes)
    limits = {}
    if intervals:
        rows = compare_with_reference(labels, probabilities, classes, {}, groups=predictions.groups)
        limits = {row.metric: (row.low, row.high) for row in rows}
    if acceptance is None:
        return Evaluation(predictions, scores, limits, saliency=saliency or {})
    threshold, is_ood = acceptance.confidence_threshold, acceptance.is_ood
    is_unknown = np.zeros_like(is_ood) if acceptance.is_unknown is None else acceptance.is_unknown
    kept = accepted(labels, probabilities, threshold, is_ood=is_ood | is_unknown, groups=predictions.groups)
    reliability = {
        "ece_uncalibrated": expected_calibration_error(labels, acceptance.uncalibrated),
        "aurc": risk_coverage(labels, probabilities).area,
        **kept.metrics(),
        "ood_share": float(is_ood.mean()),
        "none_of_these_share": float(is_unknown.mean()),
    }
    return Evaluation(predictions, scores, limits, kept, reliability, threshold, saliency or {})
