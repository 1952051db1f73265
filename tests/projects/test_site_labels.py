"""What a few labels of another laboratory would bring, as a run logs it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.model import ClassifierModel
from hemacell.jobs.site_labels import evaluate_with_labels, scores_with_labels
from tests.small_classifiers import small_config, small_network


@pytest.fixture
def model(with_detector):
    config = small_config()
    torch.manual_seed(1)
    return with_detector(ClassifierModel(config, small_network(config, []), []))


@pytest.fixture
def laboratory(model):
    """Red cells of class 0, blue ones of class 1, two green ones of class 2: pixels and cells."""
    labels = np.repeat([0, 1, 2], [20, 20, 2])
    side = model.config.decoded_size
    pixels = np.random.default_rng(0).integers(60, 120, (len(labels), side, side, 3))
    for label, channel in ((0, 0), (1, 2), (2, 1)):
        pixels[labels == label, ..., channel] += 120
    return pixels.astype(np.uint8), CellImages(np.arange(len(labels)), labels, [])


def test_more_labels_bring_more_and_rare_classes_are_left_out(model, laboratory):
    pixels, cells = laboratory
    found = scores_with_labels(model, pixels, cells, (), (2, 10), 5)
    assert set(found[10]) == {"macro_f1", "accuracy", *(f"f1/{name}" for name in model.classes[:2])}
    assert [len(values) for values in found[2].values()] == [5] * 4
    assert np.mean(found[10]["macro_f1"]) >= np.mean(found[2]["macro_f1"])
    assert np.mean(found[10]["macro_f1"]) > 0.6  # the network is untrained
    assert found[10]["macro_f1"] == pytest.approx(
        np.mean([found[10][f"f1/{name}"] for name in model.classes[:2]], axis=0).tolist()
    )


def test_means_and_deviations_are_logged_and_nothing_where_it_cannot_be_learnt(model, laboratory):
    pixels, cells = laboratory
    logged = {}
    run = SimpleNamespace(metrics=lambda values, step: logged.update(values))
    table = pd.DataFrame({"group": list(map(str, cells.labels)), "sha256": list(map(str, cells.labels)), "mask": ""})
    images = SimpleNamespace(decoded=SimpleNamespace(manifest=SimpleNamespace(table=table), array=pixels))
    evaluate_with_labels(run, model, images, "near", cells, (4,))
    (scores,) = scores_with_labels(model, pixels, cells, (), (4,), 5).values()
    assert logged["external_labels/near/4/macro_f1"] == pytest.approx(np.mean(scores["macro_f1"]))
    assert logged["external_labels/near/4/accuracy_sd"] == pytest.approx(np.std(scores["accuracy"], ddof=1))
    assert scores_with_labels(model, pixels, cells.select(np.arange(20)), (), (4,), 5) == {}


def test_too_few_patients_are_one_line(model, laboratory, caplog):
    pixels, cells = laboratory
    assert scores_with_labels(model, pixels, cells, ["one", "other"] * 21, (4,), 5).keys() == {4}
    assert scores_with_labels(model, pixels, cells, [*["one"] * 20, *["other"] * 22], (4, 5), 5) == {}
    assert caplog.text.count("too few patients or slides to learn from") == 2
