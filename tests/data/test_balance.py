from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from hemacell.data.balance import augment_plan, balanced, class_weights, sampler_weights

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=80).map(np.array)


@given(LABELS)
def test_every_class_present_is_drawn_equally_often(labels):
    weights = sampler_weights(labels)
    sums = [weights[labels == label].sum() for label in set(labels.tolist())]
    assert np.allclose(sums, 1 / len(sums)) and np.isclose(weights.sum(), 1)


@given(LABELS)
def test_plan_fills_up_to_the_largest_class(labels):
    plan = augment_plan(labels)
    largest = max(Counter(labels.tolist()).values())
    assert set(Counter(labels[plan].tolist()).values()) == {largest}
    times = Counter(plan.tolist())
    assert set(times) == set(range(len(labels)))
    for label in set(labels.tolist()):
        of_class = [times[row] for row in np.flatnonzero(labels == label)]
        assert max(of_class) - min(of_class) <= 1


@pytest.mark.parametrize("labels", [np.array([], np.int64), np.array([0, -1])])
def test_images_without_labels(labels):
    for function in (sampler_weights, augment_plan):
        with pytest.raises(ValueError, match="label"):
            function(labels)


@pytest.mark.parametrize("how", ["none", "sampler", "augment"])
def test_the_setting_balance(how):
    labels = np.array([0, 0, 0, 1, 2, 2])
    positions, chances = balanced(labels, how)
    if how == "augment":
        assert Counter(labels[positions].tolist()) == {0: 3, 1: 3, 2: 3} and chances is None
    else:
        assert positions.tolist() == [0, 1, 2, 3, 4, 5]
        expected = None if how == "none" else sampler_weights(labels)
        assert chances is expected or np.array_equal(chances, expected)


@given(LABELS, st.integers(5, 8))
def test_class_weights_are_those_of_scikit_learn(labels, classes):
    weights = class_weights(labels, classes)
    present = np.unique(labels)
    assert weights.shape == (classes,)
    assert np.allclose(weights[present], compute_class_weight("balanced", classes=present, y=labels))
    assert not np.delete(weights, present).any()
    assert np.isclose(weights[labels].mean(), 1)
