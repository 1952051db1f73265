"""How many of torch's threads work on a request to a served model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

FEW = 4


@contextmanager
def threads_for(images: int, usual: int) -> Iterator[None]:
    """Compute so many images with one thread if they are few, else with the usual number, which is set again after.

    A model server answers from a pool of threads, each of which has helpers of its own in torch: more than there are
    cores, so that they sleep and must be woken for each small operation. That costs time (on two cores a request of one
    image took 69 ms with two threads and 54 ms with one, in the median of `benchmarks/serving.py`). Torch keeps the
    number for each thread that calls it, so requests do not set it for each other; a thread that is new may find 1, and
    is given the usual.

    Args:
        images: of the request.
        usual: torch's number of threads when the model was loaded.
    """
    torch.set_num_threads(1 if images <= FEW else usual)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
