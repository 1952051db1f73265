"""Whether a picture shows a whole field of a smear rather than one cell cut out of it.

A cut-out cell lies in the middle, its nucleus fills a third of the picture, and around it is the texture of large red
cells; in a field the texture is finer, dark places lie anywhere, and the middle is like the rest. Fifteen such numbers
go into a logistic regression whose weights are in `field_picture.json` (`benchmarks/field_pictures.py` fits them).
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft

from hemacell.data.images import to_square
from hemacell.data.nucleus import Nucleus, find_nucleus, shrunk

SIDE = 96
"""Side in pixels of the picture that is measured."""
WIDE = 1.15
"""Longer side over the shorter of a file from which on it is no cut-out cell's, if it is also large."""
LARGE = 400
"""Shorter side in pixels of such a file."""

_LAGS = 32  # pixels
_PADDED = SIDE + _LAGS
_CLIPPED = 0.02  # share of the pixels at either end of a channel
_AWAY = 0.75, 0.03  # of the nucleus's diameter, and of the side: what is farther than that from its centre is not of it
_AS_DARK = 0.75
_NO_NUCLEUS = 0.5, 0.05  # distance from the middle and diameter where there is none, in sides
_MOST_OFF = 0.4

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float32]

_Y, _X = ((np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE - 0.5).astype(np.float32)
_MIDDLE, _OUTSIDE = np.hypot(_X, _Y) < 0.12, np.hypot(_X, _Y) > 0.3
_EVERYWHERE = np.ones((SIDE, SIDE), bool)
_LIGHT = np.stack([np.ones_like(_X), _X, _Y, _X * _X, _Y * _Y, _X * _Y]).reshape(6, -1).astype(np.float32)
_LOGS = np.log(np.arange(256, dtype=np.float32) + 8)  # eight more, so that noise in the dark counts little
_FIT_LIGHT = np.linalg.pinv(_LIGHT)


def looks_like_field(
    picture: Pictures, nucleus: Nucleus | None = None, file_size: tuple[int, int] | None = None
) -> bool:
    """Whether a picture shows a field, not one cut-out cell.

    Args:
        picture: uint8 [H, W, 3]; of others than squares the middle is looked at.
        nucleus: of `data.nucleus.find_nucleus` where it was looked for already; it takes most of the time.
        file_size: width and height of the file that the picture was made from. A large one that is not square needs
            less else to be a field.

    Returns:
        True for a field; False where it is not sure, and for pictures of less than `SIDE` / 2 pixels.
    """
    if min(picture.shape[:2]) < SIDE / 2:
        return False
    wide = file_size is not None and min(file_size) >= LARGE and max(file_size) >= WIDE * min(file_size)
    names, center, weights, least, least_wide = _model()
    found = measurements(picture, nucleus)
    evidence = float((np.array([found[name] for name in names]) - center) @ weights)
    return evidence > (least_wide if wide else least)


def measurements(picture: Pictures, nucleus: Nucleus | None = None) -> dict[str, float]:
    """What tells fields from cells, by name; arguments as for `looks_like_field`."""
    small = _small(picture)
    if nucleus is None:
        nucleus = find_nucleus(small)
    channels = _LOGS[np.moveaxis(small, -1, 0)[:2]].reshape(2, -1)
    red, green = (channels - (channels @ _FIT_LIGHT) @ _LIGHT).reshape(2, SIDE, SIDE)
    green = _clipped(green)
    dark = -red
    spread, spread_of_dark = (max(float(channel.std()), 1e-6) for channel in (green, red))
    all_of_it, outside = _correlation(green, _EVERYWHERE), _correlation(green, _OUTSIDE)
    steps = np.abs(np.diff(green, axis=1))[:-1] + np.abs(np.diff(green, axis=0))[:, :-1]
    return {
        **_of_nucleus(nucleus, dark, dark - green),
        "log_half_range": _range(all_of_it, 0.5),
        "log_fifth_range": _range(all_of_it, 0.2),
        "least_correlation": float(all_of_it.min()),
        "log_half_range_outside": _range(outside, 0.5),
        "log_fifth_range_outside": _range(outside, 0.2),
        "least_correlation_outside": float(outside.min()),
        "log_steps": float(np.log(steps.mean() / spread + 1e-6)),
        "log_steps_outside": float(np.log(steps[_OUTSIDE[:-1, :-1]].mean() / spread + 1e-6)),
        "middle_over_outside_red": float(dark[_MIDDLE].mean() - dark[_OUTSIDE].mean()) / spread_of_dark,
        "middle_over_outside_green": float(green[_OUTSIDE].mean() - green[_MIDDLE].mean()) / spread,
    }


def _of_nucleus(nucleus: Nucleus | None, red: Floats, both: Floats) -> dict[str, float]:
    """Its place and size, and how much else in the picture is as dark in red, and in red and green."""
    if nucleus is None:
        off, diameter = _NO_NUCLEUS
        hull, elsewhere = diameter, (0.0, 0.0)
    else:
        x, y = nucleus.center
        off, diameter, hull = float(np.hypot(x - 0.5, y - 0.5)), nucleus.diameter, nucleus.hull_diameter
        away = (_X + 0.5 - x) ** 2 + (_Y + 0.5 - y) ** 2 > (_AWAY[0] * hull + _AWAY[1]) ** 2
        inside = np.asarray(Image.fromarray(nucleus.mask).resize((SIDE, SIDE), Image.Resampling.NEAREST))
        elsewhere = _elsewhere(red, inside, away), _elsewhere(both, inside, away)
    return {
        "off_middle": min(off, _MOST_OFF),
        "off_middle_squared": off**2,
        "log_nucleus": float(np.log(diameter)),
        "log_hull": float(np.log(hull)),
        "elsewhere_red": elsewhere[0],
        "elsewhere": elsewhere[1],
    }


def _elsewhere(dark: Floats, inside: NDArray[np.bool_], away: NDArray[np.bool_]) -> float:
    """The root of the share of what is away from the nucleus that is nearly as dark as it is."""
    if not away.any() or not inside.any():
        return 0.0
    return float(np.sqrt((dark[away] > _AS_DARK * np.median(dark[inside])).mean()))


def _clipped(channel: Floats) -> Floats:
    end = int(_CLIPPED * channel.size)
    low, high = np.partition(channel.ravel(), [end, channel.size - 1 - end])[[end, channel.size - 1 - end]]
    return np.clip(channel, low, high)


def _correlation(channel: Floats, where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Autocorrelation by distance in pixels, float64 [_LAGS + 1], 1 at 0, over pairs of pixels of a part."""
    near, distances, pairs = _pairs(where is _OUTSIDE)
    masked = np.where(where, channel - channel[where].mean(), np.float32(0))
    waves = fft.rfft2(masked, (_PADDED, _PADDED))
    products = fft.irfft2(waves.real**2 + waves.imag**2)
    profile = np.bincount(distances, products[near]) / pairs
    if profile[0] < 1e-9:  # one colour
        return np.eye(1, len(profile))[0]
    return profile / profile[0]


@lru_cache(maxsize=2)
def _pairs(outside: bool) -> tuple[NDArray, NDArray, NDArray]:
    """Which places of an autocorrelation count, their distances, and the pairs of pixels at each distance."""
    step = np.fft.fftfreq(_PADDED, 1 / _PADDED)
    distance = np.hypot(step[:, None], step[None]).round().astype(np.intp)
    near = distance <= _LAGS
    mask = (_OUTSIDE if outside else _EVERYWHERE).astype(np.float32)
    pairs = fft.irfft2(np.abs(fft.rfft2(mask, (_PADDED, _PADDED))) ** 2)
    return near, distance[near], np.bincount(distance[near], pairs[near])


def _range(correlation: NDArray[np.float64], level: float) -> float:
    """Logarithm of the distance, in sides, at which the autocorrelation falls below a level."""
    below = correlation < level
    if not below.any():
        return float(np.log(_LAGS / SIDE))
    at = max(int(np.argmax(below)), 1)
    before, after = correlation[at - 1 : at + 1]
    return float(np.log((at - 1 + (before - level) / max(before - after, 1e-9)) / SIDE))


def _small(picture: Pictures) -> Pictures:
    height, width = picture.shape[:2]
    if height == width >= SIDE:
        return shrunk(picture)
    return to_square(Image.fromarray(picture), SIDE)


@lru_cache(maxsize=1)
def _model() -> tuple[list[str], NDArray[np.float64], NDArray[np.float64], float, float]:
    """Names of the measurements, what is subtracted from each, its weight, and the least evidence of a field."""
    model = json.loads((files(__package__) / "field_picture.json").read_text(encoding="utf-8"))
    weights = model["weights"]
    values = np.array([list(each) for each in weights.values()])
    return list(weights), values[:, 0], values[:, 1], model["least_evidence"], model["least_evidence_wide"]
