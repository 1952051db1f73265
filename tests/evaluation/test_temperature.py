"""Temperature and review threshold against exhaustive searches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemacell.evaluation.temperature import (
    ALWAYS_REVIEW,
    TEMPERATURE_RANGE,
    apply_temperature,
    fit_temperature,
    review_threshold,
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


def slow_threshold(p, labels, error):
    """Every probability that was given, from the lowest up, and 0 before them."""
    confidence = p.max(1)
    for t in [0.0, *sorted(set(confidence.tolist()))]:
        accepted = confidence >= t
        if (p.argmax(1) != labels)[accepted].mean() <= error:
            return t
    return ALWAYS_REVIEW


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(51, 100), st.booleans()), min_size=1, max_size=30),
    error=st.sampled_from([0.0, 0.01, 0.05, 0.2, 0.5]),
)
def test_threshold_equals_the_search(rows, error):
    confidence = np.array([percent for percent, _ in rows]) / 100
    p = np.stack([confidence, 1 - confidence], 1).astype(np.float32)
    labels = np.array([0 if right else 1 for _, right in rows])
    found = review_threshold(p, labels, error)
    assert found == slow_threshold(p, labels, error)
    accepted = p.max(1) >= found
    assert not accepted.any() or (labels[accepted] != 0).mean() <= error


def test_all_are_accepted_where_few_are_wrong_and_none_where_the_surest_are():
    p = np.array([[0.99, 0.01], [0.6, 0.4]], dtype=np.float32)
    assert review_threshold(p, [0, 0]) == 0.0
    assert review_threshold(p, [1, 0]) == ALWAYS_REVIEW
    assert review_threshold(p, [0, 1]) == pytest.approx(0.99)
    assert not (p.max(1) >= ALWAYS_REVIEW).any()


@pytest.mark.parametrize("error", [-0.01, 1.0, np.nan])
def test_an_error_outside_its_range_is_refused(error):
    with pytest.raises(ValueError, match="error must be"):
        review_threshold([[0.9, 0.1]], [0], error)
