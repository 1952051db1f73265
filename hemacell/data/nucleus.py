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
_ANOTHER_AREA = 0.5  # of the nucleus, from which on what is as dark is that of another cell
_CUT = 0.6  # of the diameter, on the border: the chord of a disc that lacks 5 % of its area
_NEAR = 0.45  # diameters between centre and border; red cells that are taken for lobes leave the centre where it is

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
    has_neighbour: bool = False
    """Whether the picture shows another nucleus that is about as large and dark."""

    @property
    def is_cut_off(self) -> bool:
        """Whether much of it lies on the border of the picture, and its centre is as near as that makes it."""
        on_border = self.mask[[0, -1]].sum() + self.mask[1:-1, [0, -1]].sum()
        away = min(*self.center, *(1 - place for place in self.center))
        return bool(on_border > _CUT * self.diameter * len(self.mask) and away < _NEAR * self.diameter)

    @cached_property
    def hull(self) -> Floats:
        """float64 [K, 2], the corners of its convex hull, in order: around the pixels, not only their centres."""
        # The first and the last pixel of each row are enough.
        rows = np.flatnonzero(self.mask.any(1))
        first = self.mask[rows].argmax(1)
        end = len(self.mask) - self.mask[rows, ::-1].argmax(1)
        columns = np.concatenate([first, first, end, end])
        places = np.stack([columns, np.tile(np.concatenate([rows, rows + 1]), 2)], 1).astype(np.float64)
        return places[ConvexHull(places).vertices] / len(self.mask)

    @cached_property
    def box(self) -> tuple[slice, slice]:
        """The rows and columns of `mask` that it lies in."""
        (found,) = ndimage.find_objects(self.mask.view(np.uint8))
        return found

    @cached_property
    def diameter(self) -> float:
        """Diameter of the disc of the same area."""
        return float(np.sqrt(4 / np.pi * self.mask.mean()))

    @property
    def center(self) -> tuple[float, float]:
        """Centroid of the convex hull."""
        return self._hull_moments[1:]

    @cached_property
    def hull_diameter(self) -> float:
        """Diameter of the disc of the same area as the convex hull."""
        return float(np.sqrt(4 / np.pi * self._hull_moments[0]))

    @cached_property
    def _hull_moments(self) -> tuple[float, float, float]:
        """Area and centroid (x, y) of the hull."""
        x, y = self.hull.T
        next_x, next_y = np.append(x[1:], x[0]), np.append(y[1:], y[0])
        cross = x * next_y - next_x * y
        twice = cross.sum()
        return (
            float(abs(twice) / 2),
            float((x + next_x) @ cross / (3 * twice)),
            float((y + next_y) @ cross / (3 * twice)),
        )

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
    absorbed = _absorbed(small, glass)
    threshold = _threshold(absorbed)
    # What is narrower than the disc is no nucleus.
    mask = _opened(absorbed > threshold)
    neighbour = False
    if mask.any():
        mask, neighbour = _with_lobes(mask, absorbed - threshold)
    if mask.mean() < _LEAST_AREA:
        return None
    return Nucleus(_filled(mask), glass, neighbour)


def shrunk(picture: Pictures) -> Pictures:
    """The picture that is measured: uint8 [s, s, 3] with s = `SIDE`, or the picture itself where it is smaller."""
    if len(picture) <= SIDE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BOX))


def glass_colour(picture: Pictures) -> Floats:
    """The colour of the empty glass, float64 [3], 0 to 255: the median of the palest fifth of uint8 [H, W, 3]."""
    red, green, blue = np.moveaxis(picture, -1, 0)
    lowest = np.minimum(np.minimum(red, green), blue)
    count = max(1, round(_GLASS * lowest.size))
    paler = np.cumsum(np.bincount(lowest.ravel(), minlength=256)[::-1])[::-1]  # pixels of each level and above
    palest = lowest >= np.flatnonzero(paler >= count)[-1]
    return np.array([_median(channel[palest]) for channel in (red, green, blue)])


def optical_density(picture: Pictures, glass: Floats) -> NDArray[np.float32]:
    """How much light the stain takes: the natural logarithm of glass over pixel, float32 [H, W, 3], 0 or more.

    A pixel has one grey level at least.
    """
    density = np.empty(picture.shape, np.float32)
    for channel, of_level in enumerate(_densities(glass)):
        density[..., channel] = of_level[picture[..., channel]]
    return density


def _densities(glass: Floats) -> NDArray[np.float32]:
    """The optical density of each grey level, float32 [3, 256], over glass of this colour."""
    levels = np.log(np.maximum(np.arange(256), 1))
    return np.maximum(np.log(np.maximum(glass, 1))[:, None] - levels, 0).astype(np.float32)


