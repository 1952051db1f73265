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
from scipy.optimize import minimize
from scipy.special import log_softmax
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
_ITERATIONS, _GRADIENT = 500, 1e-6  # of the search: steps at most, and where it may stop


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
    held_out = _held_out(given, labels, folds)
    losses = {strength: -found[np.arange(len(labels)), labels].mean() for strength, found in held_out.items()}
    strength = min(losses, key=lambda each: losses[each])
    layers = [_ridge(each, labels, strength) for each in _problems(given)]
    return Moved(layers, strength, held_out[strength])


def _folds(labels: np.ndarray, most: int, groups: Sequence[str] = ()) -> np.ndarray:
    """The fold of each image, int64 [N]: the groups (or images) of each class are spread evenly, and so are all.

    There are as many folds as the rarest class has groups, two at least and `most` at most.
    """
    numbers = group_numbers(groups)
    units = np.arange(len(labels)) if numbers is None else numbers
    rng = np.random.default_rng(seed_of("folds of a laboratory's labels"))
    owned = {label: np.unique(units[labels == label]) for label in np.unique(labels)}
    count = min(most, max(2, min(map(len, owned.values()))))
    fold_of = np.full(units.max() + 1, -1)
    for own in owned.values():
        for unit in rng.permutation(own[fold_of[own] < 0]):  # a group of two classes has its fold by the first
            of_class, of_all = (np.bincount(each[each >= 0], minlength=count) for each in (fold_of[own], fold_of))
            fold_of[unit] = np.lexsort((of_all, of_class))[0]
    return fold_of[units]


def _held_out(given: Layers, labels: np.ndarray, folds: np.ndarray) -> dict[float, np.ndarray]:
    """For each of `STRENGTHS` what `Moved.held_out` is."""
    found = {strength: np.empty((len(labels), given.layers[0].out_features)) for strength in STRENGTHS}
    for fold in np.unique(folds):
        inside = folds != fold
        problems, others = _problems(given.of(inside)), given.of(~inside)
        for strength, into in found.items():
            moved = [_ridge(each, labels[inside], strength) for each in problems]
            into[~inside] = log_probabilities(others.probabilities(moved))
    return found


class _Problem(NamedTuple):
    """What is the same for all labels and strengths of one layer and some images."""

    layer: nn.Linear
    base: np.ndarray
    """float64 [N * views, C], logits before"""
    rows: np.ndarray
    """float64 [N * views, R], inputs in the directions that they span, with a mean squared length of 1"""
    to_inputs: Tensor
    """float64 [R, F], brings a change of weights to the inputs as they are"""


def _problems(given: Layers) -> list[_Problem]:
    return [_problem(layer, inputs) for layer, inputs in zip(given.layers, given.inputs, strict=True)]


def _problem(layer: nn.Linear, inputs: Tensor) -> _Problem:
    """Weights change only in directions that the inputs span, as the penalty forbids all others; these are few."""
    flat = inputs.flatten(0, 1).double()
    scale = flat.square().sum(1).mean().sqrt().clamp_min(1e-12)
    directions = torch.linalg.qr((flat / scale).T)[0]
    base = F.linear(inputs.flatten(0, 1), layer.weight, layer.bias).detach().double()
    return _Problem(layer, base.numpy(), (flat / scale @ directions).numpy(), directions.T / scale)


def _ridge(problem: _Problem, labels: np.ndarray, strength: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of one layer after labels int64 [N]."""
    layer, base, rows, to_inputs = problem
    views = len(rows) // len(labels)
    right = np.eye(layer.out_features)[np.repeat(labels, views)]
    weight = strength / views

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        change = flat.reshape(layer.out_features, -1)
        logs = log_softmax(base + rows @ change[:, :-1].T + change[:, -1], axis=1)
        penalty = np.square(change[:, :-1]).sum() / 2 + _BIAS * np.square(change[:, -1]).sum() / 2
        error = weight * (np.exp(logs) - right)
        gradient = np.column_stack([error.T @ rows + change[:, :-1], error.sum(0) + _BIAS * change[:, -1]])
        return float(penalty - weight * logs[right > 0].sum()), gradient.ravel()

    start = np.zeros(layer.out_features * (rows.shape[1] + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS, "gtol": _GRADIENT})
    change = torch.from_numpy(found.x.reshape(layer.out_features, -1))
    weights = (change[:, :-1] @ to_inputs).float()
    return layer.weight.detach() + weights, layer.bias.detach() + change[:, -1].float()
