"""A laboratory, or site: how large its cells are and how dark its stain, from its pictures.

The scale is the median diameter of the nuclei. A picture's own nucleus would be a poor scale: lymphocytes would look as
large as monocytes, and their size is what tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemacell.data.images import to_square
from hemacell.data.nucleus import SIDE, glass_colour, nucleus_of, optical_density
from hemacell.framing.description import Site, Unit

_WITHIN = 0.2  # standard deviation of the logarithm of nuclei's diameters in a laboratory (`benchmarks/scale.py`)
_BETWEEN = 0.35  # of the laboratories' medians: 0.2 in four; cells cut tightly lie further away
_BATCH = 0.03  # of the medians of one laboratory's pictures, as the mix of cells differs
_DENSITY_WITHIN, _DENSITY_BETWEEN, _DENSITY_BATCH = 0.3, 0.5, 0.05  # the same of densities of nuclei
_MEDIAN = np.sqrt(np.pi / 2)  # standard error of a median over that of a mean, of normally distributed values
_ENOUGH = 8  # nuclei, from which on the spread of this laboratory is used, and pixels are compared with shares
_CLEARLY = 0.8  # times the spread in shares: pixels are the laboratory's unit
_STEP = 0.02  # of the logarithm: a few pictures more leave the scale as it is, and with it all that is stored
LEAST_DENSITY = 0.02
_TWO_SCALES = 1.55  # times as large; the halves of one laboratory's nuclei differ by a factor of 1.23 to 1.45
_GAP = 2.4  # and by so many standard deviations within the halves
_SMALL_GROUP = 0.1  # of the pictures, below which they are single outliers
_NO_DENSITY = (0.0, 0.0, 0.0)


class Measured(NamedTuple):
    """What is measured of one picture: for the scale of its laboratory, and to frame it."""

    center: tuple[float, float] | None
    """(x, y) of the nucleus in sides of the picture's central square, from its corner; None where none is found"""
    diameter: float
    """of the nucleus, in sides of that square; 0 where none is found"""
    glass: tuple[float, float, float]
    """colour of the empty glass, red, green, blue, 0 to 255"""
    density: tuple[float, float, float]
    """mean optical density of the nucleus over that glass, red, green, blue; 0 where none is found"""
    side: int
    """of that square, in pixels of the file"""
    is_cut_off: bool = False
    """whether the nucleus lies on the border of that square"""
    has_neighbour: bool = False
    """whether another nucleus is there that is about as large and dark"""


def measured(image: Image.Image) -> Measured:
    """Measure an RGB image: its nucleus is searched near the centre of its central square."""
    return measured_square(to_square(image, SIDE), min(image.size))


def measured_square(square: NDArray[np.uint8], side: int) -> Measured:
    """Measure the central square of an image, uint8 [SIDE, SIDE, 3], which had `side` pixels."""
    glass = glass_colour(square)
    nucleus = nucleus_of(square, glass)
    if nucleus is None:
        return Measured(None, 0.0, _colour(glass), _NO_DENSITY, side)
    density = optical_density(square[nucleus.mask][None], glass).mean((0, 1))
    flaws = nucleus.is_cut_off, nucleus.has_neighbour
    return Measured(nucleus.center, nucleus.diameter, _colour(glass), _colour(density), side, *flaws)


