"""Last layers moved by labels: right where the source is wrong, and those of a slow solver."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import nn

from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.site_head import _folds, _problem, _ridge, last_layers_of, learn_from_labels
from hemacell.core.errors import UserError
from tests.small_classifiers import small_config, small_network

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("images", [12, 3], ids=["more rows than inputs", "fewer"])
def test_a_layer_is_that_of_a_slow_solver(images):
    torch.manual_seed(0)
    layer = nn.Linear(7, 3)
    inputs, labels = torch.randn(images, 2, 7), torch.from_numpy(RNG.integers(0, 3, images))
    weight, bias = _ridge(_problem(layer, inputs), labels.numpy(), 0.7)

    rows = inputs.flatten(0, 1).double().numpy()
    scale = np.sqrt(np.square(rows).sum(1).mean())
    wanted = labels.repeat_interleave(2).numpy()
    before, offset = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()

    def loss(change):
        moved = change.reshape(3, 8)
        logits = rows @ before.T + offset + rows / scale @ moved[:, :7].T + moved[:, 7]
        error = -log_softmax(logits, 1)[np.arange(2 * images), wanted].sum() / 2
        return 0.7 * error + np.square(moved[:, :7]).sum() / 2 + 0.05 * np.square(moved[:, 7]).sum()

    moved = minimize(loss, np.zeros(24), tol=1e-10).x.reshape(3, 8)
    assert weight.numpy() == pytest.approx(before + moved[:, :7] / scale, abs=1e-4)
    assert bias.numpy() == pytest.approx(offset + moved[:, 7], abs=1e-4)


def test_each_fold_has_every_class():
    labels = np.repeat([0, 1, 4], [5, 7, 12])
    folds = _folds(labels, 5)
    assert all(np.bincount(folds[labels == label], minlength=5).min() >= 1 for label in (0, 1, 4))
    assert np.array_equal(folds, _folds(labels, 5))
    assert _folds(np.repeat([0, 1], [3, 9]), 5).max() == 2


@pytest.mark.parametrize("groups", [(), ("a", "b"), ("a", "b", "a")], ids=["one of each", "a slide each", "two slides"])
def test_there_is_no_empty_fold(groups):
    labels = np.array([0, 1, 1][: len(groups) or 3])
    folds = _folds(labels, 5, groups)
    assert set(folds) == set(range(folds.max() + 1)) and folds.max() >= 1


def test_a_group_is_in_one_fold():
    labels = np.repeat([0, 1], [12, 9])
    groups = [f"a{number % 4}" for number in range(12)] + ["a0", "a1", *[f"b{number % 3}" for number in range(7)]]
    folds = _folds(labels, 5, groups)
    assert all(len(set(folds[np.array(groups) == group])) == 1 for group in groups)
    assert set(folds[labels == 0]) == {0, 1, 2, 3} >= set(folds[labels == 1]) >= {0, 1, 2}


@pytest.fixture
def model(with_detector):
    config = small_config()
    torch.manual_seed(1)
    return with_detector(ClassifierModel(config, small_network(config, []), []))


def pictures(model, labels: np.ndarray) -> np.ndarray:
    """Red for class 0, blue for class 1, with noise."""
    side = model.config.decoded_size
    made = RNG.integers(60, 120, (len(labels), side, side, 3))
    made[labels == 0, ..., 0] += 120
    made[labels == 1, ..., 2] += 120
    return made.astype(np.uint8)


def cells_of(labels: np.ndarray) -> CellImages:
    return CellImages(np.arange(len(labels)), labels, [])


def test_labels_teach_what_the_classifier_does_not_know(model):
    labels = np.repeat([0, 1], 20)
    before = model.predict_pixels(pictures(model, labels)).probabilities
    pixels = pictures(model, labels)
    moved, learnt = learn_from_labels(model, pixels, cells_of(labels))
    after = moved.predict_pixels(pictures(model, labels)).probabilities
    assert (after.argmax(1) == labels).mean() >= 0.8
    assert (learnt.held_out.argmax(1) == labels).mean() >= 0.75 and learnt.held_out.shape == (40, len(model.classes))
    unlabelled = [number for number in range(len(model.classes)) if number > 1]
    assert after[:, unlabelled].sum(1).mean() < before[:, unlabelled].sum(1).mean()
    again = model.predict_pixels(pictures(model, labels)).probabilities
    assert np.isfinite(again).all() and model.network is not moved.network


def test_the_moved_layers_are_those_of_the_moved_classifier(model):
    labels = np.repeat([0, 1, 2], 4)
    pixels = pictures(model, labels)
    moved, learnt = learn_from_labels(model, pixels, cells_of(labels))
    raw = last_layers_of(model, pixels, cells_of(labels)).probabilities(learnt.layers)
    calibrated = moved.apply_temperature(torch.from_numpy(raw)).numpy()
    assert moved.predict_pixels(pixels).probabilities == pytest.approx(calibrated, abs=1e-5)


def test_what_cannot_be_learnt_from_is_one_line(model):
    with pytest.raises(UserError, match="labels of one class only"):
        learn_from_labels(model, pictures(model, np.zeros(4, int)), cells_of(np.zeros(4, int)))
