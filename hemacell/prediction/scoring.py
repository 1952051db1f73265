"""A classifier scores a whole folder of decoded images, with progress."""

from collections.abc import Callable

import numpy as np

from hemacell.classifiers.description import Predictions
from hemacell.classifiers.model import ClassifierModel

_AT_ONCE = 256  # between two lines of progress; a multiple of the model's own batches


def predict_with_progress(
    model: ClassifierModel, pixels: np.ndarray, progress: Callable[[int, int], None] | None = None
) -> Predictions:
    """Predictions for decoded images, uint8 [N, decoded_size, decoded_size, 3], N > 0.

    `progress` is called with (images done, all images).
    """
    found = []
    for start in range(0, len(pixels), _AT_ONCE):
        found.append(model.predict_pixels(pixels[start : start + _AT_ONCE]))
        if progress:
            progress(min(start + _AT_ONCE, len(pixels)), len(pixels))
    return Predictions(*map(np.concatenate, zip(*found, strict=True)))