def _colour(values: NDArray[np.floating]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def estimate_site(pictures: Sequence[Measured], known: Site | None = None) -> Site:
    """Estimate a laboratory's scale and stain from its pictures.

    The scale is the median of the logarithm of diameters, in shares of the picture or in pixels of the file, whichever
    varies less. Of few pictures it is uncertain. Where a laboratory is known, such as that of a training, the pictures
    are taken to be of this one or of another, each with probability 1/2: the nearer their median is to its scale, the
    more its scale counts. So it is with the density of nuclei in each colour channel.

    Args:
        pictures: of one laboratory; those without a nucleus do not count.
        known: a laboratory that they may be of.

    Raises:
        ValueError: no nucleus is found in any of them, and no laboratory is known.
    """
    found = [each for each in pictures if each.center]
    if not found and known is None:
        raise ValueError("no nucleus in any picture")
    if not found:
        assert known is not None
        return known.model_copy(update={"images": 0, "error": _BETWEEN})
    shares = np.log([each.diameter for each in found])
    sides = np.log([each.side for each in found])
    unit = _unit(shares, sides, known)
    logs = shares if unit == "share" else shares + sides
    scale, error = float(np.median(logs)), _standard_error(logs)
    densities = np.log(np.maximum([each.density for each in found], LEAST_DENSITY))
    stain = np.median(densities, axis=0)
    if known is not None:
        same = known.diameter if known.unit == unit else known.share(round(float(np.exp(np.median(sides)))))
        scale, error = _with_known(scale, error, float(np.log(same)), _BATCH, _BETWEEN)
        off = _MEDIAN * _DENSITY_WITHIN / np.sqrt(len(found))
        pairs = zip(stain, np.log(known.density), strict=True)
        stain = np.array([_with_known(own, off, of, _DENSITY_BATCH, _DENSITY_BETWEEN)[0] for own, of in pairs])
    return Site(
        images=len(found),
        diameter=float(f"{np.exp(_STEP * round(scale / _STEP)):.4g}"),
        unit=unit,
        error=float(f"{error:.2g}"),
        density=_colour(np.exp(_STEP * np.round(stain / _STEP)).round(4)),
    )


def _with_known(found: float, error: float, known: float, batch: float, between: float) -> tuple[float, float]:
    """Posterior mean and deviation of a laboratory's value (a logarithm), by that of its pictures and its error.

    A mixture of two normal distributions: around the known laboratory's value, with the deviation `batch`, and of
    laboratories in general, with the deviation `between`.
    """
    same, other = np.hypot(error, batch), np.hypot(error, between)
    apart = found - known
    odds = other / same * np.exp(-0.5 * (apart / same) ** 2 + 0.5 * (apart / other) ** 2)
    weights = np.array([odds / (1 + odds), 1 / (1 + odds)])
    shrunk = np.array([(batch / same) ** 2, (between / other) ** 2])
    means = known + shrunk * apart
    mean = float(weights @ means)
    variance = weights @ (shrunk * error**2 + (means - mean) ** 2)
    return mean, float(np.sqrt(variance))


def two_scales(pictures: Sequence[Measured], site: Site) -> tuple[float, float] | None:
    """The two scales of a laboratory whose pictures were taken at two magnifications: diameters in its unit, or None.

    Small and large cells of one magnification differ by less.
    """
    found = [each for each in pictures if each.center]
    if len(found) < 2 * _ENOUGH:
        return None
    small, large = halves(found, site)
    apart = np.median(large) - np.median(small)
    within = np.sqrt((small.var() * len(small) + large.var() * len(large)) / len(found))
    too_few = min(len(small), len(large)) < _SMALL_GROUP * len(found)
    if too_few or apart < max(np.log(_TWO_SCALES), _GAP * within):
        return None
    return float(np.exp(np.median(small))), float(np.exp(np.median(large)))


def halves(nuclei: Sequence[Measured], site: Site) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The logarithms of the diameters of nuclei, divided where the variance within both parts is least (Otsu 1979).

    Args:
        nuclei: pictures in which one is found, two or more.
        site: their laboratory, in whose unit they are compared.
    """
    logs = np.sort(np.log([each.diameter * (1 if site.unit == "share" else each.side) for each in nuclei]))
    within = [logs[:cut].var() * cut + logs[cut:].var() * (len(logs) - cut) for cut in range(1, len(logs))]
    cut = 1 + int(np.argmin(within))
    return logs[:cut], logs[cut:]


def _unit(shares: NDArray[np.float64], sides: NDArray[np.float64], known: Site | None) -> Unit:
    """Which of both varies less, robustly; where this cannot be seen, the known one's, else shares."""
    if len(shares) < _ENOUGH or np.ptp(sides) == 0:
        return known.unit if known else "share"
    return "pixels" if _spread(shares + sides) < _CLEARLY * _spread(shares) else "share"


def _spread(values: NDArray[np.float64]) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low)


def _standard_error(logs: NDArray[np.float64]) -> float:
    spread = max(float(logs.std()), _WITHIN / 2) if len(logs) >= _ENOUGH else _WITHIN
    return float(_MEDIAN * spread / np.sqrt(len(logs))) if len(logs) > 1 else _WITHIN
