"""A classifier's folder -> the classifier as it is asked for: on a device, at a precision, looking at a crop."""

from __future__ import annotations

from pathlib import Path

from hemacell.classifiers.model import Predictor, load_folder
from hemacell.core.device import chosen_device


def load_for_use(folder: Path, precision: str = "float32", device: str = "cpu", crop: float = 0) -> Predictor:
    """Read a classifier.

    Args:
        folder: what `hemacell.classifiers.model.save_folder` wrote.
        precision: `float32` or `bf16`.
        device: `auto`, `cpu` or `cuda`.
        crop: side of the part around the centre that is looked at, in sides of the image; 0 for the model's own.

    Raises:
        UserError: the folder holds no classifier, or there is no GPU.
    """
    where = chosen_device(device)
    made = load_folder(folder, precision).to(where)
    return made.with_crop(crop) if crop else made
