"""Freed memory goes back to the system."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from hemacell.core.memory import hand_back


def resident() -> int:
    """MiB that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) // 256


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_threads_have_freed():
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: [Image.new("RGB", (500, 500), "red") for _ in range(50)], range(4)))
        held = resident()
        del made
    hand_back()
    assert resident() < held - 100  # of 190
