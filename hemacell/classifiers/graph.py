"""A whole classifier as one torch module, from decoded pictures to answers: what is exported.

The same numbers as `Predictor.predict_pixels` in float32, with three pieces written so that they export well: sampling
is two products with constant matrices (a view that is not turned is separable), and the temperature and the distance,
which are numpy there, are tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hemacell.classifiers.fusion import answer
from hemacell.classifiers.model import Predictor
from hemacell.classifiers.ood import CLIP_SIGMA, Reference, low_level_features_of
from hemacell.classifiers.probabilities import MIN_PROBABILITY
from hemacell.data.augmentation import tta_views_of


class ClassifierGraph(nn.Module):
    """Decoded pictures, uint8 [N, decoded_size, decoded_size, 3], to probabilities and distances.

    Args:
        predictor: the classifier, on the CPU; its weights are shared. Its precision is not looked at: this is float32.

    `forward` returns probabilities float32 [N, classes], calibrated, the mean over the classifier's views, and
    distances float32 [N] from the cells that it knows; above 1 a picture is unlike them.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        config = predictor.config
        self.views, self.temperature = config.views, config.temperature
        self.network = predictor.network
        self.encoders = nn.ModuleList(predictor.encoders)
        self.cut = Cut(config.decoded_size, config.size, config.crop)
        # An encoder that is shown the same part at the same size as the network shares its picture.
        self.cuts = nn.ModuleList(
            self.cut
            if (encoder.config.input_size, encoder.config.crop) == (config.size, config.crop)
            else Cut(config.decoded_size, encoder.config.input_size, encoder.config.crop)
            for encoder in predictor.encoders
        )
        self.known = KnownCells(predictor.reference)
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = images.permute(0, 3, 1, 2).float() / 255
        upright = self.cut(pixels)
        embeddings = [
            encoder(tta_views_of(upright if cut is self.cut else cut(pixels), self.views))
            for encoder, cut in zip(self.encoders, self.cuts, strict=True)
        ]
        logits = answer(self.network(tta_views_of(upright, self.views), embeddings))
        raw = logits.softmax(1).unflatten(0, (self.views, -1)).mean(0)
        # in float64, as hemacell.classifiers.probabilities.apply_temperature
        scaled = raw.double().clamp_min(MIN_PROBABILITY).log() / self.temperature
        return scaled.softmax(1).float(), self.known(low_level_features_of(self.network.cell, upright))


class Cut(nn.Module):
    """`hemacell.data.augmentation.render` without a view: the central part of a picture, sampled bilinearly.

    Args:
        decoded_size: side of the picture, in pixels.
        size: side of the result, in pixels.
        crop: side of the part, in sides of the picture.

    `forward` takes float [N, 3, decoded_size, decoded_size] in [0, 1] and returns [N, 3, size, size].
    """

    weights: Tensor

    def __init__(self, decoded_size: int, size: int, crop: float) -> None:
        super().__init__()
        # Centres of the new pixels, in old pixels; what lies outside mirrors the picture.
        places = ((torch.arange(size, dtype=torch.float64) * 2 + 1) / size - 1) * crop
        places = (((places + 1) * decoded_size - 1) / 2).clamp(0, decoded_size - 1)
        weights = (1 - (places[:, None] - torch.arange(decoded_size, dtype=torch.float64)).abs()).clamp_min(0)
        used = weights.sum(0).nonzero().flatten()
        self.first, self.last = int(used[0]), int(used[-1]) + 1
        self.register_buffer("weights", weights[:, self.first : self.last].float(), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        central = pixels[:, :, self.first : self.last, self.first : self.last]
        seen = self.weights @ (central @ self.weights.T)
        return seen.clamp(1 / 255, 1.0)  # a density is that of one grey level at least


class KnownCells(nn.Module):
    """`Reference.distance`, of tensors: float32 [N, F] to float32 [N]."""

    centre: Tensor
    scale: Tensor
    means: Tensor
    whitening: Tensor

    def __init__(self, reference: Reference) -> None:
        super().__init__()
        stored = reference.tensors()
        whitening = stored["whitening"] / reference.limit
        self.register_buffer("centre", stored["centre"], persistent=False)
        self.register_buffer("scale", stored["scale"], persistent=False)
        self.register_buffer("means", stored["classes"], persistent=False)
        self.register_buffer("whitening", whitening, persistent=False)

    def forward(self, statistics: Tensor) -> Tensor:
        standard = ((statistics - self.centre) / self.scale).clamp(-CLIP_SIGMA, CLIP_SIGMA)
        squares = [((standard - mean) @ self.whitening).square().sum(1) for mean in self.means]
        return torch.stack(squares).amin(0).sqrt()
