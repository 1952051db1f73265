"""The temperature against an exhaustive search."""

import numpy as np
import pytest

from hemacell.evaluation.temperature import (
    TEMPERATURE_RANGE,
    apply_temperature,
    fit_temperature,
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
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor * fit_temperature(logits, labels), rel=1e-3)
    assert fit_temperature(logits, labels) == pytest.approx(1.0, abs=0.1)


def test_the_likelihood_is_that_of_the_best_of_a_fine_grid():
    logits, labels = calibrated(200, seed=3)
    logits *= 2.5

    def nll(t):
        z = logits / t
        return (np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[np.arange(200), labels]).mean()

    grid = np.exp(np.linspace(*np.log(TEMPERATURE_RANGE), 2000))
    best = min(grid, key=nll)
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=5e-3)


def test_a_temperature_changes_no_answer():
    logits, labels = calibrated(300)
    p = apply_temperature(logits * 4, fit_temperature(logits * 4, labels))
    assert (p.argmax(1) == logits.argmax(1)).all()
    assert p.dtype == np.float32
    assert p.sum(1) == pytest.approx(np.ones(300), abs=1e-6)


def test_a_classifier_without_mistakes_stays_within_the_range():
    labels = np.arange(50) % 5
    found = fit_temperature(np.eye(5)[labels], labels)
    assert found == pytest.approx(TEMPERATURE_RANGE[0], rel=1e-3)


def test_huge_logits_do_not_overflow():
    assert apply_temperature([[1e4, 0.0]], 0.5).tolist() == [[1.0, 0.0]]
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
        apply_temperature([[1.0, 2.0]], temperature)
