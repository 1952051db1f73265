"""A classifier as one torch module, from decoded images to probabilities and distances.

Calibration, the jobs, the served model and the ONNX export all call the same `forward`, or its parts.
"""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from hemacell.classifiers.central_crop import CentralCrop
from hemacell.classifiers.description import ClassifierConfig, Prediction, Predictions
from hemacell.classifiers.ood import MahalanobisDetector, low_level_features
from hemacell.classifiers.open_set import OpenSetDetector, measured_kind
from hemacell.classifiers.standardise import Standardise
from hemacell.data.augmentation import dihedral_views
from hemacell.data.images import to_square
from hemacell.encoders.frozen import FrozenEncoder
from hemacell.evaluation.checks import MIN_PROBABILITY
from hemacell.framing.description import Site
from hemacell.framing.frame import Framed, frame
from hemacell.framing.site import estimate_site, measured

if TYPE_CHECKING:
    from hemacell.classifiers.cells import CellImages

_VIEWS_AT_ONCE = 32  # of more, features do not fit into the processor's cache, nor into memory that is kept for them


class CellClassifier(nn.Module, ABC):
    """What a method learns: from pixels and embeddings to logits. Its `state_dict` is all that is stored of it."""

    @property
    def standardisers(self) -> list[Standardise]:
        """What standardises the embedding of each encoder, in order: another laboratory has its own numbers there.

        A method that has none cannot be adapted to another laboratory.
        """
        return []

    @property
    def last_layers(self) -> list[nn.Linear]:
        """The linear layers whose mean outputs are the logits, to be moved by labels of another laboratory."""
        return []

    def last_inputs(self, images: Tensor, embeddings: Sequence[Tensor]) -> list[Tensor]:
        """What the `last_layers` see: [N, F] for each; arguments as for `logits`."""
        return []

    @abstractmethod
    def logits(self, images: Tensor, embeddings: Sequence[Tensor]) -> Tensor:
        """Logits float32 [N, classes].

        Args:
            images: float [N, 3, size, size] in [0, 1].
            embeddings: for each encoder [N, width].
        """


