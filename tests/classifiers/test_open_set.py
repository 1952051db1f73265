"""Cells of none of the classes: the score against a plain computation, and what it finds."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from hemacell.classifiers.calibration import calibrate
from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.folder import load_folder, save_folder
from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.ood import MahalanobisDetector
from hemacell.classifiers.open_set import WIDEST, OpenSetDetector, measured_kind
from hemacell.classifiers.standardise import Standardise
from hemacell.encoders.frozen import create_encoder
from tests.small_classifiers import small_autoencoder, small_config, small_network

RNG = np.random.default_rng(0)
CENTRES = 4 * RNG.normal(size=(5, 8))


def cells(label: int, count: int, classes: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Largest logit, distance of the picture and embedding of cells; the classifier takes the nearest of centres."""
    kind = CENTRES[label] + RNG.normal(size=(count, 8))
    logits = -cdist(kind, CENTRES[classes]).min(1)
    distance = np.exp(RNG.normal(-0.7, 0.2, count))
    return tuple(each.astype(np.float32) for each in (logits, distance, kind))


def of_all(labels: list[int], count: int, classes: list[int]) -> tuple[np.ndarray, ...]:
    return tuple(map(np.concatenate, zip(*(cells(each, count, classes) for each in labels), strict=True)))


def detector(classes: list[int], rate: float = 0.05, count: int = 60) -> OpenSetDetector:
    found = OpenSetDetector.fit(of_all(classes, count, classes)[2], np.repeat(classes, count))
    return found.with_false_positive_rate(*of_all(classes, count, classes), rate)


@pytest.mark.parametrize("left_out", range(5))
def test_a_class_that_is_left_out_is_found(left_out):
    classes = [each for each in range(5) if each != left_out]
    made = detector(classes)
    known, other = made.score(*of_all(classes, 250, classes)), made.score(*cells(left_out, 250, classes))
    assert roc_auc_score(np.repeat([0, 1], [1000, 250]), np.concatenate([known, other])) > 0.9
    assert (other > 1).mean() > 0.5 and (known > 1).mean() < 0.12


def test_the_score_is_the_sum_of_three_standardised_terms():
    classes = [0, 1, 2]
    fitted = of_all(classes, 50, classes)[2]
    labels = np.repeat(classes, 50)
    held_out, new = of_all(classes, 50, classes), of_all([0, 3], 20, classes)
    made = OpenSetDetector.fit(fitted, labels).with_false_positive_rate(*held_out, 0.1)

    def terms(top, distance, kind):
        known = MahalanobisDetector.fit(fitted, labels)  # which has tests of its own
        inverse = known.whitening.numpy() @ known.whitening.numpy().T
        standard = (kind - known.center.numpy()) / known.scale.numpy()
        nearest = cdist(standard, known.means.numpy(), "mahalanobis", VI=inverse).min(1)
        return np.stack([-top, np.log(np.minimum(distance, 1)), np.log(nearest)], 1)

    usual = terms(*held_out)
    sums = ((terms(*new) - usual.mean(0)) / usual.std(0)).sum(1)
    limit = np.sort(((usual - usual.mean(0)) / usual.std(0)).sum(1))[-15]  # 10 % of 151, and at the limit none is
    assert made.score(*new) == pytest.approx(np.exp(np.minimum(sums - limit, 20)), rel=1e-3)
    assert (made.score(*held_out) > 1).sum() in (14, 15)


def test_a_strange_picture_counts_no_more_than_one_at_the_limit():
    made = detector([0, 1])
    top, distance, kind = cells(0, 5, [0, 1])
    at = made.score(top, np.full_like(distance, 1.0), kind)
    assert made.score(top, np.full_like(distance, 50.0), kind) == pytest.approx(at)


@pytest.mark.parametrize(("count", "some"), [(6, False), (7, True)])
def test_too_few_cells_set_no_limit(count, some):
    """At 5 % it takes 19 cells; of none is anything said."""
    made = detector([0, 1, 2], 0.05, count)
    assert made.has_threshold is some
    assert bool(made.score(*cells(4, 50, [0, 1, 2])).any()) is some
    assert not detector([0, 1, 2], 0.0, 60).has_threshold


def test_another_laboratory_moves_the_limit_by_its_middle_and_not_by_its_tail():
    classes = [0, 1, 2]
    made = detector(classes, 0.02, 100)
    known, other = of_all(classes, 100, classes), cells(4, 40, classes)
    moved = [each - shift for each, shift in zip(known, (2.0, 0.0, 0.0), strict=True)]  # logits are lower there
    site = made.for_site(*moved)
    assert (made.score(*moved) > 1).mean() > 2 * (site.score(*moved) > 1).mean()
    mixed = tuple(np.concatenate(pair) for pair in zip(known, other, strict=True))
    assert (made.for_site(*mixed).score(*other) > 1).mean() > 0.6 * (made.score(*other) > 1).mean()
    assert made.for_site(*(each[:3] for each in known)).threshold >= made.threshold


def test_only_embeddings_of_few_numbers_are_measured():
    narrow, wide = Standardise(3), Standardise(WIDEST + 1)
    narrow.fit(torch.tensor([[0.0, 1, 2], [2, 3, 6]]))
    embeddings = [torch.arange(12.0).reshape(4, 3), torch.zeros(4, WIDEST + 1)]
    found = measured_kind([narrow, wide], embeddings, views=2)
    expected = (embeddings[0] - torch.tensor([1.0, 2, 4])) / torch.tensor([1.0, 1, 2])
    assert torch.allclose(found, expected.clamp(-5, 5).reshape(2, 2, 3).mean(0))
    assert not measured_kind([], [], 2).numel()


@pytest.mark.parametrize("encoders", [True, False])
def test_a_calibrated_classifier_keeps_it(tmp_path, encoders):
    """By stored embeddings, by pixels, and after a round trip through its folder."""
    torch.manual_seed(0)
    frozen = [create_encoder(small_autoencoder(), seed=0)] if encoders else []
    pixels = np.random.default_rng(1).integers(0, 256, (60, 24, 24, 3), dtype=np.uint8)
    config = small_config(encoders=("prcc",) * encoders)
    upright = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    plain = ClassifierModel(config, small_network(config, frozen, upright if encoders else None), frozen)
    val = CellImages(np.arange(60), np.arange(60) % 3, plain.embed_pixels(pixels))
    found = calibrate(plain, pixels, val, 0.5, 0.1, open_set_false_positive_rate=0.1)
    assert found.model.config.open_set_rate == 0.1 and found.val.is_unknown.sum() >= 2
    assert (found.model.open_set.kinds is not None) is encoders
    assert found.model.predict_pixels(pixels).none_of_these == pytest.approx(found.val.none_of_these, rel=1e-3)
    again = load_folder(save_folder(tmp_path / "cells", found.model, []))
    assert again.predict_pixels(pixels).none_of_these == pytest.approx(found.val.none_of_these, rel=1e-3)
    few = calibrate(plain, pixels, val.select(np.arange(12)), 0.5, 0.1, open_set_false_positive_rate=0.1)
    assert few.model.config.open_set_rate == 0 and not few.val.is_unknown.any()
    assert few.model.config.open_set_in_words().startswith("no cell is called none of the classes")
