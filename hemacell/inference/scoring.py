"""A registered classifier made ready to score a whole folder: on its device, at another field, with progress."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hemacell.inference.predictor import Predictor, load_folder

_AT_ONCE = 256  # between two lines of progress; a multiple of the predictor's own batches


def ready(
    folder: Path, precision: str = "float32", field: float = 0.0, device: torch.device | str = "cpu"
) -> Predictor:
    """Read a classifier's folder and put it on a device.

    Args:
        folder: what `predictor.save_folder` wrote.
        precision: `float32` or `bf16`.
        field: side of the part around the centre that network and encoders look at, in sides of the image; 0 for the
            classifier's own.
        device: where it computes.

    Raises:
        UserError: the folder does not hold a classifier.
    """
    own = load_folder(folder, precision)
    config = own.config.model_copy(update={"field": field}) if field else own.config
    encoders = [encoder.looking_at(encoder.config.input_size, field) if field else encoder for encoder in own.encoders]
    return Predictor(config, own.network.to(device), [encoder.to(device) for encoder in encoders], precision)


def score_pixels(
    predictor: Predictor, pixels: np.ndarray, progress: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Calibrated probabilities float32 [N, classes] of decoded images, uint8 [N, store_size, store_size, 3], N > 0.

    `progress` is called with (images done, all images).
    """
    answers = []
    for start in range(0, len(pixels), _AT_ONCE):
        answers.append(predictor.predict_pixels(pixels[start : start + _AT_ONCE]))
        if progress:
            progress(min(start + _AT_ONCE, len(pixels)), len(pixels))
    return np.concatenate(answers)
