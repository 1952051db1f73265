"""The figures of one evaluation, by the names of their files."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hemacell.evaluation.classification import Evaluation
from hemacell.reporting import figures


def evaluation_figures(
    evaluation: Evaluation,
    images: NDArray[np.uint8],
    saliency: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None,
    crop: float = 1.0,
) -> dict[str, Figure]:
    """Draw everything that a run shows of its predictions.

    Args:
        evaluation: of N images.
        images: uint8 [N, H, W, 3], for the gallery of mistakes; only what is shown is read.
        saliency: from positions int [M] to maps float [M, H, W] in 0 to 1; None shows the images alone.
        crop: side of the central part that the classifier sees, in sides of the image.

    Returns:
        Figures named `confusion_matrix`, `per_class`, `reliability`, `mistakes`, and `risk_coverage` where predictions
        are accepted or not.
    """
    found = evaluation.predictions
    labels, probabilities, classes = found.labels, found.probabilities, found.classes
    drawn = {
        "confusion_matrix": figures.confusion_matrix(labels, found.predicted, classes),
        "per_class": figures.per_class(evaluation.scores, classes),
        "reliability": figures.reliability(labels, probabilities),
        "mistakes": figures.mistakes(images, labels, probabilities, classes, saliency=saliency, crop=crop),
    }
    if evaluation.confidence_threshold is not None:
        drawn["risk_coverage"] = figures.risk_coverage(
            labels, probabilities, evaluation.confidence_threshold, found.groups
        )
    return drawn
