"""How large red cells are in a field: the ruler for everything else, about 7.5 micrometres in any laboratory.

Every steep place of the picture votes for a centre, one radius of a red cell along its gradient (the Hough transform of
circles with gradients, Kimme, Ballard and Sklansky 1975). At the right radius the votes of a cell fall together. Rings
of cells out of focus, overlapping cells and faint ones vote as well as free discs do. Where few cells are seen the
nuclei of white cells help: the area of one is near that of a red cell whatever its class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage

from hemacell.fields.nuclei import find_nuclei
from hemacell.fields.stain import Stain, stain_of

CELL_TO_RED_CELL = 1.7
"""Diameter of a white cell over that of a red cell; medians of the boxes of two laboratories: 1.8 and 1.67."""

_SIDE = 400  # longer side of the picture that is searched
_FINE = 14.0  # pixels of it that a red cell has; where it has fewer, parts of the field are searched as they are
_SLIDE = 2000  # longer side of a field from which on only parts are searched
_WINDOW = _SIDE  # side of such parts
_GRID = 5  # such parts each way, of which are taken:
_WINDOWS = 9  # at most, those with the most contrast,
_FOLDS = 2  # after as many that may be folds and dirt,
_LEAST_CONTRAST = 0.5  # of the greatest of them; glass has less
_EVERY = 4  # pixel that the contrast of a part is measured in, each way
_RADII = np.geomspace(3.5, 60, 25)  # pixels of the small picture
_STEEP = 0.8  # share of pixels that do not vote
_SPREAD = 0.12  # of the votes of a cell, in radii
_BIN = 2  # pixels of the small picture that share a bin of votes, each way
_SHARPNESS = 4  # power of the votes, so that many together count more
_RIVAL = 0.5  # of the votes for the best radius, from which on nuclei decide between it and another
_PEAKED, _FLAT = 0.2, 0.4  # median of the votes over their greatest: red cells alone decide below, nuclei above
_NUCLEUS = 1.07  # diameter of the disc of a white nucleus's area, in red cells'
_NUCLEUS_SPREAD = 0.3  # of its logarithm
_CLEAR = 1.5  # times the least chromatin of nuclei, of those that count here
_LEAST_NUCLEUS = 0.4  # in red cells; smaller ones are platelets
_DOUBT = 0.2  # that what is taken for nuclei are none

Pictures = NDArray[np.uint8]


def red_cell_diameter(field: Pictures) -> float:
    """Diameter of the red cells of a field, uint8 [H, W, 3], in its pixels."""
    longer = max(field.shape[:2])
    if longer <= _SLIDE:
        found = _measured(field)
        if longer <= _SIDE or found * _SIDE / longer >= _FINE:
            return found
    return float(np.median([_measured(window) for window in _windows(field)]))


def _windows(field: Pictures) -> list[Pictures]:
    """Parts of a slide with much in them; those with the most contrast are left out, as they may be folds and dirt."""
    starts = [np.linspace(0, max(0, side - _WINDOW), _GRID + 2).round().astype(int)[1:-1] for side in field.shape[:2]]
    windows = [field[row : row + _WINDOW, column : column + _WINDOW] for row in starts[0] for column in starts[1]]
    contrasts = [float(window[::_EVERY, ::_EVERY, 1].std()) for window in windows]
    order = np.argsort(contrasts)[::-1][_FOLDS : _FOLDS + _WINDOWS]
    return [windows[at] for at in order if contrasts[at] >= _LEAST_CONTRAST * contrasts[order[0]]]


def _measured(field: Pictures) -> float:
    shrink = max(1.0, max(field.shape[:2]) / _SIDE)
    small = resized(field, shrink)
    stain = stain_of(small)
    radii = _RADII[min(small.shape[:2]) / 3 > _RADII]
    if not len(radii):
        return float(min(field.shape[:2]))
    votes = _votes(stain, radii)
    return _with_nuclei(stain, 2 * radii, votes) * shrink


def _votes(stain: Stain, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """How well the votes for each radius fall together, float64 [K], 1 for the best."""
    green = stain.green()
    green = ndimage.gaussian_filter(np.minimum(green, np.quantile(green, 0.99)), 1.0)
    down, across = np.gradient(green)
    slope = np.hypot(down, across)
    rows, columns = np.nonzero(slope > max(np.quantile(slope, _STEEP), 1e-6))
    if not len(rows):
        return np.ones(len(radii))
    steep = slope[rows, columns]
    down, across = down[rows, columns] / steep / _BIN, across[rows, columns] / steep / _BIN
    y, x = (rows + 0.5) / _BIN, (columns + 0.5) / _BIN
    height, width = -(-green.shape[0] // _BIN), -(-green.shape[1] // _BIN)
    found = np.empty(len(radii))
    for at, radius in enumerate(radii):
        # Places below 0 become 0 as integers, too: a border of bins takes what falls outside.
        row, column = (
            np.clip(place + 1, 0, most + 1).astype(np.intp)
            for place, most in ((y + down * radius, height), (x + across * radius, width))
        )
        votes = np.bincount(row * (width + 2) + column, minlength=(height + 2) * (width + 2))
        inside = votes.reshape(height + 2, width + 2)[1:-1, 1:-1].astype(np.float32)
        spread = max(1.0, _SPREAD * radius)
        share = ndimage.gaussian_filter(inside, spread / _BIN, truncate=3) * spread**2 / radius
        found[at] = (share**_SHARPNESS).sum()
    return found / max(found.max(), 1e-12)


def _with_nuclei(stain: Stain, diameters: NDArray[np.float64], votes: NDArray[np.float64]) -> float:
    """The diameter that the votes and the nuclei agree on best."""
    peaks = _peaks(votes)
    peaks = [peak for peak in peaks if votes[peak] >= _RIVAL * votes[peaks[0]]]
    nuclei = [_nucleus_diameter(stain, _vertex(diameters, votes, peak)) for peak in peaks]
    agreed = [votes[peak] * _agreement(nucleus, diameters[peak]) for peak, nucleus in zip(peaks, nuclei, strict=True)]
    best = int(np.argmax(agreed))
    if nuclei[best]:
        votes = votes / votes[peaks[best]]
        trust = float(np.clip((_FLAT - np.median(votes)) / (_FLAT - _PEAKED), 0, 1))
        votes = (trust * votes + 1 - trust) * _agreement(nuclei[best], diameters)
        return _vertex(diameters, votes, _peaks(votes)[0])
    return _vertex(diameters, votes, peaks[best])


def _agreement(nucleus: float, red_cells: ArrayLike) -> NDArray[np.float64]:
    """How well the nuclei of white cells go with red cells of some diameters; a nucleus of 0 is none."""
    if not nucleus:
        return np.full(np.shape(red_cells), _DOUBT)
    off = np.log(nucleus / np.asarray(red_cells) / _NUCLEUS) / _NUCLEUS_SPREAD
    return np.exp(-0.5 * off**2) + _DOUBT


def _peaks(votes: NDArray[np.float64]) -> list[int]:
    """All local maxima, the highest first: fine texture makes the smallest radius high, without a peak."""
    peaks = np.flatnonzero((votes[1:-1] >= votes[:-2]) & (votes[1:-1] >= votes[2:])) + 1
    return peaks[np.argsort(-votes[peaks])].tolist() if len(peaks) else [int(np.argmax(votes))]


def _vertex(diameters: NDArray[np.float64], votes: NDArray[np.float64], peak: int) -> float:
    """The place of a peak between the diameters, by a parabola."""
    if not 0 < peak < len(votes) - 1:
        return diameters[peak]
    left, middle, right = votes[peak - 1 : peak + 2]
    off = 0.5 * (left - right) / min(left - 2 * middle + right, -1e-9)
    return diameters[peak] * (diameters[1] / diameters[0]) ** float(np.clip(off, -0.5, 0.5))


def _nucleus_diameter(stain: Stain, red_cell: float) -> float:
    """Of the disc of the same area as the typical white cell's nucleus, in pixels; 0 without any."""
    nuclei = find_nuclei(stain.chromatin, red_cell, _CLEAR * stain.least_chromatin)
    diameters = np.sqrt(4 / np.pi * np.array([nucleus.area for nucleus in nuclei]))
    weights = np.array([nucleus.area * nucleus.level**2 for nucleus in nuclei]) * (
        diameters > _LEAST_NUCLEUS * red_cell
    )
    if not weights.sum():
        return 0.0
    order = np.argsort(diameters)
    passed = np.cumsum(weights[order]) / weights.sum()
    return float(diameters[order][np.searchsorted(passed, 0.5)])


def resized(field: Pictures, shrink: float) -> Pictures:
    """The field made smaller by a factor of 1 or more; every pixel is the mean of what it covers."""
    if shrink <= 1:
        return field
    size = max(1, round(field.shape[1] / shrink)), max(1, round(field.shape[0] / shrink))
    return np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BOX))
