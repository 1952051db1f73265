"""Nuclei in a map of chromatin: their parts, and which parts are one cell's.

A threshold of the whole field would lose a pale cell beside a dark one. So a low one finds what may be a nucleus, and
each of these is then cut at a share of its own darkest place. Lobes are joined into a cell nearest first as long as
the cell stays as small as white cells are; a part that is much like two discs is divided by a watershed of the
distance from its border.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError, cKDTree
from scipy.spatial.distance import pdist
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

_OWN_SHARE = 0.45  # of its own darkest place
_DARKEST = 0.95  # quantile
_LEAST_LEVEL = 0.5  # of the darkest part of a cell's nucleus
_SOLID = 0.9  # area over that of the hull, of a part that may be the nucleus of a cell on its own
_DIVIDED = 0.91  # solidity below which a large part may be two nuclei
_SADDLE = 0.78  # of the smaller radius: a narrower neck divides
_BLUR = 0.04  # in diameters of a red cell, as all lengths below
_OPENING = 0.09  # radius
_LEAST_DIAMETER = 0.2  # of a part
_GAP = 0.42  # between the parts of a cell
_MOST_LENGTH = 2.05  # of a cell's nucleus, from end to end
_MOST_DIAMETER = 1.6  # of the disc of a cell's nucleus
_WHOLE = 0.85  # diameter of a part that may be the nucleus of a cell on its own

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Part:
    """A connected part of a nucleus. Lengths are pixels of the map."""

    pixels: NDArray[np.intp]
    """int [N, 2], rows and columns."""
    level: float
    """Mean chromatin."""

    @cached_property
    def area(self) -> int:
        return len(self.pixels)

    @cached_property
    def diameter(self) -> float:
        """Of the disc of the same area."""
        return float(np.sqrt(4 / np.pi * self.area))

    @cached_property
    def border(self) -> NDArray[np.float64]:
        """float64 [K, 2], x and y of the corners of its convex hull."""
        return hull_of(self.pixels)

    @cached_property
    def tree(self) -> cKDTree:
        """Its pixels, to find the nearest."""
        return cKDTree(self.pixels)

    @cached_property
    def corners(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The least and the greatest row and column."""
        return self.pixels.min(0), self.pixels.max(0)

    @cached_property
    def solidity(self) -> float:
        return min(1.0, self.area / max(hull_area(self.border), 1e-9))


@dataclass(frozen=True, eq=False)
class Nucleus:
    """All parts of one cell's nucleus."""

    parts: Sequence[Part]

    @cached_property
    def area(self) -> int:
        return sum(part.area for part in self.parts)

    @property
    def diameter(self) -> float:
        """Of the disc of the same area."""
        return float(np.sqrt(4 / np.pi * self.area))

    @cached_property
    def length(self) -> float:
        """Between its ends."""
        return float(pdist(self.hull).max())

    @cached_property
    def level(self) -> float:
        return float(np.average([part.level for part in self.parts], weights=[part.area for part in self.parts]))

    @cached_property
    def pixels(self) -> NDArray[np.intp]:
        return np.concatenate([part.pixels for part in self.parts])

    @cached_property
    def hull(self) -> NDArray[np.float64]:
        """float64 [K, 2], x and y of its corners."""
        return _convex(np.concatenate([part.border for part in self.parts]))

    @cached_property
    def hull_diameter(self) -> float:
        return float(np.sqrt(4 / np.pi * hull_area(self.hull)))

    @cached_property
    def solidity(self) -> float:
        return min(1.0, self.area / max(hull_area(self.hull), 1e-9))


def find_nuclei(chromatin: Floats, red_cell: float, least: float) -> list[Nucleus]:
    """Find the nuclei of a field.

    Args:
        chromatin: float32 [H, W], of `stain.Stain`.
        red_cell: diameter of a red cell in pixels of the map.
        least: chromatin of a nucleus.
    """
    smooth = ndimage.gaussian_filter(chromatin, _BLUR * red_cell)
    parts = _parts(smooth, red_cell, least)
    return [Nucleus([parts[at] for at in group]) for group in _groups(parts, red_cell)]


def _parts(smooth: Floats, red_cell: float, least_level: float) -> list[Part]:
    disc = _disc(_OPENING * red_cell)
    least = np.pi / 4 * (_LEAST_DIAMETER * red_cell) ** 2
    mask = ndimage.binary_opening(smooth > least_level, disc)
    for place, inside in _components(mask, least):
        own = smooth[place]
        of_it = own[inside]
        cut = _OWN_SHARE * np.partition(of_it, int(_DARKEST * (len(of_it) - 1)))[int(_DARKEST * (len(of_it) - 1))]
        mask[place] &= ~inside | (own > cut)
    mask = ndimage.binary_opening(mask, disc)
    parts = []
    for place, inside in _components(mask, least):
        corner = np.array([axis.start for axis in place])
        filled = ndimage.binary_fill_holes(inside)
        parts += [
            Part(pixels + corner, float(smooth[place][tuple(pixels.T)].mean()))
            for pixels in _divided(filled, red_cell)
            if len(pixels) >= least
        ]
    return parts


