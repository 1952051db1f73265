"""The temperature against an exhaustive search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from hemacell.evaluation.temperature import (
    PRIOR_SIGMA,
    TEMPERATURE_RANGE,
    apply_temperature,
    fit_temperature,
    log_probabilities,
)


def calibrated(n=2000, classes=5, seed=0):
    """Logits whose softmax is exactly the chance of each label."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return logits, np.array([rng.choice(classes, p=row) for row in p])


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_an_overconfidence_is_found_again(factor):
    logits, labels = calibrated()
    found = fit_temperature(logits * factor, labels)
    assert found == pytest.approx(factor * fit_temperature(logits, labels), rel=0.01)
    assert fit_temperature(logits * factor, labels, factor) == pytest.approx(
        factor * fit_temperature(logits, labels), rel=1e-3
    )
    assert fit_temperature(logits, labels) == pytest.approx(1.0, abs=0.1)


def test_the_most_probable_is_that_of_the_best_of_a_fine_grid():
    logits, labels = calibrated(200, seed=3)
    logits *= 2.5

    def nll(t):
        z = logits / t
        fit = (np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[np.arange(200), labels]).sum()
        return fit + np.log(t) ** 2 / (2 * PRIOR_SIGMA**2)

    grid = np.exp(np.linspace(*np.log(TEMPERATURE_RANGE), 2000))
    best = min(grid, key=nll)
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=5e-3)


def test_a_few_images_without_a_mistake_move_the_temperature_little():
    """Seven of them once brought it to the limit of 0.1, and with it probabilities of 1 for wrong predictions."""
    labels = np.arange(50) % 5
    logits = np.log(np.full((50, 5), 0.05) + 0.75 * np.eye(5)[labels])
    found = [fit_temperature(logits[:count], labels[:count]) for count in (7, 15, 50)]
    assert 0.5 < found[0] < 1 and found[0] > found[1] > found[2] > TEMPERATURE_RANGE[0]
    assert apply_temperature(np.exp(logits[:7]), found[0]).max() < 0.99


def test_huge_logits_do_not_overflow():
    assert np.isfinite(fit_temperature([[1e4, 0.0], [0.0, 1e4], [1e4, 0.0]], [0, 1, 1]))


@pytest.mark.parametrize(
    ("logits", "labels"),
    [([[1.0, np.nan]], [0]), ([[1.0, np.inf]], [0]), ([1.0, 2.0], [0, 1]), ([[1.0, 2.0]], [2]), ([[1.0, 2.0]], [0, 1])],
)
def test_what_are_no_logits_is_refused(logits, labels):
    with pytest.raises(ValueError):
        fit_temperature(logits, labels)


@pytest.mark.parametrize("temperature", [0, -1, np.nan])
def test_a_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match="above 0"):
        apply_temperature([[0.4, 0.6]], temperature)


PROBABILITIES = st.lists(
    st.lists(st.floats(1e-5, 1), min_size=3, max_size=3).map(lambda row: np.array(row) / sum(row)),
    min_size=1,
    max_size=5,
).map(np.array)


@given(PROBABILITIES, st.floats(0.2, 8))
def test_tempered_is_the_softmax_of_divided_logits(probabilities, temperature):
    found = apply_temperature(probabilities, temperature)
    assert found.dtype == np.float32
    assert found == pytest.approx(softmax(np.log(np.clip(probabilities, 1e-7, None)) / temperature, axis=1), abs=1e-6)
    assert (found.argmax(1) == probabilities.argmax(1)).all() or np.isclose(*np.sort(probabilities, 1)[:, -2:].T).any()


@given(PROBABILITIES)
def test_a_temperature_of_one_changes_nothing(probabilities):
    assert apply_temperature(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-6)


def test_certainties_stay_finite():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert log_probabilities(certain).dtype == np.float64 and np.isfinite(log_probabilities(certain)).all()
    for temperature in (0.05, 1.0, 20.0):
        found = apply_temperature(certain, temperature)
        assert np.isfinite(found).all() and found.sum(1) == pytest.approx([1, 1], abs=1e-6)
