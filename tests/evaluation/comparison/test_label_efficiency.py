"""Labels needed on curves whose result is known."""

import numpy as np
import pytest

from hemacell.evaluation.comparison.label_efficiency import label_efficiency_ratio, labels_needed
from hemacell.evaluation.comparison.records import LabelEfficiency
from hemacell.evaluation.comparison.words import label_efficiency_in_words

LABELS = np.array([60.0, 600.0, 6000.0])


def line(labels):
    """A score that rises by 0.1 for each factor of ten."""
    return 0.6 + 0.1 * np.log10(np.asarray(labels) / 60)


@pytest.mark.parametrize("labels", [60, 61, 150, 600, 4321, 6000])
def test_a_line_in_the_logarithm_is_read_back_exactly(labels):
    assert labels_needed(LABELS, line(LABELS), line(labels)) == pytest.approx(labels)


def test_nothing_is_said_beyond_the_curve():
    assert labels_needed(LABELS, line(LABELS), 0.801) == np.inf
    assert labels_needed(LABELS, line(LABELS), 0.599) == -np.inf
    assert labels_needed([60], [0.6], [0.5, 0.6, 0.7]).tolist() == [-np.inf, pytest.approx(60), np.inf]


def test_the_first_crossing_counts_where_a_curve_falls():
    labels, curve = [10, 100, 1000, 10000], [0.5, 0.7, 0.6, 0.8]
    assert labels_needed(labels, curve, 0.65) == pytest.approx(10 * 10**0.75)
    assert labels_needed(labels, curve, 0.75) == pytest.approx(1000 * 10**0.75)
    assert labels_needed(labels, [0.5, 0.5, 0.5, 0.6], 0.5) == pytest.approx(10)
    assert labels_needed(labels, [0.5, 0.4, 0.3, 0.6], 0.55) == pytest.approx(1000 * 10 ** (0.25 / 0.3))
    assert labels_needed(labels, [0.5, 0.4, 0.4, 0.4], 0.45) == -np.inf


def test_many_curves_at_once_are_read_as_one_by_one():
    rng = np.random.default_rng(0)
    curves, targets = rng.random((200, 3)), rng.random(200)
    targets[0] = curves[1, 2] = np.nan
    together = labels_needed(LABELS, curves, targets)
    one_by_one = [labels_needed(LABELS, curve, target) for curve, target in zip(curves, targets, strict=True)]
    np.testing.assert_array_equal(together, np.array(one_by_one))
    assert np.isnan(together[:2]).all()
    assert {-np.inf, np.inf} <= set(together[2:])


def found(target, spread=0.0, labels=LABELS, arm_labels=60.0, resamples=2001):
    """LabelEfficiency of a score whose resamples lie evenly within `spread` of it."""
    targets = target + np.linspace(-spread, spread, resamples)
    curves = np.tile(line(labels), (resamples, 1))
    return label_efficiency_ratio("prcc", "none", "0.01", arm_labels, target, labels, line(labels), targets, curves)


def test_a_worth_and_its_interval_are_those_of_the_line():
    result = found(0.7, spread=0.04)
    assert (result.ratio, result.relation) == (pytest.approx(10), "=")
    assert (result.low_relation, result.high_relation) == ("=", "=")
    assert result.low == pytest.approx(10 ** (1 - 0.38), rel=1e-3)
    assert result.high == pytest.approx(10 ** (1 + 0.38), rel=1e-3)
    assert label_efficiency_in_words(result) == "10 x the labels [4.2, 24]"


def test_limits_beyond_the_curve_say_so():
    result = found(0.79, spread=0.05)
    assert (result.high, result.high_relation) == (100, ">")
    assert label_efficiency_in_words(result) == "79 x the labels [27, more than 100]"
    result = found(0.61, spread=0.05, arm_labels=600)
    assert (result.low, result.low_relation) == (pytest.approx(0.1), "<")
    assert label_efficiency_in_words(result) == "0.13 x the labels [less than 0.1, 0.38]"
    assert label_efficiency_in_words(found(0.7, spread=0.5)) == "10 x the labels [less than 1, more than 100]"


def test_scores_beyond_the_curve_are_worth_more_or_less_than_its_end():
    result = found(0.9, spread=0.01, arm_labels=1500)
    assert (result.ratio, result.relation, result.low_relation, result.high_relation) == (4, ">", ">", ">")
    assert label_efficiency_in_words(result) == "more than 4 x the labels"
    assert (
        label_efficiency_in_words(found(0.82, spread=0.05, arm_labels=1500))
        == "more than 4 x the labels [2.1, more than 4]"
    )
    assert label_efficiency_in_words(found(0.5, arm_labels=600)) == "less than 0.1 x the labels"


def test_a_baseline_of_one_amount_gives_no_interval():
    result = found(0.7, spread=0.01, labels=np.array([60.0]))
    assert (result.ratio, result.relation, result.low, result.high) == (1, ">", None, None)
    assert label_efficiency_in_words(result) == "more than 1 x the labels"


def test_equal_limits_within_the_curve_are_shown():
    exact = LabelEfficiency("a", "b", "0.1", 2.1, "=", 2.1, "=", 2.1, "=")
    assert label_efficiency_in_words(exact) == "2.1 x the labels [2.1, 2.1]"
