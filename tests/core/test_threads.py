"""Many short tasks in threads."""

import threading

import pytest

from hemacell.core.threads import map_in_threads


def test_results_come_in_order_whatever_the_number_of_items():
    for count in (0, 1, 64, 65, 1000):
        assert list(map_in_threads(str, range(count))) == [str(number) for number in range(count)]


def test_several_threads_work_and_an_error_reaches_the_caller():
    both = threading.Barrier(2, timeout=10)  # breaks where one thread does all
    assert list(map_in_threads(lambda number: number if number % 64 else both.wait() >= 0, range(128), threads=2))
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda number: 1 / number, range(200)))
