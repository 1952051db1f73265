"""Calibration on val, which is divided."""

import numpy as np
import pytest
import torch

from hemacell.classifiers.calibration import calibrated, calibration_split
from hemacell.classifiers.fusion import FusedClassifier
from hemacell.classifiers.model import ClassifierConfig
from hemacell.classifiers.ood import statistics
from hemacell.classifiers.probabilities import apply_temperature, log_probabilities, tta_probabilities
from hemacell.core.errors import UserError
from hemacell.data.augmentation import AugmentationConfig, identity_augmentation
from hemacell.evaluation.selective import accepted, choose_confidence_threshold
from hemacell.evaluation.temperature import fit_temperature
from hemacell.training.tasks.cells import CellImages, CellTask

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (80, 16, 16, 3), dtype=np.uint8)
CONFIG = ClassifierConfig(
    classes=("a", "b", "c"),
    decoded_size=16,
    size=16,
    crop=0.8,
    views=3,
    temperature=1.0,
    confidence_threshold=0.0,
    encoders=(),
)


@pytest.fixture(scope="module")
def made():
    val = CellImages(np.arange(60), RNG.integers(0, 3, 60), [])
    test = CellImages(np.arange(60, 80), RNG.integers(0, 3, 20), [])
    task = CellTask(
        PIXELS,
        val,
        val,
        identity_augmentation(60),
        size=16,
        crop=0.8,
        batch_size=4,
        seed=0,
        jitter=AugmentationConfig(),
        precision="float32",
    )
    torch.manual_seed(0)
    network = FusedClassifier(3, {}, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1)).eval()
    network.cell_head.weight.data *= 20  # sure of itself without reason
    raw = {
        name: tta_probabilities(network, PIXELS, cells.rows, [], size=16, crop=0.8, views=3, precision="float32")
        for name, cells in (("val", val), ("test", test))
    }
    return calibrated(task, network, CONFIG, val, calibration_split(val.labels), 0.5, 0.1), val, test, raw, network


def test_one_half_fits_the_temperature_and_the_other_sets_the_threshold(made):
    found, val, _, raw, _ = made
    first, second = calibration_split(val.labels)
    temperature = fit_temperature(log_probabilities(raw["val"][first]), val.labels[first])
    assert found.config.temperature == temperature > 1.5
    held_out = apply_temperature(raw["val"][second], temperature)
    assert found.config.confidence_threshold == choose_confidence_threshold(held_out, val.labels[second], 0.5)
    assert found.promised == accepted(val.labels[second], held_out, found.config.confidence_threshold)
    kept = {"temperature", "confidence_threshold"}
    assert found.config.model_dump(exclude=kept) == CONFIG.model_dump(exclude=kept)
    assert CONFIG.temperature == 1.0


def test_the_limit_of_the_distance_is_that_of_the_other_half(made):
    found, val, test, _, network = made
    _, second = calibration_split(val.labels)
    assert (found.val.distance[second] > 1).sum() == 3  # a tenth of thirty
    seen = statistics(network.cell, PIXELS, test.rows, size=16, crop=0.8)
    assert found.answers(test).distance == pytest.approx(found.reference.distance(seen), rel=1e-5)


def test_answers_are_tempered_and_name_the_same_class(made):
    found, _, test, raw, _ = made
    answers = found.answers(test).probabilities
    assert np.array_equal(answers, apply_temperature(raw["test"], found.config.temperature))
    assert (answers.argmax(1) == raw["test"].argmax(1)).all()
    assert answers.max() < raw["test"].max()


def test_val_is_better_described_than_before(made):
    found, val, _, raw, _ = made

    def nll(probabilities):
        return -np.log(probabilities[np.arange(60), val.labels]).mean()

    assert np.array_equal(found.val.probabilities, found.answers(val).probabilities)
    assert nll(found.val.probabilities) < nll(raw["val"])


@pytest.mark.parametrize("count", [2, 3, 10, 101])
def test_halves_have_the_same_shares_and_are_the_same_every_time(count):
    labels = np.random.default_rng(count).integers(0, 4, count)
    first, second = calibration_split(labels)
    assert sorted([*first, *second]) == list(range(count)) and len(first) - len(second) == count % 2
    shares = [np.bincount(labels[half], minlength=4) for half in (first, second)]
    assert np.abs(shares[0] - shares[1]).max() <= 1
    assert all(
        np.array_equal(one, other) for one, other in zip((first, second), calibration_split(labels), strict=True)
    )


def test_one_image_cannot_be_divided():
    with pytest.raises(UserError, match="two images or more"):
        calibration_split(np.zeros(1, int))
