"""After training: temperature, threshold for review, and what the known cells look like to the network, all from val.

Val is divided by a fixed seed. One half fits the temperature and describes the known cells, the other one, which has
been seen by neither, sets the two limits: the probability and the distance beyond which a person should look.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hemacell.classifiers.fusion import FusedClassifier
from hemacell.classifiers.model import Answers, ClassifierConfig
from hemacell.classifiers.ood import Reference, statistics
from hemacell.classifiers.probabilities import apply_temperature, log_probabilities, tta_probabilities
from hemacell.core.errors import UserError
from hemacell.core.random import seed_of
from hemacell.evaluation.selective import SelectivePrediction, accepted, choose_confidence_threshold
from hemacell.evaluation.temperature import fit_temperature
from hemacell.training.tasks.cells import CellImages, CellTask


class Calibrated(NamedTuple):
    """What calibration found."""

    config: ClassifierConfig
    """With temperature and threshold."""
    reference: Reference
    """The known cells."""
    val: Answers
    """To the val cells."""
    promised: SelectivePrediction
    """What the threshold does to the half of val that it was chosen on."""
    answers: Callable[[CellImages], Answers]
    """Other cells -> answers to them."""


def calibration_split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide labelled images in two halves with the same share of every class, the same ones every time.

    Args:
        labels: int [N].

    Returns:
        Positions, int64, sorted: ceil(N / 2) and floor(N / 2) of them.

    Raises:
        UserError: fewer than two images.
    """
    if len(labels) < 2:
        raise UserError(f"val: expected two images or more, which the calibration divides, found {len(labels)}")
    shuffled = np.random.default_rng(seed_of("halves of val")).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    return np.sort(by_class[::2]), np.sort(by_class[1::2])


def calibrated(
    task: CellTask,
    network: FusedClassifier,
    config: ClassifierConfig,
    val: CellImages,
    divided: tuple[np.ndarray, np.ndarray],
    target_risk: float,
    ood_false_positive_rate: float,
) -> Calibrated:
    """Calibrate a trained network on the val cells.

    Args:
        task: that it was trained on.
        network: the trained network.
        config: the classifier so far.
        val: cells that it was not trained on, with the embeddings of `config.views` turns.
        divided: their `calibration_split`.
        target_risk: share of wrong answers allowed among those that need no review.
        ood_false_positive_rate: share of known cells that may be called unlike the known ones.
    """

    def raw(images: CellImages) -> np.ndarray:
        return tta_probabilities(
            network,
            task.pixels,
            images.rows,
            images.embeddings,
            size=config.size,
            crop=config.crop,
            views=config.views,
            precision=task.precision,
        )

    def low_level_features_of(images: CellImages) -> np.ndarray:
        return statistics(network.cell, task.pixels, images.rows, size=config.size, crop=config.crop)

    fitted, held_out = divided
    uncalibrated = raw(val)
    temperature = fit_temperature(log_probabilities(uncalibrated[fitted]), val.labels[fitted])
    seen = apply_temperature(uncalibrated, temperature)
    threshold = choose_confidence_threshold(seen[held_out], val.labels[held_out], target_risk)

    known = low_level_features_of(val)
    reference = Reference.fit(known[fitted], val.labels[fitted]).limited(known[held_out], ood_false_positive_rate)
    return Calibrated(
        config.model_copy(update={"temperature": temperature, "confidence_threshold": threshold}),
        reference,
        Answers(seen, reference.distance(known)),
        accepted(val.labels[held_out], seen[held_out], threshold),
        lambda images: Answers(
            apply_temperature(raw(images), temperature), reference.distance(low_level_features_of(images))
        ),
    )
