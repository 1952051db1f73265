"""A picture as classifiers see it: the cell in the middle, at the scale of its laboratory, over white glass.

Laboratories differ in magnification, in how tightly cells are cut out, in the colour of their light, and in how dark
they stain. The centre is each picture's own, the scale its laboratory's (`hemacell.framing.site`). Pixels are divided
by the colour of the picture's glass, which is what a microscopist's white balance does. Optical densities are
multiplied, for each colour channel, so that the laboratory's nuclei are as dark as those of the training.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemacell.framing.description import MARGIN, Framing, Site
from hemacell.framing.site import Measured, measured

FRAMING_VERSION = 1
"""Raise it whenever the same pictures would be framed in another way."""
MOST_GAIN = 4.5
"""Of optical densities: noise in the palest stains is not enlarged further."""
NO_NUCLEUS = "no nucleus is found: the middle of the picture is used"
CUT_OFF = "the nucleus is cut off at the border of the picture"
TWO_NUCLEI = "two nuclei are in the picture: the one nearer to the middle is used"

Picture = NDArray[np.uint8]


class Framed(NamedTuple):
    """A picture for a classifier."""

    pixels: Picture
    """uint8 [S, S, 3]"""
    why: str = ""
    """What is wrong with it; '' where the cell was found."""
    remark: str = ""
    """What else is to be said of it, such as that its scale is uncertain."""


class Window(NamedTuple):
    """A square part of a picture, which may reach over its border; lengths in pixels of the file."""

    left: float
    top: float
    side: float


def window_of(size: tuple[int, int], center: tuple[float, float] | None, site: Site, framing: Framing) -> Window:
    """The part of a picture that is framed: around the nucleus, or around its middle where none is found.

    Args:
        size: (width, height) in pixels.
        center: of the nucleus, as in `Measured`.
        site: the picture's laboratory.
        framing: how much of the surroundings is shown.
    """
    square = min(size)
    x, y = center or (0.5, 0.5)
    side = framing.field * MARGIN * site.share(square) * square
    left = (size[0] - square) / 2 + x * square - side / 2
    top = (size[1] - square) / 2 + y * square - side / 2
    return Window(left, top, side)


def frame(image: Image.Image, site: Site, framing: Framing, size: int, known: Measured | None = None) -> Framed:
    """Frame an RGB image.

    Args:
        image: of any size, a cell near its middle.
        site: its laboratory.
        framing: how.
        size: side of the result, in pixels.
        known: what `measured` gave for this image; measured here where it is None.
    """
    found = known or measured(image)
    pixels = cut(image, window_of(image.size, found.center, site, framing), size)
    glass = np.asarray(found.glass if framing.glass else (255, 255, 255))
    return Framed(recoloured(pixels, glass, stain_gain(site, framing)), _flaw(found))


def _flaw(found: Measured) -> str:
    if found.center is None:
        return NO_NUCLEUS
    return CUT_OFF if found.is_cut_off else TWO_NUCLEI if found.has_neighbour else ""


def cut(image: Image.Image, window: Window, size: int) -> Picture:
    """The part of an image as uint8 [size, size] or [size, size, C], bilinear with antialiasing.

    What lies outside of the image mirrors it.
    """
    if (factor := int(window.side / size / 2)) > 1:  # bounds the time and memory of large pictures
        image = image.reduce(factor)
        window = Window(*(value / factor for value in window))
    reach = np.ceil(window.side / size)  # of the filter, where it shrinks
    starts = [int(np.floor(value - reach)) for value in (window.left, window.top)]
    ends = [int(np.ceil(value + window.side + reach)) for value in (window.left, window.top)]
    columns, rows = (
        _mirrored(np.arange(start, end), length) for start, end, length in zip(starts, ends, image.size, strict=True)
    )
    inner = np.asarray(image.crop((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)))
    # one axis at a time: whole rows are copied, in a ninth of the time that np.ix_ takes
    around = Image.fromarray(inner.take(rows - rows.min(), 0).take(columns - columns.min(), 1))
    x, y = window.left - starts[0], window.top - starts[1]
    box = (x, y, x + window.side, y + window.side)
    return np.asarray(around.resize((size, size), Image.Resampling.BILINEAR, box=box))


def cut_mask(mask: NDArray[np.bool_], window: Window, size: int) -> NDArray[np.float32]:
    """The part of a mask, bool [H, W], as float32 [size, size]: the share of each pixel inside; 0 outside of it."""
    left, top = int(np.floor(window.left)), int(np.floor(window.top))
    side = int(np.ceil(window.side)) + 1
    around = Image.fromarray(mask.astype(np.float32)).crop((left, top, left + side, top + side))
    x, y = window.left - left, window.top - top
    box = (x, y, x + window.side, y + window.side)
    return np.asarray(around.resize((size, size), Image.Resampling.BOX, box=box))


def stain_gain(site: Site, framing: Framing) -> NDArray[np.float64]:
    """By what the optical densities of a laboratory are multiplied, float64 [3], at most a factor of `MOST_GAIN`."""
    if framing.density is None:
        return np.ones(3)
    return np.clip(np.divide(framing.density, site.density), 1 / MOST_GAIN, MOST_GAIN)


def recoloured(pixels: Picture, glass: NDArray[np.floating], gain: NDArray[np.float64]) -> Picture:
    """Pixels over white glass, with other optical densities.

    Args:
        pixels: uint8 [..., 3].
        glass: its colour [3], 0 to 255, by which pixels are divided; what is brighter becomes white.
        gain: of the densities [3].
    """
    share = np.arange(256)[:, None] / np.maximum(glass, 1)
    table = np.round(255 * np.minimum(share, 1) ** gain).astype(np.uint8)
    row = Image.fromarray(pixels.reshape(1, -1, 3))  # Pillow looks levels up faster than numpy
    return np.asarray(row.point(table.T.ravel().tolist())).reshape(pixels.shape)


def _mirrored(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Places along a side of `length` pixels; those outside are mirrored at the border, as often as it takes."""
    inside = places % (2 * length)
    return np.minimum(inside, 2 * length - 1 - inside)
