"""After training: the temperature and the threshold for review, both from val."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import nn

from hemacell.classify.answer import log_probabilities, tempered, view_probabilities
from hemacell.evaluation.temperature import fit_temperature, review_threshold
from hemacell.inference.predictor import ClassifierConfig
from hemacell.training.cells import CellImages, CellTask


class Calibrated(NamedTuple):
    """What calibration found."""

    config: ClassifierConfig
    """With temperature and threshold."""
    val: np.ndarray
    """Calibrated probabilities of the val cells, float32 [N, classes]."""
    answers: Callable[[CellImages], np.ndarray]
    """Other cells -> their calibrated probabilities."""


def calibrated(
    task: CellTask, network: nn.Module, config: ClassifierConfig, val: CellImages, review_error: float
) -> Calibrated:
    """Calibrate a trained network on the val cells.

    Args:
        task: that it was trained on.
        network: the trained network.
        config: the classifier so far.
        val: cells that it was not trained on, with the embeddings of `config.views` turns.
        review_error: share of wrong answers allowed among those that need no review.
    """

    def raw(images: CellImages) -> np.ndarray:
        return view_probabilities(
            network,
            task.pixels,
            images.rows,
            images.embeddings,
            size=config.size,
            field=config.field,
            views=config.views,
            precision=task.precision,
        )

    uncalibrated = raw(val)
    temperature = fit_temperature(log_probabilities(uncalibrated), val.labels)
    seen = tempered(uncalibrated, temperature)
    threshold = review_threshold(seen, val.labels, review_error)
    found = config.model_copy(update={"temperature": temperature, "review_below": threshold})
    return Calibrated(found, seen, lambda images: tempered(raw(images), temperature))
