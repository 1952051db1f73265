"""How well copies among images are found, and how fast: recall for each kind of copy, false pairs, time and memory.

    python benchmarks/copies.py --data DIR [--job wbc] [--images 1500] [--pictures 100000]

Copies are made of the image files and read as any other file. The nearest different pictures are looked for in turned
and flipped positions only: there, a cell that was photographed twice is not mistaken for two. For the time, pictures
are random windows of the images, cut while they are read; one of a hundred is a turned copy of another, at JPEG quality
60.
"""

import argparse
import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from hemacell.audit.copies import HASH_LIMIT, PIXEL_LIMIT, PIXEL_SIDE, copy_groups, find_copies
from hemacell.audit.picture_hash import HASH_SIDE, TURNS, detail, picture_hashes, turn_picture, turned_hashes
from hemacell.core.cache import cache_dir
from hemacell.core.threads import available_cores
from hemacell.data.decoding import Decoded, decode
from hemacell.data.images import read_rgb, to_square
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.resolve import read_manifest

SIZE = 192
PERCENTILES = (50, 99, 99.9)


# --- kinds of copies


def _resized(image: Image.Image, factor: float, rng: random.Random) -> Image.Image:
    filters = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
    return image.resize((round(image.width * factor), round(image.height * factor)), rng.choice(filters))


def _turned(image: Image.Image, rng: random.Random) -> Image.Image:
    return image.transpose(rng.choice(list(Image.Transpose)))


def _brighter(image: Image.Image, rng: random.Random) -> Image.Image:
    changed = np.asarray(image) * rng.uniform(0.8, 1.25) + rng.uniform(-15, 15)
    return Image.fromarray(changed.clip(0, 255).astype(np.uint8))


KINDS: dict[str, tuple[str, Callable[[Image.Image, random.Random], Image.Image]]] = {
    "JPEG quality 60": ("JPEG", lambda image, rng: image),
    "half the size": ("PNG", lambda image, rng: _resized(image, 0.5, rng)),
    "twice the size": ("PNG", lambda image, rng: _resized(image, 2, rng)),
    "turned or flipped": ("PNG", _turned),
    "turned, resized by 0.5 to 2, quality 60": (
        "JPEG",
        lambda image, rng: _resized(_turned(image, rng), 2 ** rng.uniform(-1, 1), rng),
    ),
    "the same with light by 0.8 to 1.25, ±15 levels": (
        "JPEG",
        lambda image, rng: _brighter(_resized(_turned(image, rng), 2 ** rng.uniform(-1, 1), rng), rng),
    ),
}


def copies_of(files: list[Path], kind: str) -> np.ndarray:
    """A copy of each image file, encoded, read and brought to a square, uint8 [N, SIZE, SIZE, 3]."""
    form, change = KINDS[kind]

    def copy(file: Path) -> np.ndarray:
        stream = io.BytesIO()
        change(read_rgb(file), random.Random(f"{file.name} {kind}")).save(stream, form, quality=60)
        return to_square(read_rgb(stream.getvalue()), SIZE)

    with ThreadPoolExecutor(available_cores()) as pool:
        return np.stack(list(pool.map(copy, files)))


def recall(originals: np.ndarray, copies: np.ndarray) -> float:
    """Share of copies that end in the group of their original, among all of them."""
    number = len(originals)
    groups = copy_groups(find_copies(np.concatenate([originals, copies])), 2 * number)
    group_of = {member: at for at, group in enumerate(groups) for member in group}
    return float(np.mean([group_of.get(i, -1) == group_of.get(i + number, -2) for i in range(number)]))


# --- distances


def own_distances(originals: np.ndarray, copies: np.ndarray, side: int) -> np.ndarray:
    """The distance of each copy from its original in the best turn, [N]."""
    first, second = _details(originals, side), _details(copies, side)
    every = [np.square(first - turned_hashes(second, turn)).sum((1, 2)) for turn in range(len(TURNS))]
    return np.sqrt(np.min(every, axis=0))


def nearest_turned(pictures: np.ndarray, side: int) -> np.ndarray:
    """The distance of each picture from the nearest other one in seven turned and flipped positions, [N]."""
    values = _details(pictures, side)
    flat = values.reshape(len(values), -1)
    squares = np.square(flat).sum(1)
    nearest = np.full(len(values), np.inf)
    for turn in range(1, len(TURNS)):
        other = turned_hashes(values, turn).reshape(len(values), -1)
        distances = squares[:, None] + squares - 2 * flat @ other.T
        np.fill_diagonal(distances, np.inf)
        nearest = np.minimum(nearest, distances.min(1))
    return np.sqrt(np.maximum(nearest, 0))


def _details(pictures: np.ndarray, side: int) -> np.ndarray:
    return np.concatenate([detail(pictures[start : start + 64], side) for start in range(0, len(pictures), 64)])


# --- many pictures


