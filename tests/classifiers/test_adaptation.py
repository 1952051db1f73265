"""A classifier in another laboratory: its own statistics undo a shift of the embeddings, the fewer images the less."""

import numpy as np
import pytest

from hemacell.classifiers.site_statistics import SiteStatistics, balancing_weights, statistics_of

RNG = np.random.default_rng(0)


def test_a_shift_and_a_scale_are_undone():
    known = statistics_of(RNG.normal(2, 3, (500, 1, 6)).astype(np.float32))
    other = RNG.normal(-5, 0.5, (800, 2, 6)).astype(np.float32)
    brought = statistics_of(other).bring(other, known)
    assert brought.dtype == np.float32 and brought.shape == other.shape
    assert brought.reshape(-1, 6).mean(0) == pytest.approx(known.mean, abs=1e-3)
    assert brought.reshape(-1, 6).std(0) == pytest.approx(known.std, rel=1e-3)


def test_the_order_of_cells_within_a_laboratory_stays():
    other = RNG.normal(0, 1, (50, 1, 3)).astype(np.float32)
    known = SiteStatistics(np.full(3, 7, np.float32), np.full(3, 0.1, np.float32), 10)
    brought = statistics_of(other).bring(other, known)
    assert np.array_equal(other[:, 0].argsort(0), brought[:, 0].argsort(0))


@pytest.mark.parametrize("images", [1, 8, 1000])
def test_few_images_stay_near_the_training_laboratory(images):
    known = SiteStatistics(np.zeros(1, np.float32), np.ones(1, np.float32), 100)
    own = SiteStatistics(np.full(1, 10, np.float32), np.full(1, 3, np.float32), images).shrunk(known)
    weight = images / (images + 8)
    assert own.mean == pytest.approx(10 * images / (images + 1)) and own.std**2 == pytest.approx(
        9 * weight + 1 - weight
    )


def test_constant_features_stay_finite():
    constant = np.zeros((5, 1, 2), np.float32)
    assert np.isfinite(statistics_of(constant).bring(constant, statistics_of(constant))).all()


def test_weights_make_classes_count_alike():
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    weights = balancing_weights(np.eye(3)[labels])
    sums = [weights[labels == label].sum() for label in range(3)]
    assert sums == pytest.approx([100 / 3] * 3)
    embeddings = labels[:, None, None].astype(np.float32)
    found = statistics_of(embeddings, weights)
    assert found.mean == pytest.approx(1) and found.std == pytest.approx(np.sqrt(2 / 3)) and found.images < 100
    one = balancing_weights(np.eye(3)[np.zeros(5, int)])  # the others are not there
    assert np.allclose(one, one[0])


def test_statistics_are_those_of_numpy():
    embeddings = RNG.normal(3, 2, (40, 2, 5)).astype(np.float32)
    found = statistics_of(embeddings)
    assert found.mean == pytest.approx(embeddings.reshape(-1, 5).mean(0), rel=1e-5)
    assert found.std == pytest.approx(embeddings.reshape(-1, 5).std(0), rel=1e-5) and found.images == 40
