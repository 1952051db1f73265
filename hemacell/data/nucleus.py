"""The nucleus of the cell in the middle of a picture: where it is, how large, and its outline.

Chromatin takes red and green light, red cells and eosin take mostly green and blue. So a weighted geometric mean of the
red and the green optical density over the empty glass, turned into the share of light that is absorbed, less a part of
what is absorbed in blue, is high in nuclei whatever the stain. Its three classes (glass, red cells and cytoplasm,
nuclei) are separated by Otsu's method for several thresholds (Liao, Chen and Chung 2001). The share absorbed, unlike
the density, saturates in dark nuclei, which would otherwise make two of the three classes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage.filters import threshold_multiotsu

SIDE = 96
"""Side in pixels of the small picture that the nucleus is searched in; a smaller picture is searched as it is."""
CELL_TO_HULL = 1.46
"""Diameter of a cell over that of the hull of its nucleus; 90 % of the cells of two laboratories: 1.25 to 1.75."""

_GLASS = 0.2  # share of the pixels, the palest, whose median is the colour of the glass
_BLUR = 1.0  # pixels of the small picture
_BINS = 128
_GREEN = 0.7  # weight of the green density, where red and green together have 1
_BLUE = 0.25  # weight of what is absorbed in blue
_LEAST_ABSORBED = 0.1  # by a nucleus, below which there is no stain
_LEAST_AREA = 0.004  # of the small picture: half the diameter of the smallest nuclei of lymphocytes at 0.14
_CENTRAL = 0.25  # spread of the weight of the centre, in sides
_LOBE_AREA = 0.05  # of the main part
_LOBE_STAIN = 0.6  # of what the main part absorbs above the threshold; red cells lie just above it
_LOBE_GAP = 0.8  # of the radius of what is found so far
_DISC = np.hypot(*np.mgrid[-2:3, -2:3]) < 2.3

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Nucleus:
    """A nucleus with all its lobes. Lengths are shares of the picture's side, places are (x, y) from its corner."""

    mask: Bools
    """bool [s, s], s at most `SIDE`: the pixels of the small picture that belong to it."""
    glass: Floats
    """float64 [3], 0 to 255: the colour of the empty glass."""

    @cached_property
    def hull(self) -> Floats:
        """float64 [K, 2], the corners of its convex hull, in order: around the pixels, not only their centres."""
        edge = self.mask ^ ndimage.binary_erosion(self.mask)
        rows, columns = np.nonzero(edge)
        places = np.stack([columns, rows], 1)[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
        places = places.reshape(-1, 2).astype(np.float64)
        return places[ConvexHull(places).vertices] / len(self.mask)

    @cached_property
    def diameter(self) -> float:
        """Diameter of the disc of the same area."""
        return float(np.sqrt(4 / np.pi * self.mask.mean()))

    @cached_property
    def center(self) -> tuple[float, float]:
        """Centroid of the convex hull."""
        after = np.roll(self.hull, -1, axis=0)
        cross = self.hull[:, 0] * after[:, 1] - self.hull[:, 1] * after[:, 0]
        x, y = ((self.hull + after) * cross[:, None]).sum(0) / (3 * cross.sum())
        return float(x), float(y)

    @cached_property
    def hull_diameter(self) -> float:
        """Diameter of the disc of the same area as the convex hull."""
        x, y = self.hull.T
        area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
        return float(np.sqrt(4 / np.pi * area))

    @property
    def cell_diameter(self) -> float:
        """Diameter of the cell around `center`, as far as the nucleus tells it."""
        return CELL_TO_HULL * self.hull_diameter


def find_nucleus(picture: Pictures) -> Nucleus | None:
    """Find the nucleus nearest to the centre of a picture.

    Args:
        picture: uint8 [S, S, 3], a stained cell in the middle of its surroundings.

    Returns:
        The nucleus; None where nothing near the centre is stained like one.
    """
    small = shrunk(picture)
    return nucleus_of(small, glass_colour(small))


def nucleus_of(small: Pictures, glass: Floats) -> Nucleus | None:
    """`find_nucleus` in a picture from `shrunk` over glass of this colour."""
    absorbed = _absorbed(optical_density(small, glass))
    threshold = _threshold(absorbed)
    # What is narrower than the disc is no nucleus.
    mask = ndimage.binary_opening(absorbed > threshold, _DISC)
    if mask.any():
        mask = _with_lobes(mask, absorbed - threshold)
    if mask.mean() < _LEAST_AREA:
        return None
    mask = ndimage.binary_fill_holes(mask)
    return Nucleus(mask, glass)


def shrunk(picture: Pictures) -> Pictures:
    """The picture that is measured: uint8 [s, s, 3] with s = `SIDE`, or the picture itself where it is smaller."""
    if len(picture) <= SIDE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX))


