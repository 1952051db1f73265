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

from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.model import ClassifierModel
from hemacell.core.errors import UserError
from hemacell.core.random import seed_of
from hemacell.evaluation.groups import group_numbers
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

    def of(self, rows: np.ndarray) -> Layers:
        """The same for some of the images: positions, or bool [N]."""
        chosen = torch.from_numpy(rows)
        return Layers(self.layers, [each[chosen] for each in self.inputs])

    def probabilities(self, moved: Sequence[tuple[Tensor, Tensor]]) -> np.ndarray:
        """Probabilities float32 [N, C] with other weights and biases of the layers, the mean over the views."""
        logits = [F.linear(each, *layer) for layer, each in zip(moved, self.inputs, strict=True)]
        return torch.stack(logits).mean(0).softmax(-1).mean(1).numpy()


class Moved(NamedTuple):
    """Last layers as the labels have moved them."""

    layers: Sequence[tuple[Tensor, Tensor]]
    """weight [C, F] and bias [C] of each"""
    strength: float
    """how much the labels count, of `STRENGTHS`"""
    held_out: np.ndarray
    """float64 [N, C], logarithms of probabilities: of each labelled image, by layers that were moved without it"""


def learn_from_labels(
    model: ClassifierModel, pixels: np.ndarray, cells: CellImages, groups: Sequence[str] = ()
) -> tuple[ClassifierModel, Moved]:
    """Move the last layers of a classifier.

    Args:
        model: adapted to the laboratory.
        pixels: uint8 [M, decoded_size, decoded_size, 3], pictures of the laboratory.
        cells: N of them with their labels, of two classes at least, and with their embeddings.
        groups: N, patient or slide of each; empty where they are not known.

    Returns:
        The classifier with its layers moved, and what was learnt.

    Raises:
        UserError: the classifier has no linear last layers, or all labels are of one class.
    """
    found = move_layers(last_layers_of(model, pixels, cells), cells.labels, model.classes, groups)
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        for layer, (weight, bias) in zip(network.last_layers, found.layers, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return model.with_network(network), found


def last_layers_of(model: ClassifierModel, pixels: np.ndarray, cells: CellImages) -> Layers:
    """The last layers of a classifier, with what they see of cells; arguments as for `learn_from_labels`.

    Raises:
        UserError: it has no linear last layers.
    """
    layers = model.network.last_layers
    if not layers:
        raise UserError(
            f"a classifier with method={model.config.method} has no last layers that labels could move: adapt it "
            "without labels, or train one with method=fusion"
        )
    return Layers(layers, model.last_inputs(pixels, cells.rows, cells.embeddings))


def move_layers(given: Layers, labels: np.ndarray, classes: Sequence[str], groups: Sequence[str] = ()) -> Moved:
    """Learn weights and biases from N labelled images.

    Args:
        given: of these images.
        labels: int64 [N], of two classes at least.
        classes: names, for an error.
        groups: N, patient or slide of each image: cross-validation keeps a group together; empty where they are not
            known.

    Raises:
        UserError: all labels are of one class.
    """
    present = np.unique(labels)
    if len(present) < 2:
        raise UserError(
            f"labels of one class only ({classes[present[0]]}): expected two classes or more; label cells of others "
            "too, or adapt without labels"
        )
    folds = _folds(labels, _FOLDS, groups)
    held_out = {strength: _held_out(given, labels, folds, strength) for strength in STRENGTHS}
    losses = {strength: -found[np.arange(len(labels)), labels].mean() for strength, found in held_out.items()}
    strength = min(losses, key=lambda each: losses[each])
    return Moved(_moved(given, labels, strength), strength, held_out[strength])


def _folds(labels: np.ndarray, most: int, groups: Sequence[str] = ()) -> np.ndarray:
    """The fold of each image, int64 [N]: the groups (or images) of each class are dealt out in turn.

    There are as many folds as the rarest class has groups, two at least and `most` at most.
    """
    numbers = group_numbers(groups)
    units = np.arange(len(labels)) if numbers is None else numbers
    rng = np.random.default_rng(seed_of("folds of a laboratory's labels"))
    owned = {label: np.unique(units[labels == label]) for label in np.unique(labels)}
    count = min(most, max(2, min(map(len, owned.values()))))
    fold_of = np.full(units.max() + 1, -1)
    for own in owned.values():
        left = rng.permutation(own[fold_of[own] < 0])  # a group of two classes has its fold by the first
        fold_of[left] = np.arange(len(left)) % count
    return fold_of[units]


def _held_out(given: Layers, labels: np.ndarray, folds: np.ndarray, strength: float) -> np.ndarray:
    found = np.empty((len(labels), given.layers[0].out_features))
    for fold in np.unique(folds):
        inside = folds != fold
        moved = _moved(given.of(inside), labels[inside], strength)
        found[~inside] = log_probabilities(given.of(~inside).probabilities(moved))
    return found


def _moved(given: Layers, labels: np.ndarray, strength: float) -> list[tuple[Tensor, Tensor]]:
    wanted = torch.from_numpy(labels)
    return [_ridge(layer, each, wanted, strength) for layer, each in zip(given.layers, given.inputs, strict=True)]


def _ridge(layer: nn.Linear, inputs: Tensor, labels: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of one layer, by L-BFGS in float64; inputs are scaled to a mean squared length of 1.

    Weights change only in directions that the rows span, as the penalty forbids all others: the search is among these,
    of which there are far fewer than inputs.
    """
    views = inputs.shape[1]
    rows = inputs.flatten(0, 1).double()
    scale = rows.square().sum(1).mean().sqrt().clamp_min(1e-12)
    directions = torch.linalg.qr((rows / scale).T)[0]
    rows, wanted = rows / scale @ directions, labels.repeat_interleave(views)
    base = F.linear(inputs.flatten(0, 1), layer.weight, layer.bias).detach().double()
    change = torch.zeros(layer.out_features, rows.shape[1] + 1, dtype=torch.double, requires_grad=True)
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
    weights = moved[:, :-1] @ directions.T / scale
    return layer.weight.detach() + weights.float(), layer.bias.detach() + moved[:, -1].float()
