"""A classifier's folder: what is registered of it, and read again wherever it is used. No pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hemacell.classifiers.description import (
    DESCRIPTION,
    DETECTOR,
    ENCODERS,
    OPEN_SET,
    TRAINED_ON,
    WEIGHTS,
    ClassifierConfig,
)
from hemacell.classifiers.methods import METHODS
from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.ood import MahalanobisDetector
from hemacell.classifiers.open_set import OpenSetDetector
from hemacell.core.device import chosen_device
from hemacell.core.errors import UserError, in_one_line
from hemacell.encoders.frozen import load_encoder, save_encoder
from hemacell.encoders.fuse_batchnorm import fuse_batchnorm


def save_folder(folder: Path, model: ClassifierModel, trained_on: Sequence[str]) -> Path:
    """Write a classifier's folder: description, weights, the known cells, each encoder in a folder of its own, and the
    digests of the training images, so that no classifier starts from this one and is then tested on them.

    Args:
        folder: made where it is missing.
        model: a calibrated classifier.
        trained_on: sha256 of the training images.
    """
    assert model.detector is not None, "the classifier is not calibrated yet"
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in ((WEIGHTS, model.network), (DETECTOR, model.detector), (OPEN_SET, model.open_set)):
        if part is None:
            continue  # a classifier of an earlier version has no open set
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in part.state_dict().items()}, folder / name)
    for slug, encoder in zip(model.config.encoders, model.frozen_encoders, strict=True):
        save_encoder(folder / ENCODERS / slug, encoder.config, encoder.weights())
    (folder / TRAINED_ON).write_text(json.dumps(list(trained_on), indent=0), encoding="utf-8")
    (folder / DESCRIPTION).write_text(model.config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return folder


def load_folder(
    folder: Path,
    precision: str = "float32",
    device: str = "cpu",
    crop: float | Literal["auto"] = "auto",
    fused: bool = True,
) -> ClassifierModel:
    """Read what `save_folder` wrote.

    Args:
        folder: the folder.
        precision: `float32` or `bf16`.
        device: `auto`, `cpu` or `cuda`.
        crop: side of what it sees, in sides of the image; `auto` for its own way.
        fused: whether BatchNorms of its encoders are fused into their convolutions, which is faster. A classifier that
            is to be saved again must not be: its encoders would have other weights than their descriptions say.

    Raises:
        UserError: the folder does not hold a classifier, its method is not installed, or there is no GPU.
    """
    where = chosen_device(device)
    try:
        config = ClassifierConfig.model_validate(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))
        weights = load_file(folder / WEIGHTS)
        detector = MahalanobisDetector(**load_file(folder / DETECTOR))
        known = folder / OPEN_SET  # which classifiers of earlier versions do not have
        open_set = OpenSetDetector.from_state(load_file(known)) if known.exists() else None
    except (OSError, ValueError, TypeError, ValidationError, SafetensorError) as error:
        raise UserError(
            f"{folder}: expected a classifier ({DESCRIPTION}, {WEIGHTS} and {DETECTOR}), found {in_one_line(error)}"
        ) from error
    method = METHODS[config.method]
    encoders = [load_encoder(folder / ENCODERS / slug) for slug in config.encoders]
    if fused:
        encoders = list(map(fuse_batchnorm, encoders))
    try:
        network = method.build(config, [encoder.width for encoder in encoders])
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder}: the weights are not those of the classifier described: {in_one_line(error)[:300]}"
        ) from error
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    made = ClassifierModel(config, network, encoders, detector, precision, open_set).to(where)
    return made if crop == "auto" else made.with_crop(crop)
