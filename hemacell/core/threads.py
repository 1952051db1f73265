"""Processor threads: those of torch, which decide the last digits of a result, and those that read many files."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

FEW_IMAGES = 4
READERS = 8
"""Threads that read small files: more than cores, as they wait for disks and networks."""
_AT_ONCE = 64  # items of one task: a task of its own for each would cost more than reading a file's first bytes

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(threads: int) -> None:
    """Let torch compute with this number of threads."""
    import torch

    torch.set_num_threads(threads)


@contextmanager
def threads_for(images: int, usual: int) -> Iterator[None]:
    """Compute a request to a served model with one thread if its images are few, else with the usual number.

    A model server answers from a pool of threads, each of which has helpers of its own in torch: more than there are
    cores, so that they sleep and must be woken for each small operation. That costs time (on two cores a request of one
    image took 69 ms with two threads and 54 ms with one, in the median of `benchmarks/serving.py`). Torch keeps the
    number for each thread that calls it, so requests do not set it for each other; a new thread may start with 1, and
    is set to the usual number.

    Args:
        images: of the request.
        usual: torch's number of threads when the model was loaded.
    """
    set_threads(1 if images <= FEW_IMAGES else usual)
    try:
        yield
    finally:
        set_threads(usual)


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = READERS
) -> Iterator[Result]:
    """What `map(function, items)` gives, in that order, computed by threads; for short tasks such as reading a file.

    Args:
        function: called in the threads; what it raises is raised here, in its turn.
        items: all of them are taken at once.
        threads: how many.
    """
    listed = list(items)
    tasks = [listed[start : start + _AT_ONCE] for start in range(0, len(listed), _AT_ONCE)]
    with ThreadPoolExecutor(threads) as pool:
        yield from chain.from_iterable(pool.map(lambda task: [function(item) for item in task], tasks))
