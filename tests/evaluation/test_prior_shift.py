"""Shares of classes without labels: those that the images were drawn with, whatever the classifier was trained on."""

import numpy as np
import pytest

from hemacell.evaluation.prior_shift import class_shares

RNG = np.random.default_rng(4)


def posteriors(shares, trained, count=4000) -> np.ndarray:
    """What a calibrated classifier, trained with some shares, says of images that have others."""
    labels = RNG.choice(len(shares), count, p=shares)
    seen = RNG.normal(np.eye(len(shares))[labels] * 1.5)
    likelihood = np.exp(-0.5 * np.square(seen[:, None] - 1.5 * np.eye(len(shares))).sum(2))
    found = likelihood * np.asarray(trained)
    return found / found.sum(1, keepdims=True)


@pytest.mark.parametrize("trained", [(1 / 3, 1 / 3, 1 / 3), (0.6, 0.3, 0.1)])
def test_the_shares_are_found_where_counting_the_predictions_is_off(trained):
    shares = (0.1, 0.2, 0.7)
    given = posteriors(shares, trained)
    found = class_shares(given, trained)
    assert found.sum() == pytest.approx(1) and found == pytest.approx(shares, abs=0.03)
    counted = np.bincount(given.argmax(1), minlength=3) / len(given)
    assert np.abs(found - shares).sum() < np.abs(counted - shares).sum()


def test_sure_predictions_are_counted():
    assert class_shares(np.eye(3)[[0, 0, 1, 2]]) == pytest.approx([0.5, 0.25, 0.25])
