"""How fast images are found, hashed, checked and decoded.

    python benchmarks/reading.py [--files 10000] [--side 224] [--kinds jpg,png,tif] [--repeats 3]

Makes class folders of smooth random pictures of each kind in a temporary folder and reads them as a job does, the
files in the system's cache. Prints the files per second of each step, the best of the repeats: finding them (`walk`),
hashing them, looking for 16 bits in their headers (`camera_bits`), all that is done before a training (`manifest`,
which includes these three), and decoding.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hemacell.core.files import digests_of_files
from hemacell.data.decoding import decode
from hemacell.data.images import camera_bits
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.walk import walk

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
_OPTIONS: dict[str, dict[str, Any]] = {"jpg": {"quality": 90}, "png": {"compress_level": 1}, "tif": {}}


def make(root: Path, count: int, side: int, kind: str) -> list[Path]:
    """Write `count` different pictures, side x side pixels, into a folder per class."""
    rng = np.random.default_rng(0)
    grounds = [
        np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))
        for small in rng.integers(0, 256, (64, 8, 8, 3), np.uint8)
    ]
    files = []
    for number in range(count):
        pixels = grounds[number % len(grounds)].copy()
        pixels[:4, :4] = rng.integers(0, 256, (4, 4, 3))
        file = root / CLASSES[number % len(CLASSES)] / f"{number}.{kind}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, **_OPTIONS[kind])
        files.append(file)
    return files


def seconds(step: Callable[[], object], repeats: int) -> float:
    """The shortest time of several."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return min(times)


def speeds(root: Path, files: list[Path], cache: Path, repeats: int) -> dict[str, float]:
    """Files per second of each step."""
    manifest = read_manifest(root, "wbc")
    caches = iter(range(repeats))
    steps: dict[str, Callable[[], object]] = {
        "walk": lambda: walk(root),
        "hash": lambda: digests_of_files(files),
        "camera_bits": lambda: camera_bits(files),
        "manifest": lambda: read_manifest(root, "wbc"),
        "decode": lambda: decode(manifest, 96, cache / str(next(caches))),
    }
    return {name: len(files) / seconds(step, repeats) for name, step in steps.items()}


def main() -> None:
    """Print a line for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--kinds", default="jpg,png,tif")
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    for kind in asked.kinds.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch, "cells")
            files = make(root, asked.files, asked.side, kind)
            found = speeds(root, files, Path(scratch, "cache"), asked.repeats)
            shown = ", ".join(f"{name} {speed:,.0f}" for name, speed in found.items())
            print(f"{asked.files} files .{kind} of {asked.side} px, files/s: {shown}", flush=True)


if __name__ == "__main__":
    main()
