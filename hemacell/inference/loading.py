"""A classifier's folder -> the classifier as it is asked for: on a device, at a precision, looking at a field."""

from __future__ import annotations

from pathlib import Path

import torch

from hemacell.errors import UserError
from hemacell.inference.predictor import Predictor, load_folder


def chosen_device(device: str) -> torch.device:
    """`auto` (a GPU where there is one), `cpu` or `cuda`.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: this machine has no GPU that torch can use; type device=auto or device=cpu")
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)


def load_for_use(folder: Path, precision: str = "float32", device: str = "cpu", field: float = 0) -> Predictor:
    """Read a classifier.

    Args:
        folder: what `hemacell.inference.predictor.save_folder` wrote.
        precision: `float32` or `bf16`.
        device: `auto`, `cpu` or `cuda`.
        field: side of the part around the centre that is looked at, in sides of the image; 0 for the model's own.

    Raises:
        UserError: the folder holds no classifier, or there is no GPU.
    """
    where = chosen_device(device)
    made = load_folder(folder, precision)
    config, encoders = made.config, made.encoders
    if field:
        config = config.model_copy(update={"field": field})
        encoders = [encoder.looking_at(encoder.config.input_size, field) for encoder in encoders]
    return Predictor(config, made.network.to(where), [encoder.to(where) for encoder in encoders], precision)
