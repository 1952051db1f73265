"""Copies and near-copies among pictures, in any of the eight turns and flips: found by hash, confirmed on pixels.

The limits were set between what `benchmarks/copies.py` measures on true copies (re-encoded at JPEG quality 60, resized
by 0.5 to 2, turned) and on the nearest of different pictures. By hash, 99.9 % of true copies of cells differ by less
than 0.17 and 99 % of lymph node patches of 96 px, the hardest, by less than 0.26; different cells differ by 0.40 at
least (round lymphocytes on an empty background; in other sets 0.72). By pixels, true copies reach 0.27 (patches 0.39)
and different cells start at 0.49. Nothing asks for the same bytes: a cell that was photographed twice without moving is
found too.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hemacell.audit.picture_hash import HASH_SIDE, TURNS, detail, in_threads, picture_hashes, turned_hashes

HASH_LIMIT = 0.3
PIXEL_LIMIT = 0.45
PIXEL_SIDE = 24
COLOUR_LIMIT = 64.0  # levels between mean colours: a changed exposure passes, an empty white and a black picture do not
MOST = 16  # nearest earlier pictures that one is compared with: thousands of near-equal ones give chains, not all pairs
_DIMENSIONS = 64  # of the projected hashes: 8,734 cells leave 40 pairs to look at, with 48 they leave 1,400
_ROWS, _COLUMNS = 128, 4096  # pictures compared at once by a product, which stays in the processor's cache
_PAIRS = 4096  # pairs compared at once
_PICTURES = 64  # pictures read at once

Progress = Callable[[int, int], None]


class Pair(NamedTuple):
    """Two pictures of which one is a copy of the other."""

    first: int
    """Position of the earlier one."""
    second: int
    turn: int
    """Number in `TURNS`: what `turn_picture` does to the second to lay it on the first."""
    difference: float
    """Measured on pixels: 0 for equal pictures to `PIXEL_LIMIT` (see `picture_hash.detail`)."""


def find_copies(
    pixels: np.ndarray,
    hashes: np.ndarray | None = None,
    progress: Progress | None = None,
    rows: np.ndarray | None = None,
) -> list[Pair]:
    """Pairs of pictures that are copies, sorted by position.

    Brightness, contrast, JPEG noise and a resize by 0.5 to 2 do not matter; a crop or a shift by more than a hundredth
    of the side does. Pictures with equal hashes are each paired with the first of them, and a picture with at most
    `MOST` earlier ones: `copy_groups` puts all together again. Leave masked copies out by `rows`: they resemble their
    image, and round cells without surroundings resemble one another.

    Args:
        pixels: uint8 [N, S, S, 3], a memory map will do.
        hashes: float16 [N, 256] of the same pictures (`picture_hashes`); computed where they are missing.
        progress: called with (pictures done, N) while hashes are computed.
        rows: positions of the pictures that are compared, in rising order; all of them by default.
    """
    if hashes is None:
        hashes = picture_hashes(pixels, progress)
    if hashes.shape != (len(pixels), HASH_SIDE**2):
        raise ValueError(f"expected hashes [{len(pixels)}, {HASH_SIDE**2}], found {list(hashes.shape)}")
    if rows is not None:
        hashes = hashes[rows]
    leaders = _first_of_equal(hashes)
    equal = np.flatnonzero(leaders != np.arange(len(hashes)))
    distinct = np.flatnonzero(leaders == np.arange(len(hashes)))
    near, turns = _near(hashes[distinct].reshape(-1, HASH_SIDE, HASH_SIDE))
    pairs = np.concatenate([np.column_stack([leaders[equal], equal]), distinct[near]])
    if rows is not None:
        pairs = rows[pairs]
    return _confirmed(pixels, pairs, np.concatenate([np.zeros(len(equal), np.int64), turns]))


def copy_groups(pairs: list[Pair], n: int) -> list[list[int]]:
    """Positions of pictures that are linked by pairs, one sorted list for each group of two or more.

    Args:
        pairs: of `find_copies`, or a part of them.
        n: number of pictures.
    """
    if not pairs:
        return []
    first, second = np.array([pair[:2] for pair in pairs]).T
    _, group = connected_components(coo_array((np.ones(len(pairs)), (first, second)), shape=(n, n)), directed=False)
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return sorted(part.tolist() for part in parts if len(part) > 1)


def _first_of_equal(hashes: np.ndarray) -> np.ndarray:
    """For each hash the position of the first that is equal to it, int64 [N]."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(row.tobytes(), at) for at, row in enumerate(hashes)], dtype=np.int64)


# --- candidates by hash


