"""Learning rates over a training."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemacell.training.schedule import learning_rate

SCHEDULES = pytest.mark.parametrize(("schedule", "rise"), [("onecycle", 0.15), ("cosine", 0.02)])


@SCHEDULES
def test_it_rises_to_the_peak_and_falls_to_nothing(schedule, rise):
    rates = [learning_rate(step, 1000, 3e-3, schedule) for step in range(1000)]
    top = round(rise * 1000)
    assert max(rates) == rates[top] == pytest.approx(3e-3)
    assert all(before < after for before, after in pairwise(rates[:top]))
    assert all(before > after for before, after in pairwise(rates[top:]))
    assert 0 < rates[-1] < 1e-4 * rates[top]
    assert rates[0] == pytest.approx(3e-3 / top)


@SCHEDULES
def test_it_falls_along_half_a_cosine(schedule, rise):
    top = round(rise * 1000)
    middle = (1000 + top) // 2
    assert learning_rate(middle, 1000, 2.0, schedule) == pytest.approx(1.0, abs=0.01)
    for step in (top, middle, 999):
        expected = 1.0 + math.cos(math.pi * (step - top) / (1000 - top))
        assert learning_rate(step, 1000, 2.0, schedule) == pytest.approx(expected)


@given(
    steps=st.integers(1, 300),
    peak=st.floats(1e-5, 10),
    schedule=st.sampled_from(["onecycle", "cosine"]),
    place=st.floats(0, 0.999),
)
def test_any_number_of_steps(steps, peak, schedule, place):
    assert 0 < learning_rate(int(place * steps), steps, peak, schedule) <= peak
