"""After training: the temperature and the threshold for review, both from val."""

from collections.abc import Callable

import numpy as np
from torch import nn

from hemacell.classify.answer import log_probabilities, tempered, view_probabilities
from hemacell.evaluation.temperature import fit_temperature, review_threshold
from hemacell.inference.predictor import ClassifierConfig
from hemacell.training.cells import CellImages, CellTask


def calibrated(
    task: CellTask, network: nn.Module, config: ClassifierConfig, val: CellImages, review_error: float
) -> tuple[ClassifierConfig, Callable[[CellImages], np.ndarray]]:
    """Calibrate a trained network on the val cells.

    Args:
        task: that it was trained on.
        network: the trained network.
        config: the classifier so far.
        val: cells that it was not trained on, with the embeddings of `config.views` turns.
        review_error: share of wrong answers allowed among those that need no review.

    Returns:
        The configuration with temperature and threshold, and a function: cells -> calibrated probabilities
        float32 [N, classes].
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
    threshold = review_threshold(tempered(uncalibrated, temperature), val.labels, review_error)
    found = config.model_copy(update={"temperature": temperature, "review_below": threshold})
    return found, lambda images: tempered(raw(images), temperature)
