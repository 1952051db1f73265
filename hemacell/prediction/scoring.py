"""A classifier scores a whole folder of decoded images, with progress."""

from collections.abc import Callable

import numpy as np

from hemacell.classifiers.model import Answers, Predictor

_AT_ONCE = 256  # between two lines of progress; a multiple of the predictor's own batches


def predict_with_progress(
    predictor: Predictor, pixels: np.ndarray, progress: Callable[[int, int], None] | None = None
) -> Answers:
    """Answers to decoded images, uint8 [N, decoded_size, decoded_size, 3], N > 0.

    `progress` is called with (images done, all images).
    """
    answers = []
    for start in range(0, len(pixels), _AT_ONCE):
        answers.append(predictor.predict_pixels(pixels[start : start + _AT_ONCE]))
        if progress:
            progress(min(start + _AT_ONCE, len(pixels)), len(pixels))
    return Answers(*map(np.concatenate, zip(*answers, strict=True)))