class Windows:
    """Pictures that are cut out of others when they are read; stands in for a memory map of a hundred thousand."""

    def __init__(self, images: np.ndarray, count: int) -> None:
        self.images = images
        self.shape = (count, *images.shape[1:])
        self.seconds = 0.0
        """Spent on cutting, in all threads together."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        started = time.thread_time()
        pictures = np.stack([self._picture(int(number)) for number in np.arange(len(self))[which]])
        self.seconds += time.thread_time() - started
        return pictures

    def _picture(self, number: int) -> np.ndarray:
        if number % 100 == 99:
            stream = io.BytesIO()
            turned = turn_picture(self._window(number - 50), number // 100 % 8)
            Image.fromarray(np.ascontiguousarray(turned)).save(stream, "JPEG", quality=60)
            return np.asarray(Image.open(stream))
        return self._window(number)

    def _window(self, number: int) -> np.ndarray:
        rng, size = random.Random(number), self.shape[1]
        side = rng.uniform(0.5, 0.9) * size
        top, left = rng.uniform(0, size - side), rng.uniform(0, size - side)
        steps = np.arange(size) * side / size
        image = self.images[number % len(self.images)]
        return image[(top + steps).astype(int)][:, (left + steps).astype(int)]


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """A list that holds the largest memory of the process in the end, in MiB; files that are mapped do not count."""
    peak, stop, process = [0.0], threading.Event(), psutil.Process()

    def watch() -> None:
        while not stop.wait(0.02):
            memory = process.memory_info()
            peak[0] = max(peak[0], (memory.rss - memory.shared) / 2**20)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


# --- tables


def print_recall(files: list[Path], originals: np.ndarray) -> None:
    """A row for each kind of copy, and one for the nearest of different pictures."""
    shown = ", ".join(f"{value:g}" for value in PERCENTILES)
    print(f"| {len(files)} images | recall | distance of hashes: {shown} % | difference of pixels: {shown} % |")
    print("| --- | --- | --- | --- |")
    for kind in KINDS:
        copies = copies_of(files, kind)
        of_hashes, of_pixels = (own_distances(originals, copies, side) for side in (HASH_SIDE, PIXEL_SIDE))
        print(f"| {kind} | {recall(originals, copies):.4f} | {_row(of_hashes)} | {_row(of_pixels)} |", flush=True)
    lowest = [np.sort(nearest_turned(originals, side)) for side in (HASH_SIDE, PIXEL_SIDE)]
    # Both of a pair are nearest to each other as a rule: every second value is another pair.
    least = [", ".join(f"{value:.3f}" for value in values[:6:2]) for values in lowest]
    print(f"| the three nearest different ones | | {least[0]} | {least[1]} |")
    print(f"| limit | | {HASH_LIMIT} | {PIXEL_LIMIT} |\n")


def _row(distances: np.ndarray) -> str:
    return ", ".join(f"{value:.3f}" for value in np.percentile(distances, PERCENTILES))


def print_pairs(decoded: Decoded) -> None:
    """What is found among the images themselves: for a person to look at."""
    started = time.perf_counter()
    hashes = picture_hashes(decoded.array)
    hashed = time.perf_counter()
    pairs = find_copies(decoded.array, hashes)
    found = time.perf_counter()
    print(
        f"{len(decoded)} images: hashes {hashed - started:.1f} s, copies {found - hashed:.1f} s; {len(pairs)} pairs in "
        f"{len(copy_groups(pairs, len(decoded)))} groups"
    )
    names = decoded.manifest.names
    for pair in pairs[:20]:
        print(f"  {names[pair.first]} = {names[pair.second]} {TURNS[pair.turn]}, difference {pair.difference:.3f}")


def print_many(images: np.ndarray, count: int) -> None:
    """Time, memory, and what is found among many pictures."""
    many = Windows(images, count)
    with peak_memory() as peak:
        started, busy = time.perf_counter(), time.process_time()
        hashes = picture_hashes(many)  # type: ignore[arg-type]
        hashed = time.perf_counter()
        pairs = find_copies(many, hashes)  # type: ignore[arg-type]
        found, used = time.perf_counter(), time.process_time()
    true = {(number - 50, number) for number in range(99, count, 100)}
    hits = sum((pair.first, pair.second) in true for pair in pairs)
    print(
        f"\n{count} pictures: hashes {hashed - started:.1f} s, copies {found - hashed:.1f} s; {used - busy:.1f} s of "
        f"processor time, {many.seconds:.1f} s of them to cut the pictures out; {peak[0]:.0f} MiB; {hits} of "
        f"{len(true)} copies found, {len(pairs) - hits} pairs of other windows"
    )


def main() -> None:
    """Print recall, what is found among the images, and the time for many pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--job", default="wbc", help="whose images in the folder are meant: wbc, camelyon or prcc")
    parser.add_argument("--images", type=int, default=1500, help="how many are copied")
    parser.add_argument("--pictures", type=int, default=100_000)
    asked = parser.parse_args()
    decoded = decode(read_manifest(Path(asked.data), asked.job, SourceOptions(masks=False)), SIZE, cache_dir())
    chosen = np.sort(np.random.default_rng(0).permutation(len(decoded))[: asked.images])
    files = [Path(path) for path in decoded.manifest.table["path"].iloc[chosen]]
    print_recall(files, decoded.array[chosen])
    print_pairs(decoded)
    if asked.pictures:
        print_many(decoded.array, asked.pictures)


if __name__ == "__main__":
    main()
