"""After training: temperature, confidence threshold, and what the known cells look like, all from val.

Val is divided by a fixed seed. One half fits the temperature and describes the known cells; the other half sets the two
limits, the probability, the distance and the score beyond which a prediction needs review.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.description import Predictions
from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.ood import MahalanobisDetector
from hemacell.classifiers.open_set import OpenSetDetector
from hemacell.core.errors import UserError
from hemacell.core.random import seed_of
from hemacell.evaluation.groups import group_numbers
from hemacell.evaluation.selective import SelectivePrediction, accepted, choose_confidence_threshold
from hemacell.evaluation.temperature import fit_temperature, log_probabilities


class Calibration(NamedTuple):
    """What calibration found."""

    model: ClassifierModel
    """with temperature, threshold and detectors"""
    val: Predictions
    """for the val cells"""
    selected: SelectivePrediction
    """what the threshold does to the half of val that it was chosen on"""


def calibration_split(labels: np.ndarray, groups: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Divide labelled images in two halves with the same share of every class, the same ones every time.

    Args:
        labels: int [N].
        groups: N, patient or slide of each image: none is on both sides; empty where they are not known.

    Returns:
        Positions, int64, sorted: ceil(N / 2) and floor(N / 2) of them; of groups, about as many.

    Raises:
        UserError: fewer than two images.
    """
    if len(labels) < 2:
        raise UserError(f"val: expected two images or more, which the calibration divides, found {len(labels)}")
    if (numbers := group_numbers(groups)) is not None:
        return _halves_of_groups(labels, numbers)
    shuffled = np.random.default_rng(seed_of("halves of val")).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return np.sort(by_class[::2]), np.sort(by_class[1::2])


def _halves_of_groups(labels: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups in a random order, each to the half that needs its classes more."""
    table = np.zeros((numbers.max() + 1, labels.max() + 1))
    np.add.at(table, (numbers, labels), 1)
    halves = np.zeros((2, table.shape[1]))
    second = np.zeros(len(table), dtype=bool)
    for group in np.random.default_rng(seed_of("halves of val")).permutation(len(table)):
        second[group] = halves[1] @ table[group] < halves[0] @ table[group]
        if halves[0] @ table[group] == halves[1] @ table[group]:  # none has its classes, or both have as many
            second[group] = halves[1].sum() < halves[0].sum()
        halves[int(second[group])] += table[group]
    return np.flatnonzero(~second[numbers]), np.flatnonzero(second[numbers])


def calibrate(
    model: ClassifierModel,
    pixels: np.ndarray,
    val: CellImages,
    target_risk: float,
    ood_false_positive_rate: float,
    groups: Sequence[str] = (),
    open_set_false_positive_rate: float = 0.02,
) -> Calibration:
    """Calibrate a trained classifier on the val cells.

    Args:
        model: trained, not calibrated yet.
        pixels: uint8 [M, S, S, 3], all decoded images.
        val: two or more cells that it was not trained on, with the embeddings of `config.views` turns.
        target_risk: share of wrong predictions allowed among those that need no review. Where val cannot show it, all
            need review.
        ood_false_positive_rate: share of known cells that may be called out of distribution.
        groups: patient or slide of each val cell; empty where they are not known.
        open_set_false_positive_rate: share of known cells that may be called none of the classes; where val has too few
            cells to set a limit, none is.
    """
    fitted, held_out = calibration_split(val.labels, groups)
    held_out_groups = [groups[row] for row in held_out] if groups else []
    raw, top, kind = model.evidence(pixels, val.rows, val.embeddings)
    temperature = fit_temperature(log_probabilities(raw[fitted]), val.labels[fitted])

    features = model.features(pixels, val.rows)
    detector = MahalanobisDetector.fit(features[fitted], val.labels[fitted])
    detector = detector.with_false_positive_rate(features[held_out], ood_false_positive_rate)

    distance = detector.distance(features)
    open_set = OpenSetDetector.fit(kind[fitted], val.labels[fitted]).with_false_positive_rate(
        top[held_out], distance[held_out], kind[held_out], open_set_false_positive_rate
    )

    made = model.calibrated(detector, open_set, temperature=temperature)
    probabilities = made.apply_temperature(torch.from_numpy(raw)).numpy()
    threshold = choose_confidence_threshold(probabilities[held_out], val.labels[held_out], target_risk, held_out_groups)
    made = made.calibrated(
        detector,
        confidence_threshold=threshold,
        target_risk=target_risk,
        calibration_images=len(held_out),
        open_set_rate=open_set_false_positive_rate if open_set.has_threshold else 0.0,
    )
    return Calibration(
        made,
        Predictions(probabilities, distance, open_set.score(top, distance, kind)),
        accepted(val.labels[held_out], probabilities[held_out], threshold, groups=held_out_groups),
    )
