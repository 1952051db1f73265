"""How good a classifier is on labelled cells of a laboratory before and after it was adapted, paired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hemacell.evaluation.comparison.resampling import (
    image_weights,
    match_predictions,
    percentile_interval,
    resampled_metrics,
)
from hemacell.evaluation.groups import number_of_groups
from hemacell.evaluation.metrics import confusion_metrics
from hemacell.evaluation.predictions import Predictions

#: Scores that are compared.
METRICS = ("macro_f1", "accuracy")


@dataclass(frozen=True)
class WayScores:
    """Scores of one way of classifying a laboratory's labelled cells."""

    way: str
    """as in the names of metrics, such as `adapted`"""
    images: int
    groups: int
    """number of the patients or slides that they are of; 0 where these are not known"""
    values: Mapping[str, float]
    """metric -> score"""
    intervals: Mapping[str, tuple[float, float]]
    """95 %, by a bootstrap over the cells, or over their groups where these are known"""
    differences: Mapping[str, tuple[float, float, float]]
    """metric -> difference to the first way with its 95 % interval, paired; empty for the first way"""

    def metrics(self) -> dict[str, float]:
        """Scores, limits and differences by the names that are logged."""
        found = dict(self.values)
        for name, (low, high) in self.intervals.items():
            found |= {f"{name}_low": low, f"{name}_high": high}
        return found | {f"{name}_difference": value for name, (value, _, _) in self.differences.items()}


def compare_ways(ways: Mapping[str, Predictions], resamples: int, seed: int = 0) -> list[WayScores]:
    """Compare several ways to classify the same cells.

    Args:
        ways: name -> predictions for the same cells; the first is what the others are compared with.
        resamples: of the bootstrap over cells (or groups), the same for all ways.
        seed: of these.
    """
    matched = match_predictions(list(ways.values()), list(ways))
    images = len(matched.labels)
    values = confusion_metrics(matched.confusion(), matched.classes)
    resampled = resampled_metrics(matched, image_weights(images, resamples, seed, matched.groups))
    found = []
    for number, way in enumerate(ways):
        differences = {
            name: (
                float(values[name][number] - values[name][0]),
                *percentile_interval(np.asarray(resampled[name][number] - resampled[name][0])),
            )
            for name in METRICS
            if number
        }
        intervals = {name: percentile_interval(resampled[name][number]) for name in METRICS}
        scores = {name: float(values[name][number]) for name in METRICS}
        found.append(WayScores(way, images, number_of_groups(matched.groups), scores, intervals, differences))
    return found
