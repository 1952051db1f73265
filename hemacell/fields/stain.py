"""What the stain absorbs in a field, over the empty glass as it is lit in each place.

Light falls off towards the border of a field, often differently in red than in blue, so that one colour of the glass
does not hold for all of it. Most fields show some glass everywhere: it is the brightest of what is near. A polynomial
surface is laid on it by asymmetric least squares (Newey and Powell 1987; for baselines: Eilers and Boelens 2005), and
then fitted again to the pixels that lie on it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.filters import threshold_otsu

_SIDE = 96  # longer side of the small picture that the surface is fitted to
_DEGREE = 4
_ABOVE = 0.95  # weight of pixels above the surface, 1 less it that of those below
_ROUNDS = 15
_NEAR = (0.12, 0.08, 0.06)  # density around the surface within which a pixel is glass, round by round
_LEAST_PIXELS = 4  # on the surface, per coefficient
_STAINED = 0.06  # least density of what is no glass
_RED_CELLS = 0.6  # share of the stained pixels, those that take the least red light
_LEAST_SHARE = 0.05  # of a field that red cells cover; where less is stained it may be white cells only
_USUAL_RED_CELLS = np.array([0.1, 0.35, 0.2], np.float32)
_CHROMATIN = np.array([0.6, 1.0, 0.25]) / np.linalg.norm([0.6, 1.0, 0.25])  # its colour: density of each channel
_CHROMATIN_DENSITY = 1.2  # of usual nuclei
_AMOUNT = 0.6  # spread of red cells along their own colour, in their density
_LEAST_CHROMATIN = 0.28  # over the root of the density of red cells
_NOISE = 0.05  # spread of densities in every direction

Floats = NDArray[np.float32]
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Stain:
    """Optical densities of a field; natural logarithms, 0 in the glass."""

    density: Floats
    """float32 [H, W, 3] of red, green and blue, 0 or more."""
    chromatin: Floats
    """float32 [H, W]: density of the stain of nuclei, near 0 in red cells however many lie over each other."""
    red_cells: float
    """Density of red cells: the length of that of the three channels."""

    @property
    def least_chromatin(self) -> float:
        """The least of a nucleus: stains that are strong are so in all cells, but not in proportion."""
        return _LEAST_CHROMATIN * float(np.sqrt(self.red_cells))


def stain_of(field: Pictures) -> Stain:
    """Measure a field, uint8 [H, W, 3].

    Chromatin is what tells the stain of nuclei from red cells best: Fisher's linear discriminant (1936) between the
    colour of red cells, found in the field itself, and that of chromatin, which differs less between laboratories. Red
    cells vary in their own direction, as they are thin or lie over each other; noise varies in all.
    """
    density = np.maximum(_surface(field) - _log(field), 0)
    red_cells = _red_cells(density).astype(np.float64)
    length = float(np.linalg.norm(red_cells))
    away = _CHROMATIN_DENSITY * _CHROMATIN - red_cells
    along = _AMOUNT**2 * (red_cells @ away) / (_NOISE**2 + (_AMOUNT * length) ** 2)
    weights = away - along * red_cells
    weights /= weights @ _CHROMATIN
    return Stain(density, density @ weights.astype(np.float32), length)


def _surface(field: Pictures) -> Floats:
    """The logarithm of the glass in every place, float32 [H, W, 3]."""
    height, width = field.shape[:2]
    shrink = max(1.0, max(height, width) / _SIDE)
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    small = _log(np.asarray(Image.fromarray(field).resize(size, Image.Resampling.BOX)))
    terms = _terms(*small.shape[:2]).reshape(small.shape[0] * small.shape[1], -1)
    colours = small.reshape(-1, 3).astype(np.float64)
    level = colours.mean(1)
    weight = np.ones(len(level))
    ridge = 1e-6 * np.eye(terms.shape[1])
    for _ in range(_ROUNDS):
        weighted = terms.T * weight
        off = level - terms @ np.linalg.solve(weighted @ terms + ridge, weighted @ level)
        weight = np.where(off > 0, _ABOVE, 1 - _ABOVE)
    fitted = terms.T @ terms + ridge, terms.T @ colours
    for near in _NEAR:
        on_it = terms[np.abs(off) < near]
        if len(on_it) >= _LEAST_PIXELS * terms.shape[1]:
            fitted = on_it.T @ on_it + ridge, on_it.T @ colours[np.abs(off) < near]
        off = (colours - terms @ np.linalg.solve(*fitted)).mean(1)
    coefficients = np.linalg.solve(*fitted)
    return (_terms(height, width) @ coefficients).astype(np.float32)


def _terms(height: int, width: int) -> NDArray[np.float64]:
    """The products of powers of x and y in -1 to 1, float64 [H, W, K]."""
    y, x = ((np.arange(count) + 0.5) / count * 2 - 1 for count in (height, width))
    return np.stack(
        [
            y[:, None] ** down * x[None, :] ** across
            for down in range(_DEGREE + 1)
            for across in range(_DEGREE + 1 - down)
        ],
        axis=-1,
    )


def _log(picture: Pictures) -> Floats:
    return np.log(np.maximum(np.arange(256), 1)).astype(np.float32)[picture]


def _red_cells(density: Floats) -> Floats:
    """The density of red cells, float32 [3]: the median of the paler part of all that is stained."""
    mean = density.mean(-1)
    stained = density[mean > max(_STAINED, _otsu(mean) / 2)]
    if len(stained) < _LEAST_SHARE * mean.size:
        return _USUAL_RED_CELLS
    red = stained[:, 0]
    return np.median(stained[red <= np.quantile(red, _RED_CELLS)], axis=0)


def _otsu(values: Floats) -> float:
    return float(threshold_otsu(values)) if values.min() < values.max() else float(values.max())
