"""A folder with a classifier -> probabilities of images. Knows no MLflow, and nothing that only training needs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hemacell.classifiers.fusion import FusedClassifier
from hemacell.classifiers.ood import Reference, statistics
from hemacell.classifiers.probabilities import apply_temperature, tta_probabilities
from hemacell.core.errors import UserError, in_one_line
from hemacell.data.augmentation import apply_augmentation, identity_augmentation, tta_views_of
from hemacell.data.images import to_square
from hemacell.encoders.frozen import FrozenEncoder, load_encoder, save_encoder
from hemacell.encoders.fuse_batchnorm import fuse_batchnorm

WEIGHTS, DESCRIPTION, ENCODERS = "classifier.safetensors", "classifier.json", "encoders"
REFERENCE = "known_cells.safetensors"
TRAINED_ON = "training_images.json"
_VIEWS_AT_ONCE = 64  # of an encoder: more are not quicker, and need more memory


class ClassifierConfig(BaseModel):
    """All that a classifier is, beside its weights and encoders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[str, ...]
    decoded_size: int
    """side to which an image's central square is brought first, in pixels"""
    size: int
    """side of what the cell network sees, in pixels"""
    crop: float
    """side of the part around the centre that is looked at, in sides of the image"""
    views: int
    """flips and quarter turns over which an answer is averaged, 1 to 8"""
    temperature: float
    confidence_threshold: float
    """a cell whose probability is below this needs to be looked at by a person"""
    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (1, 2, 2, 1)
    projection: int = 128
    encoders: tuple[str, ...]
    """slugs of the encoders, in the order in which the network takes them"""


class Answers(NamedTuple):
    """What a classifier says of N images."""

    probabilities: np.ndarray
    """float32 [N, classes], calibrated"""
    distance: np.ndarray
    """float32 [N], from the cells that it knows; above 1 an image is unlike them"""


class Predictor:
    """A classifier with its encoders, ready for images.

    Args:
        config: its description.
        network: in eval mode.
        encoders: as `config.encoders` names them.
        reference: the description of the cells that it knows.
        precision: `float32` (answers agree to 1e-5 everywhere) or `bf16` (faster; probabilities differ by 0.0003 in the
            mean and up to 0.05, as `benchmarks/predict.py` prints).
    """

    def __init__(
        self,
        config: ClassifierConfig,
        network: FusedClassifier,
        encoders: Sequence[FrozenEncoder],
        reference: Reference,
        precision: str = "float32",
    ) -> None:
        self.config, self.network, self.encoders = config, network.eval(), list(encoders)
        self.reference, self.precision = reference, precision

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.config.classes

    @property
    def confidence_threshold(self) -> float:
        """Probability below which a person should look."""
        return self.config.confidence_threshold

    def with_crop(self, crop: float) -> "Predictor":
        """The same classifier, shown another part around the centre: its side, in sides of the image."""
        encoders = [encoder.with_crop(encoder.config.input_size, crop) for encoder in self.encoders]
        config = self.config.model_copy(update={"crop": crop})
        return Predictor(config, self.network, encoders, self.reference, self.precision)

    def to(self, device: torch.device) -> "Predictor":
        """The same classifier on another device."""
        encoders = [encoder.to(device) for encoder in self.encoders]
        return Predictor(self.config, self.network.to(device), encoders, self.reference, self.precision)

    def predict_images(self, images: Sequence[Image.Image]) -> Answers:
        """Answers to RGB images of any size."""
        return self.predict_pixels(np.stack([to_square(image, self.config.decoded_size) for image in images]))

    def predict_pixels(self, pixels: np.ndarray, batch: int = 64) -> Answers:
        """Answers to decoded images, uint8 [N, decoded_size, decoded_size, 3], N > 0, so many at a time."""
        answers = []
        for start in range(0, len(pixels), batch):
            part = np.array(pixels[start : start + batch])  # a copy: torch warns of read-only memory maps
            answers.append((self._probabilities(part), self.distances(part)))
        return Answers(*map(np.concatenate, zip(*answers, strict=True)))

    def distances(self, pixels: np.ndarray) -> np.ndarray:
        """The distances alone, float32 [N], of decoded images."""
        config, rows = self.config, np.arange(len(pixels))
        seen = statistics(self.network.cell, pixels, rows, size=config.size, crop=config.crop)
        return self.reference.distance(seen)

    def _probabilities(self, pixels: np.ndarray) -> np.ndarray:
        raw = tta_probabilities(
            self.network,
            pixels,
            np.arange(len(pixels)),
            [self._embeddings(encoder, pixels) for encoder in self.encoders],
            size=self.config.size,
            crop=self.config.crop,
            views=self.config.views,
            precision=self.precision,
        )
        return apply_temperature(raw, self.config.temperature)

    def _embeddings(self, encoder: FrozenEncoder, pixels: np.ndarray) -> np.ndarray:
        """float32 [N, views, width]"""
        views = self.config.views
        images = torch.from_numpy(pixels).to(encoder.device)
        upright = apply_augmentation(
            images, identity_augmentation(len(images)), encoder.config.input_size, encoder.config.crop
        )
        found = [encoder.embed(some, self.precision) for some in tta_views_of(upright, views).split(_VIEWS_AT_ONCE)]
        return torch.cat(found).unflatten(0, (views, -1)).transpose(0, 1).cpu().numpy()


def build_network(config: ClassifierConfig, widths: Sequence[int], **dropouts: float) -> FusedClassifier:
    """The untrained network of a description.

    Args:
        config: the description.
        widths: of its encoders' embeddings.
        dropouts: arguments of `FusedClassifier` that concern the training only.
    """
    return FusedClassifier(
        len(config.classes),
        dict(zip(config.encoders, widths, strict=True)),
        widths=config.widths,
        blocks=config.blocks,
        projection=config.projection,
        **dropouts,
    )


def save_folder(
    folder: Path,
    config: ClassifierConfig,
    network: torch.nn.Module,
    encoders: Sequence[FrozenEncoder],
    reference: Reference,
    trained_on: Sequence[str],
) -> Path:
    """Write a classifier's folder: description, weights, the known cells, each encoder in a folder of its own, and the
    digests of the images that it learnt from, so that nobody starts from it and then tests on them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS
    )
    save_file(reference.tensors(), folder / REFERENCE)
    for slug, encoder in zip(config.encoders, encoders, strict=True):
        save_encoder(folder / ENCODERS / slug, encoder.config, encoder.weights())
    (folder / TRAINED_ON).write_text(json.dumps(list(trained_on), indent=0), encoding="utf-8")
    (folder / DESCRIPTION).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return folder


def load_folder(folder: Path, precision: str = "float32") -> Predictor:
    """Read what `save_folder` wrote, for use: its encoders are `fuse_batchnorm`.

    Raises:
        UserError: the folder does not hold a classifier.
    """
    try:
        config = ClassifierConfig.model_validate(json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))
        weights = load_file(folder / WEIGHTS)
        reference = Reference.of_tensors(load_file(folder / REFERENCE))
    except (OSError, ValueError, KeyError, ValidationError, SafetensorError) as error:
        raise UserError(
            f"{folder}: expected a classifier ({DESCRIPTION}, {WEIGHTS} and {REFERENCE}), found {in_one_line(error)}"
        ) from error
    encoders = [fuse_batchnorm(load_encoder(folder / ENCODERS / slug)) for slug in config.encoders]
    network = build_network(config, [encoder.width for encoder in encoders])
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{folder}: the weights are not those of the classifier described: {in_one_line(error)[:300]}"
        ) from error
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Predictor(config, network, encoders, reference, precision)