def _median(levels: Pictures) -> float:
    """The median of grey levels uint8 [N]; counted, as that is several times as fast as sorting."""
    below = np.cumsum(np.bincount(levels))
    return float(np.searchsorted(below, [(below[-1] - 1) // 2, below[-1] // 2], side="right").mean())


def _absorbed(picture: Pictures, glass: Floats) -> NDArray[np.float32]:
    """What chromatin absorbs in each place, float32 [H, W], at most 1, slightly blurred."""
    red, green, blue = _densities(glass)
    # powers are computed once for each grey level
    chromatin = (red ** (1 - _GREEN))[picture[..., 0]] * (green**_GREEN)[picture[..., 1]]
    absorbed = (1 - np.exp(-chromatin)) - (_BLUE * (1 - np.exp(-blue)))[picture[..., 2]]
    return ndimage.gaussian_filter(absorbed, _BLUR * len(picture) / SIDE)


def _threshold(absorbed: NDArray[np.float32]) -> float:
    """The lower end of the highest of three classes."""
    low, high = float(absorbed.min()), float(absorbed.max())
    width = max(high - low, 1e-6) / _BINS
    counts = np.bincount(((absorbed - low) / width).astype(np.intp).clip(0, _BINS - 1).ravel(), minlength=_BINS)
    try:
        highest = float(threshold_multiotsu(classes=3, hist=(counts, low + (np.arange(_BINS) + 0.5) * width))[-1])
    except ValueError:  # fewer than three values in the whole picture
        return float("inf")
    return max(highest, _LEAST_ABSORBED)


def framed(mask: Bools, width: int) -> Bools:
    """A mask with a frame of False; `numpy.pad` takes many times as long for a small one."""
    framed = np.zeros((mask.shape[0] + 2 * width, mask.shape[1] + 2 * width), bool)
    framed[width:-width, width:-width] = mask
    return framed


def _opened(mask: Bools) -> Bools:
    """`scipy.ndimage.binary_opening` of a mask by a disc of five pixels, a square without its corners.

    The disc is two rectangles on each other, so that runs of three and of five pixels do, in a fifth of the time.
    """
    eroded = _over_disc(framed(mask, 2), np.logical_and)
    return _over_disc(framed(eroded, 2), np.logical_or)


def _over_disc(mask: Bools, join: np.ufunc) -> Bools:
    """The pixels of the disc around each pixel, joined; the result lacks two pixels on each side."""
    three = join(join(mask[:-2], mask[1:-1]), mask[2:])
    five = join(join(three[:-2], three[1:-1]), three[2:])
    narrow = three[1:-1]
    wide = join(join(narrow[:, :-4], narrow[:, 1:-3]), join(join(narrow[:, 2:-2], narrow[:, 3:-1]), narrow[:, 4:]))
    return join(wide, join(join(five[:, 1:-3], five[:, 2:-2]), five[:, 3:-1]))


def _with_lobes(mask: Bools, excess: NDArray[np.float32]) -> tuple[Bools, bool]:
    """The part that is darkest near the centre, and those that are close to it, as dark, and not small.

    Lobes are added nearest first, so that a row of them is followed. Also whether one of the others is about as large.
    """
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if count == 1:
        return mask, False
    flat = parts.ravel()
    areas = np.bincount(flat)[1:]
    means = np.bincount(flat, excess.ravel())[1:] / areas
    main = int(np.argmax(np.bincount(flat, (_central(len(mask)) * excess).ravel())[1:]))
    lobes = set(np.flatnonzero((areas >= _LOBE_AREA * areas[main]) & (means >= _LOBE_STAIN * means[main]))) - {main}
    found = parts == main + 1
    while lobes:
        away = ndimage.distance_transform_edt(~found)
        gaps = {lobe: away[parts == lobe + 1].min() for lobe in lobes}
        nearest = min(gaps, key=gaps.__getitem__)
        if gaps[nearest] > _LOBE_GAP * np.sqrt(found.sum() / np.pi):
            break
        found |= parts == nearest + 1
        lobes.remove(nearest)
    return found, any(areas[lobe] >= _ANOTHER_AREA * found.sum() for lobe in lobes)


def _filled(mask: Bools) -> Bools:
    """A mask without its holes."""
    (box,) = ndimage.find_objects(mask.view(np.uint8))
    outside, _ = ndimage.label(~framed(mask[box], 1))
    filled = mask.copy()
    filled[box] = (outside != outside[0, 0])[1:-1, 1:-1]
    return filled


def _central(side: int) -> Floats:
    """The weight of each place, float64 [side, side]: 1 in the centre."""
    place = (np.arange(side) + 0.5) / side - 0.5
    weight = np.exp(-0.5 * np.square(place / _CENTRAL))
    return weight[:, None] * weight