def _near(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of hashes [N, K, K] within `HASH_LIMIT` in some turn: int64 [M, 2], earlier first, and the turns [M].

    No turn changes `_invariants`, and neither they nor a projection lengthen a distance: so one product of matrices
    leaves out no pair that a comparison in all eight turns would find.
    """
    if len(hashes) < 2:
        return np.empty((0, 2), np.int64), np.empty(0, np.int64)
    points = _projected(hashes)
    squares = np.square(points).sum(1, keepdims=True) / 2
    ones = np.ones_like(squares)
    # The product of a row of `left` with one of `right` is minus half of their squared distance.
    left, right = np.hstack([points, squares, ones]), np.hstack([points, -ones, -squares])

    def search(start: int) -> tuple[np.ndarray, np.ndarray]:
        second, first = _closest(left[start : start + _ROWS], right, start)
        pairs = np.column_stack([first, second])
        distances, turns = _turned_distances(hashes, pairs)
        kept = distances <= HASH_LIMIT
        return pairs[kept], turns[kept]

    found = list(in_threads(search, range(0, len(points), _ROWS)))
    return np.concatenate([pairs for pairs, _ in found]), np.concatenate([turns for _, turns in found])


def _closest(rows: np.ndarray, right: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """For points from `start` on: them, and of the earlier ones within the limit the `MOST` nearest; int64 [M] each."""
    least = -(HASH_LIMIT**2) / 2 - 1e-5  # float32 errs by less
    found = []
    for low in range(0, start + len(rows), _COLUMNS):
        closeness = rows @ right[low : low + _COLUMNS].T
        later, earlier = np.nonzero(closeness > least)
        found.append((later + start, earlier + low, closeness[later, earlier]))
    later, earlier, close = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((earlier, -close, later))
    order = order[earlier[order] < later[order]]
    later, earlier = later[order], earlier[order]
    kept = np.arange(len(later)) - np.searchsorted(later, later) < MOST
    return later[kept], earlier[kept]


def _invariants(hashes: np.ndarray) -> np.ndarray:
    """What no turn changes of hashes [N, K, K], float32 [N, K * K]; nowhere further apart than the hashes.

    A flip changes the signs of coefficients of odd frequency, the exchange of rows and columns swaps (u, v) with
    (v, u). So sums of a swapped pair of even frequencies stay as they are, differences but for their sign; of other
    pairs the larger and the smaller absolute value.
    """
    values = hashes.astype(np.float32)
    even = np.arange(values.shape[1]) % 2 == 0
    down, across = np.triu_indices(values.shape[1], 1)
    both_even = even[down] & even[across]
    diagonal = np.diagonal(values, axis1=1, axis2=2)
    one, other = values[:, down, across], values[:, across, down]
    sums, differences = (one + other)[:, both_even], np.abs(one - other)[:, both_even]
    one, other = np.abs(one[:, ~both_even]), np.abs(other[:, ~both_even])
    signed = [diagonal[:, even], sums / np.sqrt(2)]
    unsigned = [np.abs(diagonal[:, ~even]), differences / np.sqrt(2), np.maximum(one, other), np.minimum(one, other)]
    return np.concatenate([*signed, *unsigned], axis=1).astype(np.float32)


def _projected(hashes: np.ndarray) -> np.ndarray:
    """The invariants along their principal axes, float32 [N, at most 64]."""
    sample = _invariants(hashes[:: len(hashes) // 10_000 + 1])
    axes = np.linalg.eigh(np.cov(sample, rowvar=False))[1][:, : -_DIMENSIONS - 1 : -1].astype(np.float32)
    mean = sample.mean(0)
    parts = (hashes[start : start + _PAIRS] for start in range(0, len(hashes), _PAIRS))
    return np.concatenate([(_invariants(part) - mean) @ axes for part in parts])


def _turned_distances(hashes: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest distance of each pair over the eight turns of the second, float32 [M], and the turn, int64 [M]."""
    distances, turns = np.empty(len(pairs), np.float32), np.empty(len(pairs), np.int64)
    for start in range(0, len(pairs), _PAIRS):
        part = slice(start, start + _PAIRS)
        every = [_distances(hashes, pairs[part], turn) for turn in range(len(TURNS))]
        turns[part] = np.argmin(every, axis=0)
        distances[part] = np.min(every, axis=0)
    return distances, turns


def _distances(hashes: np.ndarray, pairs: np.ndarray, turn: int) -> np.ndarray:
    first, second = hashes[pairs[:, 0]].astype(np.float32), hashes[pairs[:, 1]].astype(np.float32)
    return np.sqrt(np.square(first - turned_hashes(second, turn)).sum((1, 2)))


# --- confirmed on pixels


def _confirmed(pixels: np.ndarray, pairs: np.ndarray, turns: np.ndarray) -> list[Pair]:
    """Pairs whose pixels, laid on one another, differ by no more than the limits."""
    pictures, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    fine, colours = _read(pixels, pictures)
    differences = np.empty(len(pairs), np.float32)
    for turn in range(len(TURNS)):
        for part in _parts(np.flatnonzero(turns == turn)):
            differences[part] = _distances(fine, places[part], turn)
    shifts = np.abs(colours[places[:, 0]] - colours[places[:, 1]]).max(1, initial=0)
    kept = np.flatnonzero((differences <= PIXEL_LIMIT) & (shifts <= COLOUR_LIMIT))
    columns = (pairs[kept, 0].tolist(), pairs[kept, 1].tolist(), turns[kept].tolist(), differences[kept].tolist())
    return sorted(Pair(*row) for row in zip(*columns, strict=True))


def _parts(positions: np.ndarray) -> Iterator[np.ndarray]:
    return (positions[start : start + _PAIRS] for start in range(0, len(positions), _PAIRS))


def _read(pixels: np.ndarray, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Small pictures in cosine coefficients, float16 [M, 24, 24], and mean colours, float32 [M, 3]."""
    fine = np.empty((len(pictures), PIXEL_SIDE, PIXEL_SIDE), np.float16)
    colours = np.empty((len(pictures), 3), np.float32)

    def read(start: int) -> None:
        part = slice(start, start + _PICTURES)
        taken = pixels[pictures[part]]
        fine[part] = detail(taken, PIXEL_SIDE)
        colours[part] = taken.mean((1, 2), dtype=np.float32)

    for _ in in_threads(read, range(0, len(pictures), _PICTURES)):
        pass
    return fine, colours
