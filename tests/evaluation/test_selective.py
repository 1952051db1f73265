"""Thresholds and the risk-coverage curve against exhaustive searches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from hemacell.evaluation.selective import (
    REVIEW_ALL,
    SelectivePrediction,
    accepted,
    choose_confidence_threshold,
    images_needed,
    risk_coverage,
)


def slow_threshold(p, labels, target):
    """Every probability that was given, from the lowest up, and 0 before them."""
    confidence = p.max(1)
    for t in [0.0, *sorted(set(confidence.tolist()))]:
        accepted = confidence >= t
        wrong, count = int((p.argmax(1) != labels)[accepted].sum()), int(accepted.sum())
        # the one-sided limit at 95 % is the upper end of the two-sided interval at 90 %
        if wrong < count and binomtest(wrong, count).proportion_ci(0.9, "exact").high <= target:
            return t
    return REVIEW_ALL


@settings(max_examples=100)
@given(
    rows=st.lists(st.tuples(st.integers(51, 100), st.booleans()), min_size=1, max_size=30),
    many=st.integers(0, 60),
    target=st.sampled_from([0.01, 0.05, 0.2, 0.5]),
)
def test_threshold_equals_the_search(rows, many, target):
    rows += [(90, True)] * many
    confidence = np.array([percent for percent, _ in rows]) / 100
    p = np.stack([confidence, 1 - confidence], 1).astype(np.float32)
    labels = np.array([0 if right else 1 for _, right in rows])
    assert choose_confidence_threshold(p, labels, target) == slow_threshold(p, labels, target)


def test_a_risk_of_one_per_cent_takes_299_images_without_a_mistake():
    assert [images_needed(target) for target in (0.01, 0.05, 0.1)] == [299, 59, 29]
    for count, expected in ((7, REVIEW_ALL), (298, REVIEW_ALL), (299, 0.0)):
        p = np.tile([[0.99, 0.01]], (count, 1))
        assert choose_confidence_threshold(p, np.zeros(count, int), 0.01) == expected


def test_mistakes_of_low_confidence_are_left_out():
    p = np.array([[0.99, 0.01]] * 299 + [[0.6, 0.4]])
    labels = np.array([0] * 299 + [1])
    assert choose_confidence_threshold(p, labels, 0.01) == 0.99
    labels[0] = 1
    assert choose_confidence_threshold(p, labels, 0.01) == REVIEW_ALL
    assert not (p.max(1) >= REVIEW_ALL).any()


@pytest.mark.parametrize("target", [0.0, -0.01, 1.0, np.nan])
def test_a_target_outside_its_range_is_refused(target):
    with pytest.raises(ValueError, match="target_risk must be"):
        choose_confidence_threshold([[0.9, 0.1]], [0], target)


@settings(max_examples=100)
@given(rows=st.lists(st.tuples(st.integers(51, 99), st.booleans()), min_size=1, max_size=30))
def test_the_curve_is_that_of_every_threshold(rows):
    confidence = np.array([percent for percent, _ in rows]) / 100
    p = np.stack([confidence, 1 - confidence], 1).astype(np.float32)
    labels = np.array([0 if right else 1 for _, right in rows])
    curve = risk_coverage(labels, p)
    slow = [(p.max(1) >= t) for t in sorted(set(p.max(1).tolist()), reverse=True)]
    assert curve.coverage == pytest.approx([taken.mean() for taken in slow])
    assert curve.risk == pytest.approx([(labels[taken] != 0).mean() for taken in slow])
    assert curve.coverage[-1] == 1 and curve.risk[-1] == pytest.approx((labels != 0).mean())
    for t, taken in zip(sorted(set(p.max(1).tolist()), reverse=True), slow, strict=True):
        assert accepted(labels, p, t) == SelectivePrediction(len(labels), taken.sum(), (labels[taken] != 0).sum())


def test_the_area_of_a_perfect_order_is_that_of_the_last_mistakes():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    assert risk_coverage([0, 0, 0, 0], p).area == 0
    assert risk_coverage([0, 0, 0, 1], p).area == pytest.approx(0.25 * 0.25)
    assert risk_coverage([1, 0, 0, 0], p).area == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_what_is_doubtful_otherwise_is_not_accepted():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    assert accepted([0, 1, 0], p, 0.75) == SelectivePrediction(3, 2, 1)
    assert accepted([0, 1, 0], p, 0.75, [False, True, False]) == SelectivePrediction(3, 1, 0)


@pytest.mark.parametrize(("taken", "wrong"), [(500, 0), (500, 5), (7, 7), (0, 0)])
def test_the_limits_are_the_exact_ones(taken, wrong):
    low, high = SelectivePrediction(600, taken, wrong).error_limits
    if taken:
        exact = binomtest(wrong, taken).proportion_ci(0.95, "exact")
        assert (low, high) == pytest.approx((exact.low, exact.high))
    else:
        assert (low, high) == (0, 1)
    found = SelectivePrediction(600, taken, wrong)
    assert found.metrics()["accepted_error_high"] == high
    words = found.in_words()
    assert f"{taken} accepted of 600" in words if taken else words == "no prediction was accepted (0 of 600 cells)"