class PixelClassifier(CellClassifier):
    """A classifier with a network on the pixels, whose features show unfamiliar images and explain predictions."""

    @abstractmethod
    def early_features(self, images: Tensor) -> list[Tensor]:
        """Features [N, C, h, w] of the first layers, by which unfamiliar images are noticed."""

    def logits_and_early(self, images: Tensor, embeddings: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """`logits` and `early_features`; a network with both on its way computes the features once."""
        return self.logits(images, embeddings), self.early_features(images)

    @property
    @abstractmethod
    def saliency_layer(self) -> nn.Module:
        """The layer whose output Grad-CAM explains."""

    @abstractmethod
    def typical_embeddings(self, count: int) -> list[Tensor]:
        """Mean embeddings, `count` times, with which saliency maps are computed: for each encoder [count, width]."""


def view_logits(network: CellClassifier, images: Tensor, embeddings: Sequence[Tensor], views: int) -> Tensor:
    """Logits of the first `views` flips and quarter turns of each image.

    Args:
        network: in eval mode.
        images: float [N, 3, size, size] in [0, 1], upright.
        embeddings: for each encoder [views * N, width], of the same turns, in the order of `dihedral_views`.
        views: 1 to 8.

    Returns:
        float32 [views, N, classes].
    """
    return _of_views(network.logits(dihedral_views(images, views), embeddings), views)


def mean_probabilities(network: CellClassifier, images: Tensor, embeddings: Sequence[Tensor], views: int) -> Tensor:
    """Probabilities before calibration, the mean over views: float32 [N, classes], rows sum to 1; see `view_logits`."""
    return view_logits(network, images, embeddings, views).softmax(-1).mean(0)


def top_logit(logits: Tensor) -> Tensor:
    """The largest logit of each image, the mean over views: [views, N, classes] to [N]."""
    return logits.amax(-1).mean(0)


class ClassifierModel(nn.Module):
    """A classifier with its encoders, ready for images.

    Args:
        config: its description.
        network: what its method has learnt; put into eval mode.
        encoders: as `config.encoders` names them.
        detector: of unfamiliar images; None only until the classifier is calibrated.
        precision: `float32` (predictions agree to 1e-5 everywhere) or `bf16` (faster; probabilities differ by 0.0003
            in the mean and up to 0.05, as `benchmarks/predict.py` prints). Distances are always in float32.
        open_set: of cells of no class; None until the classifier is calibrated, and for one of an earlier version.

    `forward` takes uint8 [N, decoded_size, decoded_size, 3] and returns probabilities float32 [N, classes], calibrated,
    the mean over the classifier's views; distances float32 [N] from the known cells, above 1 an image is unlike them;
    and scores float32 [N], above 1 a cell is none of the classes.
    """

    def __init__(
        self,
        config: ClassifierConfig,
        network: CellClassifier,
        encoders: Sequence[FrozenEncoder],
        detector: MahalanobisDetector | None = None,
        precision: str = "float32",
        open_set: OpenSetDetector | None = None,
    ) -> None:
        super().__init__()
        self.config, self.precision = config, precision
        self.network = network
        self.encoders = nn.ModuleList(encoders)
        self.detector, self.open_set = detector, open_set
        #: The laboratory at whose scale pictures are framed; None where each picture's own is estimated.
        self.site = config.site if config.adapted_to else None
        self.crop = CentralCrop(config.decoded_size, config.size, config.crop)
        # An encoder that sees the same part at the same size as the network shares its input.
        self.encoder_crops = nn.ModuleList(
            self.crop
            if (encoder.config.input_size, encoder.config.crop) == (config.size, config.crop)
            else CentralCrop(config.decoded_size, encoder.config.input_size, encoder.config.crop)
            for encoder in encoders
        )
        self.eval()

    # --- what it is

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.config.classes

    @property
    def confidence_threshold(self) -> float:
        """Probability below which a prediction needs review."""
        return self.config.confidence_threshold

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.crop.weights.device

    def with_crop(self, crop: float) -> ClassifierModel:
        """This classifier for images of which it is to see another part: its side, in sides of the image.

        One that frames pictures does so around each nucleus, and shares its network; of another one this is a copy,
        which shares no tensor.
        """
        if self.config.framing:
            assert self.config.site is not None
            known = {"diameter": crop / self.config.framing.field, "unit": "share", "error": 0.0, "images": 0}
            return self.of_site(self.config.site.model_copy(update=known))
        own = copy.deepcopy(self)
        encoders = [encoder.with_crop(encoder.config.input_size, crop) for encoder in own.frozen_encoders]
        config = own.config.model_copy(update={"crop": crop})
        made = ClassifierModel(config, own.network, encoders, own.detector, own.precision, own.open_set)
        return made.to(self.device)

    def of_site(self, site: Site | None) -> ClassifierModel:
        """This classifier at the scale of a laboratory; shares its network and encoders."""
        made = copy.copy(self)  # of a module: its parts are shared
        made.site = site
        return made

    def of_images(self, images: Sequence[Image.Image]) -> ClassifierModel:
        """This classifier at the scale of RGB images of one laboratory; itself where it has a scale, or needs none."""
        if self.site or self.config.framing is None or not images:
            return self
        return self.of_site(estimate_site([measured(image) for image in images], self.config.site))

    def picture(self, image: Image.Image) -> Framed:
        """What `predict_pixels` takes of an RGB image: uint8 [decoded_size, decoded_size, 3]."""
        if self.config.framing is None:
            return Framed(to_square(image, self.config.decoded_size))
        found = measured(image)
        site = self.site or estimate_site([found], self.config.site)
        framed = frame(image, site, self.config.framing, self.config.decoded_size, found)
        return framed._replace(remark=site.remark())

    def with_network(self, network: CellClassifier) -> ClassifierModel:
        """This classifier with another network of the same method; shares its encoders and detectors."""
        encoders = self.frozen_encoders
        made = ClassifierModel(self.config, network, encoders, self.detector, self.precision, self.open_set)
        return made.to(self.device)

    def calibrated(
        self, detector: MahalanobisDetector, open_set: OpenSetDetector | None = None, **found: object
    ) -> ClassifierModel:
        """This classifier with its detectors and what else calibration found; shares its network and encoders.

        Args:
            detector: of unfamiliar images.
            open_set: of cells of no class; None for the one that it has.
            found: fields of `ClassifierConfig`, such as `temperature`.
        """
        config, encoders = self.config.model_copy(update=found), self.frozen_encoders
        made = ClassifierModel(config, self.network, encoders, detector, self.precision, open_set or self.open_set)
        return made.to(self.device)

    @property
    def frozen_encoders(self) -> list[FrozenEncoder]:
        """The encoders, in the order of `config.encoders`."""
        return list(self.encoders)  # type: ignore[arg-type]

    # --- from pixels to predictions

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = _scaled(images)
        seen = self.crop(pixels)
        shown = [seen if crop is self.crop else crop(pixels) for crop in self.encoder_crops]
        embeddings, views = self._embeddings(shown), self.config.views
        assert self.detector is not None, "the classifier is not calibrated yet"
        if isinstance(self.network, PixelClassifier) and self.precision == "float32":
            each, early = self.network.logits_and_early(dihedral_views(seen, views), embeddings)
            logits = _of_views(each, views)
            # of the upright view
            features = low_level_features(seen, [each.unflatten(0, (views, -1))[0] for each in early])
        else:
            with self._autocast():
                logits = view_logits(self.network, seen, embeddings, views)
            features = self._low_level_features(seen, shown)
        distance = self.detector(features)
        kind = measured_kind(self.network.standardisers, embeddings, views)
        score = self.open_set(top_logit(logits), distance, kind) if self.open_set else torch.zeros_like(distance)
        return self.apply_temperature(logits.softmax(-1).mean(0)), distance, score

    def _embeddings(self, shown: Sequence[Tensor]) -> list[Tensor]:
        """Of what each encoder is shown [N, 3, S, S]: [views * N, width], in the order of `dihedral_views`."""
        views = self.config.views
        with self._autocast():
            return [
                encoder(each).repeat(views, 1) if encoder.invariant else encoder(dihedral_views(each, views))
                for encoder, each in zip(self.frozen_encoders, shown, strict=True)
            ]

    def apply_temperature(self, probabilities: Tensor) -> Tensor:
        """Calibrated probabilities p^(1/T) of float32 [N, classes]; see `hemacell.evaluation.temperature`."""
        scaled = probabilities.double().clamp_min(MIN_PROBABILITY).log() / self.config.temperature
        return scaled.softmax(1).float()

    def _low_level_features(self, seen: Tensor, shown: Sequence[Tensor]) -> Tensor:
        """Of what the network sees, with its early features; where it sees no pixels, the encoders' first stages."""
        if isinstance(self.network, PixelClassifier):
            maps = self.network.early_features(seen)
        else:
            pairs = zip(self.frozen_encoders, shown, strict=True)
            maps = [encoder.first_stage(each) for encoder, each in pairs if encoder.has_stages]
        return low_level_features(seen, maps)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        # for float32 no autocast at all: it would be a part of the exported graph
        if self.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    # --- arrays of any length, a few images at a time

    def predict_images(self, images: Sequence[Image.Image]) -> Predictions:
        """Predictions for RGB images of any size, of one laboratory."""
        made = self.of_images(images)
        return made.predict_pixels(np.stack([made.picture(image).pixels for image in images]))

    def predict(self, images: Sequence[Image.Image]) -> list[Prediction]:
        """The prediction for each of RGB images of any size, with what is to be said of it."""
        return self.predict_framed([self.picture(image) for image in images])

    def predict_framed(self, pictures: Sequence[Framed]) -> list[Prediction]:
        """The prediction for each of pictures that `picture` made."""
        found = self.predict_pixels(np.stack([each.pixels for each in pictures]), len(pictures))
        return [
            Prediction(probabilities, float(distance), each.why, each.remark, float(score))
            for probabilities, distance, score, each in zip(*found, pictures, strict=True)
        ]

    @torch.no_grad()
    def predict_pixels(
        self, pixels: np.ndarray, batch: int = _VIEWS_AT_ONCE, progress: Callable[[int, int], None] | None = None
    ) -> Predictions:
        """Predictions for decoded images.

        Args:
            pixels: uint8 [N, decoded_size, decoded_size, 3], N > 0; a memory map will do.
            batch: images at once, at most.
            progress: called after each batch with (images done, N).
        """
        found = []
        for part in _parts(len(pixels), max(1, min(batch, _VIEWS_AT_ONCE // self.config.views))):
            found.append(self(self._tensor(pixels, part)))
            if progress:
                progress(min(part.stop, len(pixels)), len(pixels))
        return Predictions(*(torch.cat(each).cpu().numpy() for each in zip(*found, strict=True)))

    def distances(self, pixels: np.ndarray) -> np.ndarray:
        """The distances alone, float32 [N], of decoded images; without test-time augmentation."""
        assert self.detector is not None, "the classifier is not calibrated yet"
        return self.detector.distance(self.features(pixels, np.arange(len(pixels))))

    @torch.no_grad()
    def features(self, pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """What the detector sees of some decoded images: `low_level_features`, float32 [N, F]."""

        def features(images: Tensor, part: slice) -> Tensor:
            scaled = _scaled(images)
            return self._low_level_features(self.crop(scaled), [crop(scaled) for crop in self.encoder_crops])

        return self._over(pixels, rows, features)

    @torch.no_grad()
    def embed_pixels(self, pixels: np.ndarray, progress: Callable[[int, int], None] | None = None) -> list[np.ndarray]:
        """Embeddings of decoded images and their turns, for each encoder float32 [N, `config.views`, width].

        Predictions from them (`from_embeddings`, `predict_embedded`) are those for the pixels.
        """
        views = self.config.views
        found: list[list[Tensor]] = [[] for _ in self.encoders]
        for part in _parts(len(pixels), max(1, _VIEWS_AT_ONCE // views)):
            scaled = _scaled(self._tensor(pixels, part))
            each = self._embeddings([crop(scaled) for crop in self.encoder_crops])
            for into, embeddings in zip(found, each, strict=True):
                into.append(embeddings.float().unflatten(0, (views, -1)).transpose(0, 1).cpu())
            if progress:
                progress(min(part.stop, len(pixels)), len(pixels))
        return [torch.cat(each).numpy() for each in found]

    @torch.no_grad()
    def from_embeddings(self, pixels: np.ndarray, rows: np.ndarray, embeddings: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities before calibration, from embeddings that are stored already.

        Args:
            pixels: uint8 [M, decoded_size, decoded_size, 3].
            rows: int64 [N], which of them, N > 0.
            embeddings: for each encoder float32 [N, at least `config.views`, width], of the same turns.

        Returns:
            float32 [N, classes], rows sum to 1.
        """

        return self.evidence(pixels, rows, embeddings)[0]

    @torch.no_grad()
    def evidence(
        self, pixels: np.ndarray, rows: np.ndarray, embeddings: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `from_embeddings` returns, and what tells cells of no class: see `OpenSetDetector.forward`.

        Args:
            pixels, rows, embeddings: as for `from_embeddings`.

        Returns:
            Probabilities before calibration, float32 [N, classes]; the largest logit, float32 [N]; and
            `measured_kind`, float32 [N, F].
        """

        def found(seen: Tensor, stored: list[Tensor]) -> Tensor:
            logits = view_logits(self.network, seen, stored, self.config.views)
            kind = measured_kind(self.network.standardisers, stored, self.config.views)
            columns = [logits.softmax(-1).mean(0), top_logit(logits)[:, None]]
            return torch.cat([*columns, kind] if kind.numel() else columns, 1)

        joined = self._with_stored(pixels, rows, embeddings, found).numpy()
        classes = len(self.classes)
        return joined[:, :classes], joined[:, classes], joined[:, classes + 1 :]

    @torch.no_grad()
    def last_inputs(self, pixels: np.ndarray, rows: np.ndarray, embeddings: Sequence[np.ndarray]) -> list[Tensor]:
        """What the last layers see of decoded images and their turns: for each layer float32 [N, `config.views`, F].

        Args:
            pixels, rows, embeddings: as for `from_embeddings`.
        """
        views = self.config.views

        def inputs(seen: Tensor, stored: list[Tensor]) -> Tensor:
            found = self.network.last_inputs(dihedral_views(seen, views), stored)
            return torch.cat(found, 1).float().unflatten(0, (views, -1)).transpose(0, 1)

        joined = self._with_stored(pixels, rows, embeddings, inputs)
        return list(joined.split([layer.in_features for layer in self.network.last_layers], -1))

    def _with_stored(
        self,
        pixels: np.ndarray,
        rows: np.ndarray,
        embeddings: Sequence[np.ndarray],
        work: Callable[[Tensor, list[Tensor]], Tensor],
    ) -> Tensor:
        """`work` on what the network sees of decoded images, and their stored embeddings [views * N, width]."""

        def part_of(images: Tensor, part: slice) -> Tensor:
            views = self.config.views
            stored = [torch.from_numpy(each[part, :views]).transpose(0, 1).flatten(0, 1) for each in embeddings]
            seen = self.crop(_scaled(images))
            with self._autocast():
                return work(seen, [each.to(self.device) for each in stored])

        return torch.from_numpy(self._over(pixels, rows, part_of))

    def predict_embedded(self, pixels: np.ndarray, cells: CellImages) -> Predictions:
        """Predictions for cells whose embeddings are stored already; `pixels` as for `from_embeddings`."""
        assert self.detector is not None, "the classifier is not calibrated yet"
        raw, top, kind = self.evidence(pixels, cells.rows, cells.embeddings)
        calibrated = self.apply_temperature(torch.from_numpy(raw)).numpy()
        distance = self.detector.distance(self.features(pixels, cells.rows))
        score = self.open_set.score(top, distance, kind) if self.open_set else np.zeros_like(distance)
        return Predictions(calibrated, distance, score)

    def _over(self, pixels: np.ndarray, rows: np.ndarray, work: Callable[[Tensor, slice], Tensor]) -> np.ndarray:
        parts = _parts(len(rows), max(1, 256 // self.config.views))
        found = [work(self._tensor(pixels, rows[part]), part).cpu() for part in parts]
        return torch.cat(found).numpy()

    def _tensor(self, pixels: np.ndarray, part: slice | np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(pixels[part])).to(self.device)  # a copy: torch warns of read-only memory maps


def _of_views(logits: Tensor, views: int) -> Tensor:
    """Logits float32 [views, N, classes] of [views * N, classes]."""
    return logits.float().unflatten(0, (views, -1))


def _scaled(images: Tensor) -> Tensor:
    """uint8 [N, H, W, 3] as float32 [N, 3, H, W] in [0, 1]."""
    return images.permute(0, 3, 1, 2).float() / 255


def _parts(count: int, at_once: int) -> list[slice]:
    return [slice(start, start + at_once) for start in range(0, count, at_once)]
