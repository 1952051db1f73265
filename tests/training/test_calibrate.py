"""Calibration on val."""

import numpy as np
import pytest
import torch

from hemacell.classify.answer import log_probabilities, tempered, view_probabilities
from hemacell.classify.fusion import FusedClassifier
from hemacell.encoders.views import identity_views
from hemacell.evaluation.temperature import fit_temperature, review_threshold
from hemacell.inference.predictor import ClassifierConfig
from hemacell.training.calibrate import calibrated
from hemacell.training.cells import CellImages, CellTask

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
CONFIG = ClassifierConfig(
    classes=("a", "b", "c"), store_size=16, size=16, field=0.8, views=3, temperature=1.0, review_below=0.0, encoders=()
)


@pytest.fixture(scope="module")
def made():
    val = CellImages(np.arange(30), RNG.integers(0, 3, 30), [])
    test = CellImages(np.arange(30, 40), RNG.integers(0, 3, 10), [])
    task = CellTask(PIXELS, val, val, identity_views(30), size=16, field=0.8, batch_size=4, seed=0, precision="float32")
    torch.manual_seed(0)
    network = FusedClassifier(3, {}, widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1)).eval()
    network.cell_head.weight.data *= 20  # sure of itself without reason
    raw = {
        name: view_probabilities(network, PIXELS, cells.rows, [], size=16, field=0.8, views=3, precision="float32")
        for name, cells in (("val", val), ("test", test))
    }
    return calibrated(task, network, CONFIG, val, 0.5), val, test, raw


def test_temperature_and_threshold_are_those_of_val(made):
    (config, _, _), val, _, raw = made
    temperature = fit_temperature(log_probabilities(raw["val"]), val.labels)
    assert config.temperature == temperature > 1.5
    assert config.review_below == review_threshold(tempered(raw["val"], temperature), val.labels, 0.5)
    kept = {"temperature", "review_below"}
    assert config.model_dump(exclude=kept) == CONFIG.model_dump(exclude=kept)
    assert CONFIG.temperature == 1.0


def test_answers_are_tempered_and_name_the_same_class(made):
    (config, _, answers), _, test, raw = made
    found = answers(test)
    assert np.array_equal(found, tempered(raw["test"], config.temperature))
    assert (found.argmax(1) == raw["test"].argmax(1)).all()
    assert found.max() < raw["test"].max()


def test_val_is_better_described_than_before(made):
    (_, seen, answers), val, _, raw = made

    def nll(probabilities):
        return -np.log(probabilities[np.arange(30), val.labels]).mean()

    assert np.array_equal(seen, answers(val))
    assert nll(seen) < nll(raw["val"])
