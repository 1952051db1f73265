"""Perceptual hashes of pictures: 16 x 16 cosine coefficients in which every turn and flip is a change of signs.

Like pHash (Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010) they are low-frequency
coefficients of a small grey picture, but values and not bits are kept: 510 bytes more per picture save looking at
pixels. Each coefficient is weighted by its frequency, so that the hash compares edges and not the blob that all centred
cells share, and the whole is brought to length 1, so that brightness and contrast drop out.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
from scipy.fft import dct
from threadpoolctl import threadpool_limits

from hemacell.core.threads import available_cores
from hemacell.data.decoding import Decoded

HASH_SIDE = 16
HASH_VERSION = 1  # raise it whenever the same pixels would give another hash
TURNS = (
    "as it is",
    "flipped top to bottom",
    "flipped left to right",
    "turned by 180°",
    "flipped along the diagonal",
    "turned clockwise",
    "turned counter-clockwise",
    "flipped along the other diagonal",
)
"""The eight turns and flips by number: of bit 1 flips rows, of bit 2 columns, of bit 4 exchanges them at last."""
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L
_FLAT = 2.0  # times the side: noise of about 0.2 grey levels in the small picture; what is below counts as flat
_CHUNK = 64  # pictures: their float32 pixels take 28 MB at 192 px

Progress = Callable[[int, int], None]
Result = TypeVar("Result")


def picture_hashes(pixels: np.ndarray, progress: Progress | None = None) -> np.ndarray:
    """A hash for each picture; the distance of two is 0 for equal pictures and about 1.4 for unrelated ones.

    Args:
        pixels: uint8 [N, S, S, 3], a memory map will do.
        progress: called with (pictures done, N).

    Returns:
        float16 [N, 256], rows of length 1; nearly 0 for pictures without any detail. See `turned_hashes`.
    """
    result = np.empty((len(pixels), HASH_SIDE**2), np.float16)

    def compute(start: int) -> int:
        part = slice(start, start + _CHUNK)
        result[part] = detail(pixels[part], HASH_SIDE).reshape(-1, HASH_SIDE**2)
        return min(start + _CHUNK, len(pixels))

    for done in in_threads(compute, range(0, len(pixels), _CHUNK)):
        if progress:
            progress(done, len(pixels))
    return result


def hashes_of(decoded: Decoded, progress: Progress | None = None) -> np.ndarray:
    """`picture_hashes` of decoded images, kept beside their array and read back ever after.

    Raises:
        UserError: the disk is full or read-only.
    """
    name, width = f"hashes-{HASH_VERSION}", HASH_SIDE**2
    return decoded.derived(name, width, lambda: picture_hashes(decoded.array, progress))


def detail(pixels: np.ndarray, side: int) -> np.ndarray:
    """Cosine coefficients of the small grey pictures, weighted by frequency and scaled to length 1.

    The distance of two such arrays is sqrt(2 - 2r), r being the correlation of the two pictures' gradients.

    Args:
        pixels: uint8 [N, S, S, 3].
        side: of the small pictures, whose pixels are means over areas.

    Returns:
        float32 [N, side, side], first the frequency along rows (downwards).
    """
    across, down, weight = _transforms(pixels.shape[1], side)
    n, size = pixels.shape[:2]
    # Grey value, reduction and cosine transform of a line of pixels are one matrix: the product is all the work.
    lines = pixels.reshape(n * size, size * 3).astype(np.float32) @ across
    coefficients = (down @ lines.reshape(n, size, side)) * weight
    length = np.sqrt(np.square(coefficients).sum((1, 2), keepdims=True))
    return coefficients / np.maximum(length, _FLAT * side)


def in_threads(work: Callable[[int], Result], starts: range) -> Iterator[Result]:
    """The results of `work` on parts, in order, computed on all cores.

    Matrix products use one thread each meanwhile: with threads of their own they wait for one another, and a search
    among 8,734 hashes takes 2 to 5 s instead of 0.6 s on two cores.
    """
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(available_cores()) as pool:
        yield from pool.map(work, starts)


def turned_hashes(hashes: np.ndarray, turn: int) -> np.ndarray:
    """The hashes [N, K, K] that pictures have after `turn_picture`: signs of odd frequencies, and an exchange."""
    signs = np.where(np.arange(hashes.shape[1]) % 2, -1, 1).astype(hashes.dtype)
    if turn & 1:
        hashes = hashes * signs[:, None]
    if turn & 2:
        hashes = hashes * signs
    return hashes.transpose(0, 2, 1) if turn & 4 else hashes


def turn_picture(picture: np.ndarray, turn: int) -> np.ndarray:
    """A square picture [S, S, ...] after one of `TURNS`; a view."""
    if turn & 1:
        picture = picture[::-1]
    if turn & 2:
        picture = picture[:, ::-1]
    return picture.swapaxes(0, 1) if turn & 4 else picture


@cache
def _transforms(size: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For lines of pixels [size * 3, side], for columns [side, size], and the weights of frequencies [side, side]."""
    edges = np.arange(side + 1)[:, None] * (size / side)
    first = np.arange(size)
    overlap = np.minimum(edges[1:], first + 1) - np.maximum(edges[:-1], first)
    down = dct(np.clip(overlap, 0, None) / (size / side), axis=0, norm="ortho")
    across = np.einsum("vx,c->xcv", down, _GREY).reshape(size * 3, side)
    frequency = np.hypot(*np.meshgrid(np.arange(side), np.arange(side)))
    return across.astype(np.float32), down.astype(np.float32), frequency.astype(np.float32)
