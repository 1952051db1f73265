"""The last layers of a classifier moved by a few labels of another laboratory.

All but the last, linear layers stay as they are. These are pulled towards the labels of the laboratory, and held near
what they were (ridge regression towards the source; Daumé and Marcu's prior model, 2006): so few labels could not say
anything about directions that none of their cells differ in. How strongly is chosen by cross-validation on the labels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hemacell.classifiers.model import ClassifierModel
from hemacell.core.errors import UserError
from hemacell.core.random import seed_of
from hemacell.evaluation.temperature import log_probabilities

#: How much the labels count against staying where the classifier was.
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

_FOLDS = 5
_BIAS = 0.1  # of the penalty of a weight: a class that is not there may become unlikely
_ITERATIONS = 50


class Layers(NamedTuple):
    """Linear layers whose mean outputs are the logits, with the inputs that N images give them."""

    layers: Sequence[nn.Linear]
    inputs: Sequence[Tensor]
    """float32 [N, views, F] of each"""


class SiteHead(NamedTuple):
    """What was learnt from the labels of a laboratory."""

    model: ClassifierModel
    strength: float
    held_out: np.ndarray
    """float64 [N, C], logarithms of probabilities: of each labelled image, by layers that were moved without it"""


def learn_from_labels(model: ClassifierModel, pixels: np.ndarray, labels: np.ndarray) -> SiteHead:
    """Move the last layers of a classifier.

    Args:
        model: adapted to the laboratory.
        pixels: uint8 [N, decoded_size, decoded_size, 3], labelled pictures of the laboratory.
        labels: int64 [N], of two classes at least, two images of each that there is.

    Raises:
        UserError: the classifier has no linear last layers, or there are too few labels.
    """
    present, counts = np.unique(labels, return_counts=True)
    if len(present) < 2:
        raise UserError(
            f"labels of one class only ({model.classes[present[0]]}): expected two classes or more; label cells of "
            "others too, or adapt without labels"
        )
    folds = _folds(labels, min(_FOLDS, max(2, int(counts.min()))))
    given = _layers_of(model, pixels)
    held_out = {strength: _held_out(given, labels, folds, strength) for strength in STRENGTHS}
    losses = {strength: -found[np.arange(len(labels)), labels].mean() for strength, found in held_out.items()}
    strength = min(losses, key=lambda each: losses[each])
    moved = copy.deepcopy(model.network)
    for layer, (weight, bias) in zip(moved.last_layers, _moved(given, labels, strength), strict=True):
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return SiteHead(model.with_network(moved), strength, held_out[strength])


def _folds(labels: np.ndarray, count: int) -> np.ndarray:
    """The fold of each image, int64 [N]: the images of each class are dealt out in turn."""
    folds = np.empty(len(labels), np.int64)
    rng = np.random.default_rng(seed_of("folds of a laboratory's labels"))
    for label in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == label))
        folds[own] = np.arange(len(own)) % count
    return folds


def _layers_of(model: ClassifierModel, pixels: np.ndarray) -> Layers:
    layers = model.network.last_layers
    if not layers:
        raise UserError(
            f"a classifier with method={model.config.method} has no last layers that labels could move: adapt it "
            "without labels, or train one with method=fusion"
        )
    return Layers(layers, model.last_inputs(pixels))


def _held_out(given: Layers, labels: np.ndarray, folds: np.ndarray, strength: float) -> np.ndarray:
    found = np.empty((len(labels), given.layers[0].out_features))
    for fold in np.unique(folds):
        inside = folds != fold
        part = Layers(given.layers, [each[torch.from_numpy(inside)] for each in given.inputs])
        rest = [each[torch.from_numpy(~inside)] for each in given.inputs]
        found[~inside] = _predicted(_moved(part, labels[inside], strength), rest)
    return found


def _predicted(layers: Sequence[tuple[Tensor, Tensor]], inputs: Sequence[Tensor]) -> np.ndarray:
    logits = torch.stack([F.linear(each, *layer) for layer, each in zip(layers, inputs, strict=True)]).mean(0)
    return log_probabilities(logits.softmax(-1).mean(1).numpy())


def _moved(given: Layers, labels: np.ndarray, strength: float) -> list[tuple[Tensor, Tensor]]:
    wanted = torch.from_numpy(labels)
    return [_ridge(layer, each, wanted, strength) for layer, each in zip(given.layers, given.inputs, strict=True)]


def _ridge(layer: nn.Linear, inputs: Tensor, labels: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of one layer, by L-BFGS in float64; inputs are scaled to a mean squared length of 1."""
    views = inputs.shape[1]
    rows = inputs.flatten(0, 1).double()
    scale = rows.square().sum(1).mean().sqrt().clamp_min(1e-12)
    rows, wanted = rows / scale, labels.repeat_interleave(views)
    base = F.linear(inputs.flatten(0, 1), layer.weight, layer.bias).detach().double()
    change = torch.zeros(layer.out_features, layer.in_features + 1, dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([change], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        logits = base + rows @ change[:, :-1].T + change[:, -1]
        error = F.cross_entropy(logits, wanted, reduction="sum") / views
        found = strength * error + change[:, :-1].square().sum() / 2 + _BIAS * change[:, -1].square().sum() / 2
        found.backward()
        return found

    optimiser.step(loss)
    moved = change.detach()
    return layer.weight.detach() + (moved[:, :-1] / scale).float(), layer.bias.detach() + moved[:, -1].float()
