"""What the stain absorbs in a field, over the empty glass as it is lit in each place.

Light falls off towards the border of a field, often differently in red than in blue, so that one colour of the glass
does not hold for all of it. Most fields show some glass everywhere: it is the brightest of what is near. A polynomial
surface is laid on it by asymmetric least squares (Newey and Powell 1987; for baselines: Eilers and Boelens 2005), and
then fitted again to the pixels that lie on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.filters import threshold_otsu

_SHRINK = 4.0  # at most, before the surface is fitted: no so much that glass and cells mix in a pixel
_SIDE = 96  # longer side of the picture that the surface is fitted to, where that is no smaller
_SAMPLES = 9_000  # pixels, about, that the surface is fitted to
_DEGREE = 4
_POWERS = [(down, across) for down in range(_DEGREE + 1) for across in range(_DEGREE + 1 - down)]
_ABOVE = 0.95  # weight of pixels above the surface, 1 less it that of those below
_ROUNDS = 15
_NEAR = (0.12, 0.08, 0.06)  # density around the surface within which a pixel is glass, round by round
_LEAST_PIXELS = 4  # on the surface, per coefficient
_COLOURS = 40_000  # pixels, about, that the colour of red cells is measured in
_STAINED = 0.06  # least density of what is no glass
_RED_CELLS = 0.6  # share of the stained pixels, those that take the least red light
_LEAST_SHARE = 0.05  # of a field that red cells cover; where less is stained it may be white cells only
_USUAL_RED_CELLS = np.array([0.1, 0.35, 0.2], np.float32)
_CHROMATIN = np.array([0.6, 1.0, 0.25]) / np.linalg.norm([0.6, 1.0, 0.25])  # its colour: density of each channel
_CHROMATIN_DENSITY = 1.2  # of usual nuclei
_AMOUNT = 0.6  # spread of red cells along their own colour, in their density
_LEAST_CHROMATIN = 0.28  # over the root of the density of red cells
_NOISE = 0.05  # spread of densities in every direction
_ROWS = 256  # of a field that are measured at once

Floats = NDArray[np.float32]
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Stain:
    """Optical densities of a field; natural logarithms, 0 in the glass."""

    field: Pictures
    """uint8 [H, W, 3]."""
    chromatin: Floats
    """float32 [H, W]: density of the stain of nuclei, near 0 in red cells however many lie over each other."""
    red_cells: float
    """Density of red cells: the length of that of the three channels."""
    surface: NDArray[np.float64]
    """float64 [3, 5, 5]: the logarithm of the glass per channel, coefficients of the powers of y and x in -1 to 1."""

    @property
    def least_chromatin(self) -> float:
        """The least of a nucleus: stains that are strong are so in all cells, but not in proportion."""
        return _LEAST_CHROMATIN * float(np.sqrt(self.red_cells))

    def density_of(self, places: NDArray[np.intp]) -> Floats:
        """Density of red, green and blue, float32 [N, 3], 0 or more, at rows and columns [N, 2]."""
        return _density(self.field[tuple(places.T)], _at(self.surface, *_in_unit(places, self.field.shape)))

    def green(self) -> Floats:
        """The density of green, in which all that is stained is seen, float32 [H, W], 0 or more."""
        return np.concatenate([density[..., 1] for density in _blocks(self.field, self.surface)])


def stain_of(field: Pictures) -> Stain:
    """Measure a field, uint8 [H, W, 3].

    Chromatin is what tells the stain of nuclei from red cells best: Fisher's linear discriminant (1936) between the
    colour of red cells, found in the field itself, and that of chromatin, which differs less between laboratories. Red
    cells vary in their own direction, as they are thin or lie over each other; noise varies in all.
    """
    surface = _surface(field)
    places = _some_places(field.shape[0], field.shape[1], _COLOURS)
    sample = _density(field[tuple(places.T)], _at(surface, *_in_unit(places, field.shape)))
    red_cells = _red_cells(sample).astype(np.float64)
    length = float(np.linalg.norm(red_cells))
    away = _CHROMATIN_DENSITY * _CHROMATIN - red_cells
    along = _AMOUNT**2 * (red_cells @ away) / (_NOISE**2 + (_AMOUNT * length) ** 2)
    weights = away - along * red_cells
    weights = (weights / (weights @ _CHROMATIN)).astype(np.float32)
    chromatin = np.concatenate([density @ weights for density in _blocks(field, surface)])
    return Stain(field, chromatin, length, surface)


def _surface(field: Pictures) -> NDArray[np.float64]:
    """Fit the logarithm of the glass, coefficients as in `Stain.surface`."""
    height, width = field.shape[:2]
    shrink = min(_SHRINK, max(1.0, max(height, width) / _SIDE))
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    small = np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BOX))
    places = _some_places(small.shape[0], small.shape[1], _SAMPLES)
    colours = _log(small[tuple(places.T)]).astype(np.float64)
    y, x = _in_unit(places, small.shape)
    terms = np.stack([y**down * x**across for down, across in _POWERS], axis=1)
    coefficients = _fitted(terms, colours)
    surface = np.zeros((3, _DEGREE + 1, _DEGREE + 1))
    for number, (down, across) in enumerate(_POWERS):
        surface[:, down, across] = coefficients[number]
    return surface


def _fitted(terms: NDArray[np.float64], colours: NDArray[np.float64]) -> NDArray[np.floating]:
    """Coefficients [K, 3] of a surface over terms [N, K] that lies on the brightest of the colours [N, 3]."""
    level = colours.mean(1)
    weight = np.ones(len(level))
    ridge = 1e-6 * np.eye(terms.shape[1])
    for _ in range(_ROUNDS):
        weighted = terms.T * weight
        off = level - terms @ np.linalg.solve(weighted @ terms + ridge, weighted @ level)
        weight = np.where(off > 0, _ABOVE, 1 - _ABOVE)
    coefficients: NDArray[np.floating] = np.linalg.solve(terms.T @ terms + ridge, terms.T @ colours)
    for near in _NEAR:
        on_it = np.abs(off) < near
        if on_it.sum() >= _LEAST_PIXELS * terms.shape[1]:
            some = terms[on_it]
            coefficients = np.linalg.solve(some.T @ some + ridge, some.T @ colours[on_it])
        off = (colours - terms @ coefficients).mean(1)
    return coefficients


def _blocks(field: Pictures, surface: NDArray[np.float64]) -> Iterator[Floats]:
    """The density of a field, some rows at a time: that of a slide needs 12 bytes per pixel."""
    height, width = field.shape[:2]
    _, x = _in_unit(np.stack([np.zeros(width, int), np.arange(width)], 1), field.shape)
    powers_of_x = np.polynomial.polynomial.polyvander(x, _DEGREE)
    for start in range(0, height, _ROWS):
        rows = np.arange(start, min(start + _ROWS, height))
        y, _ = _in_unit(np.stack([rows, rows], 1), field.shape)
        powers_of_y = np.polynomial.polynomial.polyvander(y, _DEGREE)
        glass = np.stack([powers_of_y @ channel @ powers_of_x.T for channel in surface], axis=-1)
        yield _density(field[rows[0] : rows[-1] + 1], glass)


def _density(colours: Pictures, glass: NDArray[np.float64]) -> Floats:
    return np.maximum(glass.astype(np.float32) - _log(colours), 0)


def _at(surface: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.polynomial.polynomial.polyval2d(y, x, channel) for channel in surface], axis=-1)


def _in_unit(places: NDArray[np.intp], shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """y and x in -1 to 1 of rows and columns [N, 2]."""
    y, x = ((places[:, axis] + 0.5) / shape[axis] * 2 - 1 for axis in (0, 1))
    return y, x


def _some_places(height: int, width: int, count: int) -> NDArray[np.intp]:
    """Rows and columns [N, 2] of about so many pixels of a grid."""
    step = max(1, round(np.sqrt(height * width / count)))
    rows, columns = np.mgrid[step // 2 : height : step, step // 2 : width : step]
    return np.stack([rows.ravel(), columns.ravel()], axis=1)


def _log(picture: Pictures) -> Floats:
    return _LOGS[picture]


_LOGS = np.log(np.maximum(np.arange(256), 1)).astype(np.float32)


def _red_cells(density: Floats) -> Floats:
    """The density of red cells, float32 [3], by densities [N, 3]: the median of the paler part of what is stained."""
    mean = density.mean(-1)
    stained = density[mean > max(_STAINED, _otsu(mean) / 2)]
    if len(stained) < _LEAST_SHARE * mean.size:
        return _USUAL_RED_CELLS
    red = stained[:, 0]
    return np.median(stained[red <= np.quantile(red, _RED_CELLS)], axis=0)


def _otsu(values: Floats) -> float:
    return float(threshold_otsu(values)) if values.min() < values.max() else float(values.max())
