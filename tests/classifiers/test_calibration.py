"""Calibration on val, which is divided."""

import numpy as np
import pytest
import torch

from hemacell.classifiers.calibration import calibrate, calibration_split
from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.fusion_network import FusedClassifier
from hemacell.classifiers.model import ClassifierModel
from hemacell.core.errors import UserError
from hemacell.evaluation.selective import REVIEW_ALL, accepted, choose_confidence_threshold
from hemacell.evaluation.temperature import apply_temperature, fit_temperature, log_probabilities
from tests.small_classifiers import small_config

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (80, 16, 16, 3), dtype=np.uint8)
CONFIG = small_config(decoded_size=16, views=3)
VAL = CellImages(np.arange(60), RNG.integers(0, 3, 60), [])
TEST = CellImages(np.arange(60, 80), RNG.integers(0, 3, 20), [])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = FusedClassifier(3, {}, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1)).eval()
    network.cell_head.weight.data *= 20
    network.cell_head.bias.data += torch.tensor([4.0, 0.0, 0.0])  # sure of itself without reason
    return ClassifierModel(CONFIG, network, [])


@pytest.fixture(scope="module")
def found(model):
    return calibrate(model, PIXELS, VAL, 0.9, 0.1)


def test_one_half_fits_the_temperature_and_the_other_sets_the_threshold(model, found):
    first, second = calibration_split(VAL.labels)
    raw = model.from_embeddings(PIXELS, VAL.rows, [])
    temperature = fit_temperature(log_probabilities(raw[first]), VAL.labels[first])
    config = found.model.config
    assert config.temperature == temperature > 1.5
    held_out = found.val.probabilities[second]
    assert held_out == pytest.approx(apply_temperature(raw[second], temperature), abs=1e-6)
    assert config.confidence_threshold == choose_confidence_threshold(held_out, VAL.labels[second], 0.9) <= 1
    assert found.selected == accepted(VAL.labels[second], held_out, config.confidence_threshold)
    assert (config.target_risk, config.calibration_images, config.shows_target_risk) == (0.9, 30, True)
    kept = {"temperature", "confidence_threshold", "target_risk", "calibration_images"}
    assert config.model_dump(exclude=kept) == CONFIG.model_dump(exclude=kept)
    assert model.config == CONFIG and model.detector is None


def test_what_val_cannot_show_is_not_promised(model):
    """Thirty cells cannot show a risk of 1 %, whatever the predictions are."""
    config = calibrate(model, PIXELS, VAL, 0.01, 0.1).model.config
    assert config.confidence_threshold == REVIEW_ALL and not config.shows_target_risk
    assert config.calibration_in_words() == (
        "every prediction needs review: 30 val cells cannot show that at most 1 % are wrong (it takes 299 without a "
        "mistake); label more, or train with a larger target_risk="
    )


def test_the_threshold_of_the_distance_is_that_of_the_other_half(found):
    _, second = calibration_split(VAL.labels)
    assert found.val.is_ood[second].sum() == 3  # a tenth of thirty
    expected = found.model.distances(PIXELS[TEST.rows])
    assert found.model.predict_embedded(PIXELS, TEST).distance == pytest.approx(expected, rel=1e-5)


def test_predictions_name_the_same_class_with_less_confidence(model, found):
    raw = model.from_embeddings(PIXELS, TEST.rows, [])
    calibrated = found.model.predict_embedded(PIXELS, TEST).probabilities
    assert (calibrated.argmax(1) == raw.argmax(1)).all()
    assert calibrated.max() < raw.max()


def test_val_is_better_described_than_before(model, found):
    def nll(probabilities):
        return -np.log(probabilities[np.arange(60), VAL.labels]).mean()

    again = found.model.predict_embedded(PIXELS, VAL)
    assert np.array_equal(found.val.probabilities, again.probabilities)
    assert np.array_equal(found.val.distance, again.distance)
    assert nll(found.val.probabilities) < nll(model.from_embeddings(PIXELS, VAL.rows, []))


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
