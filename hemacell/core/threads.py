"""Processor threads: part of what decides the last digits of a result."""

import os


def available_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(threads: int) -> None:
    """Let torch compute with this number of threads."""
    import torch

    torch.set_num_threads(threads)
