"""Freed memory goes back to the system."""

import subprocess
import sys

import pytest

# A process of its own: what other tests have left would move its memory as well.
PROGRAM = """
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from hemacell.core.memory import hand_back


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) // 256


with ThreadPoolExecutor(4) as pool:
    made = list(pool.map(lambda _: [Image.new("RGB", (500, 500), "red") for _ in range(50)], range(4)))
    held = resident()
    del made
hand_back()
print(held - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_threads_have_freed():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100  # MiB of 190
