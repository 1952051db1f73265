from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemacell.data.balance import augment_plan, sampler_weights

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