def glass_colour(picture: Pictures) -> Floats:
    """The colour of the empty glass, float64 [3], 0 to 255: the median of the palest fifth of uint8 [H, W, 3]."""
    pixels = picture.reshape(-1, 3)
    lowest = pixels.min(1)
    count = max(1, round(_GLASS * len(pixels)))
    return np.median(pixels[np.argpartition(-lowest.astype(np.int16), count - 1)[:count]], axis=0).astype(np.float64)


def optical_density(picture: Pictures, glass: Floats) -> NDArray[np.float32]:
    """How much light the stain takes: the natural logarithm of glass over pixel, float32 [H, W, 3], 0 or more.

    A pixel has one grey level at least.
    """
    levels = np.log(np.maximum(np.arange(256), 1))
    density = np.log(np.maximum(glass, 1)) - levels[picture]
    return np.maximum(density, 0).astype(np.float32)


def _absorbed(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """What chromatin absorbs in each place, float32 [H, W], at most 1, slightly blurred."""
    red, green, blue = np.moveaxis(density, -1, 0)
    chromatin = red ** (1 - _GREEN) * green**_GREEN
    absorbed = (1 - np.exp(-chromatin)) - _BLUE * (1 - np.exp(-blue))
    return ndimage.gaussian_filter(absorbed, _BLUR * len(density) / SIDE)


def _threshold(absorbed: NDArray[np.float32]) -> float:
    """The lower end of the highest of three classes."""
    try:
        highest = float(threshold_multiotsu(absorbed, 3, nbins=_BINS)[-1])
    except ValueError:  # fewer than three values in the whole picture
        return float("inf")
    return max(highest, _LEAST_ABSORBED)


def _with_lobes(mask: Bools, excess: NDArray[np.float32]) -> Bools:
    """The part that is darkest near the centre, and those that are close to it, as dark, and not small.

    Lobes are added nearest first, so that a row of them is followed.
    """
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if count == 1:
        return mask
    numbers = np.arange(1, count + 1)
    areas, means = ndimage.sum_labels(mask, parts, numbers), ndimage.mean(excess, parts, numbers)
    main = int(np.argmax(ndimage.sum_labels(_central(len(mask)) * excess, parts, numbers)))
    lobes = set(np.flatnonzero((areas >= _LOBE_AREA * areas[main]) & (means >= _LOBE_STAIN * means[main]))) - {main}
    found = parts == main + 1
    while lobes:
        gaps = ndimage.minimum(ndimage.distance_transform_edt(~found), parts, numbers)
        nearest = min(lobes, key=gaps.__getitem__)
        if gaps[nearest] > _LOBE_GAP * np.sqrt(found.sum() / np.pi):
            break
        found |= parts == nearest + 1
        lobes.remove(nearest)
    return found


def _central(side: int) -> Floats:
    """The weight of each place, float64 [side, side]: 1 in the centre."""
    place = (np.arange(side) + 0.5) / side - 0.5
    weight = np.exp(-0.5 * np.square(place / _CENTRAL))
    return weight[:, None] * weight
