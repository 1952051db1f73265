"""The order of the batches."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemacell.training.batches import BatchOrder


@settings(max_examples=50)
@given(count=st.integers(1, 30), batch=st.integers(1, 40), seed=st.integers(0, 5))
def test_every_item_comes_once_a_round(count, batch, seed):
    order = BatchOrder(count, batch, seed)
    steps = 3 * count // batch + 1
    stream = np.concatenate([order(step).numpy() for step in range(steps)])
    assert stream.dtype == np.int64 and len(stream) == steps * batch
    for start in range(0, len(stream) - count + 1, count):
        assert sorted(stream[start : start + count].tolist()) == list(range(count))


def test_rounds_and_seeds_differ():
    orders = [BatchOrder(50, 50, seed) for seed in (0, 1)]
    assert len({tuple(order(step).tolist()) for order in orders for step in (0, 1)}) == 4


@pytest.mark.parametrize("weights", [None, np.linspace(0.01, 1, 13)])
def test_a_batch_is_a_function_of_the_step_alone(weights):
    straight = BatchOrder(13, 5, 3, weights)
    expected = [straight(step).tolist() for step in range(12)]
    for steps in ([11, 0, 7, 7, 2], [4], [9, 10, 11]):
        order = BatchOrder(13, 5, 3, weights)
        assert [order(step).tolist() for step in steps] == [expected[step] for step in steps]


def test_weights_are_proportions():
    weights = np.array([1.0, 2.0, 0.0, 5.0])
    order = BatchOrder(4, 100, 0, weights)
    counts = Counter(np.concatenate([order(step).numpy() for step in range(80)]).tolist())
    shares = [counts[item] / 8000 for item in range(4)]
    assert shares == pytest.approx(weights / 8, abs=0.02) and counts[2] == 0


def test_nothing_to_make_batches_of():
    with pytest.raises(ValueError, match="no items"):
        BatchOrder(0, 4, 0)