def _components(mask: Bools, least: float) -> Iterator[tuple[tuple[slice, slice], Bools]]:
    """Where each connected part of `least` pixels or more is, and its pixels there."""
    labels, _ = ndimage.label(mask)
    areas = np.bincount(labels.ravel())
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        if areas[number] >= least:
            yield place, labels[place] == number


def _divided(inside: Bools, red_cell: float) -> list[NDArray[np.intp]]:
    """The pixels [N, 2] of one part, or of the nuclei that touch in it."""
    whole = np.argwhere(inside)
    diameter = np.sqrt(4 / np.pi * len(whole))
    if diameter < _WHOLE * red_cell * np.sqrt(2):
        return [whole]
    if len(whole) / max(hull_area(hull_of(whole)), 1e-9) > _DIVIDED:
        return [whole]
    distance = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    distance = ndimage.gaussian_filter(distance, _BLUR * red_cell)
    least = _WHOLE * red_cell / 2 * 0.8
    peaks = peak_local_max(distance, min_distance=max(1, round(least)), threshold_abs=least, exclude_border=False)
    if len(peaks) < 2:
        return [whole]
    markers = np.zeros(inside.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    basins = watershed(-distance, markers, mask=inside)
    for first in range(1, len(peaks) + 1):
        for second in range(first + 1, len(peaks) + 1):
            neck = _neck(basins, distance, first, second)
            if neck > _SADDLE * min(distance[tuple(peaks[first - 1])], distance[tuple(peaks[second - 1])]):
                basins[basins == second] = first
    return [np.argwhere(basins == number) for number in np.unique(basins[inside])]


def _neck(basins: NDArray[np.int32], distance: Floats, first: int, second: int) -> float:
    """The greatest distance from the border where two basins meet; 0 where they do not."""
    meet = (basins == first) & ndimage.binary_dilation(basins == second, np.ones((3, 3)))
    return float(distance[meet].max(initial=0))


def _groups(parts: Sequence[Part], red_cell: float) -> list[list[int]]:
    """Which parts are one cell's: nearest first, while the whole stays as small as a cell's nucleus."""
    groups = {at: [at] for at in range(len(parts))}
    of = list(range(len(parts)))
    for _, first, second in sorted(_gaps(parts, _GAP * red_cell)):
        one, other = of[first], of[second]
        if one == other or not _one_cell([parts[at] for at in groups[one] + groups[other]], red_cell):
            continue
        groups[one] += groups.pop(other)
        for at in groups[one]:
            of[at] = one
    return list(groups.values())


def _one_cell(parts: Sequence[Part], red_cell: float) -> bool:
    levels = [part.level for part in parts]
    if min(levels) < _LEAST_LEVEL * max(levels):
        return False
    low, high = (edge([part.corners[at] for part in parts], axis=0) for at, edge in ((0, np.min), (1, np.max)))
    if (high - low).max() > _MOST_LENGTH * red_cell:
        return False
    if sum(part.diameter > _WHOLE * red_cell and part.solidity > _SOLID for part in parts) > 1:
        return False
    nucleus = Nucleus(parts)
    return nucleus.diameter < _MOST_DIAMETER * red_cell and nucleus.length < _MOST_LENGTH * red_cell


def _gaps(parts: Sequence[Part], most: float) -> list[tuple[float, int, int]]:
    """Distances in pixels between parts, and their numbers, where they are less than `most`."""
    if len(parts) < 2:
        return []
    centres = np.array([part.pixels.mean(0) for part in parts])
    reach = np.array([np.hypot(*(part.pixels - centre).T).max() for part, centre in zip(parts, centres, strict=True)])
    found = []
    for first, second in cKDTree(centres).query_pairs(most + 2 * float(reach.max())):
        if np.hypot(*(centres[first] - centres[second])) > most + reach[first] + reach[second]:
            continue
        gap = parts[first].tree.query(parts[second].pixels, distance_upper_bound=most)[0].min()
        if gap < most:
            found.append((float(gap), first, second))
    return found


def hull_of(pixels: NDArray[np.intp]) -> NDArray[np.float64]:
    """The corners, x and y, of the convex hull around pixels [N, 2], rows and columns, sorted as by `np.argwhere`."""
    rows, columns = pixels.T
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    last = np.append(first[1:], len(rows)) - 1
    top, left, right = rows[first], columns[first], columns[last] + 1
    ends = [np.stack([x, y], axis=1) for x in (left, right) for y in (top, top + 1)]
    return _convex(np.concatenate(ends).astype(np.float64))


def _convex(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The corners of the convex hull of places [N, 2], in order."""
    try:
        return places[ConvexHull(places).vertices]
    except QhullError:
        return places


def hull_area(hull: NDArray[np.float64]) -> float:
    """Area within corners in order."""
    x, y = hull.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _disc(radius: float) -> Bools:
    reach = int(np.ceil(radius))
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(np.hypot(rows, columns) <= max(radius, 0.5))
