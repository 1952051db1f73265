"""Laboratories that do not exist: known cells as another microscope, stain and camera would show them.

What differs between laboratories is drawn once for each of them: how colours and densities of the stain mix, the
light, flare, resolution, focus, sharpening, colour fringes, noise, compression, vignetting, and how cells are cut out.
A little of it varies from picture to picture. The spread is meant to be wider than that of real laboratories.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

SYNTHETIC_VERSION = 1
"""Raise it whenever the same cell would look otherwise in the same laboratory."""

_RESOLUTIONS = (50, 200)  # pixels that the side of the whole picture has left
_SIDES = (96, 120, 160, 224)  # of the files
_LEAST_SIDE = 32

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SyntheticLaboratory:
    """What all pictures of a laboratory have in common; made by `random_laboratory`."""

    mixing: Floats
    """[3, 3], what becomes of the optical densities in red, green and blue"""
    gain: float
    """of these densities"""
    power: float
    """of them: how pale and dark stains differ"""
    glass: Floats
    """[3], the light, 1 for white"""
    flare: float
    """share of stray light"""
    part: float
    """side of what is cut out, in sides of the given picture"""
    resolution: float
    """pixels that a side of the given picture has left"""
    side: int
    """of the picture's file, in pixels"""
    blur: float
    """standard deviation, in pixels of 1/96 of the side"""
    sharpening: float
    """unsharp masking by the camera; 0 for none"""
    fringe: Floats
    """[2, 2], displacement of red and blue, in pixels"""
    noise: float
    """standard deviation, in grey levels"""
    quality: float
    """of the JPEG file"""
    vignette: float
    """how much darker the corners are, 0 to 1"""
    varying: Floats
    """[4], how much density, its colour, light and blur vary from picture to picture"""

    def picture(self, cell: Picture, glass: Floats, rng: np.random.Generator) -> Picture:
        """A cell as this laboratory would show it.

        Args:
            cell: uint8 [S, S, 3], the central square of a picture.
            glass: colour of its empty glass [3], 0 to 255.
            rng: decides what varies from picture to picture.

        Returns:
            uint8 [side, side, 3].
        """
        cut = self._cut(cell, rng)
        light = self._through_stain(-np.log(np.maximum(cut, 1) / np.maximum(glass, 1)), rng)
        light = self._through_optics(light, rng)
        return self._by_camera(light, rng)

    def _cut(self, cell: Picture, rng: np.random.Generator) -> Picture:
        whole = len(cell)
        side = min(whole, round(whole * self.part * np.exp(rng.normal(0, 0.02))))
        left, top = (round(np.clip((whole - side) / 2 + rng.normal(0, 0.03) * whole, 0, whole - side)) for _ in "xy")
        cut = cell[top : top + side, left : left + side]
        cut = np.rot90(cut[:, ::-1] if rng.random() < 0.5 else cut, int(rng.integers(4)))
        return _resized(cut, min(side, max(_LEAST_SIDE, round(self.resolution * self.part))))

    def _through_stain(self, density: Floats, rng: np.random.Generator) -> Floats:
        varied = np.maximum(density, 0) ** self.power * self.gain * np.exp(rng.normal(0, self.varying[0]))
        mixed = varied @ (self.mixing * np.exp(rng.normal(0, self.varying[1], 3)))
        return np.exp(-np.maximum(mixed, -0.1))

    def _through_optics(self, light: Floats, rng: np.random.Generator) -> Floats:
        side = len(light)
        blur = max(0.0, self.blur + rng.normal(0, self.varying[3])) * side / 96
        light = ndimage.gaussian_filter(light, (blur, blur, 0)) if blur > 0.2 else light
        light = (1 - self.flare) * light + self.flare
        if self.fringe.any():
            red, blue = (_moved(light[..., channel], by) for channel, by in zip((0, 2), self.fringe, strict=True))
            light = np.stack([red, light[..., 1], blue], -1)
        if self.vignette:
            across, down = rng.normal(0, 0.4, 2)
            place = (np.arange(side) + 0.5) / side - 0.5
            distance = (place[:, None] - down) ** 2 + (place[None] - across) ** 2
            light = light * (1 - self.vignette * np.minimum(1, 2 * distance))[..., None]
        return light

    def _by_camera(self, light: Floats, rng: np.random.Generator) -> Picture:
        if self.sharpening:
            light = light + self.sharpening * (light - ndimage.gaussian_filter(light, (1.2, 1.2, 0)))
        balance = np.exp(rng.normal(0, 0.5 * self.varying[2], 3) + rng.normal(0, self.varying[2]))
        levels = 255 * light * self.glass * balance + rng.normal(0, self.noise, light.shape)
        pixels = np.clip(levels, 0, 255).round().astype(np.uint8)
        if rng.random() < 0.5:  # compressed, and scaled afterwards
            return _resized(_compressed(pixels, self.quality), self.side)
        return _compressed(_resized(pixels, self.side), self.quality)


def random_laboratory(number: int) -> SyntheticLaboratory:
    """The laboratory of a number; equal numbers give equal laboratories."""
    rng = np.random.default_rng([number, 7])

    def sometimes(share: float, value: float) -> float:
        return value if rng.random() < share else 0.0

    return SyntheticLaboratory(
        mixing=np.diag(np.exp(rng.normal(0, 0.3, 3))) + rng.normal(0, 0.1, (3, 3)) * (1 - np.eye(3)),
        gain=float(np.exp(rng.uniform(-1.2, 0.6))),
        power=float(np.exp(rng.normal(0, 0.12))),
        glass=np.clip(rng.uniform(0.5, 1.05) * np.exp(rng.normal(0, 0.08, 3)), 0.25, 1.15),
        flare=sometimes(0.5, rng.uniform(0, 0.3)),
        part=rng.uniform(0.55, 1.0),
        resolution=float(np.exp(rng.uniform(*np.log(_RESOLUTIONS)))),
        side=int(rng.choice(_SIDES)),
        blur=abs(rng.normal(0, 0.6)),
        sharpening=sometimes(0.3, rng.uniform(0.5, 2.5)),
        fringe=rng.normal(0, 0.7, (2, 2)) if rng.random() < 0.3 else np.zeros((2, 2)),
        noise=abs(rng.normal(0, 3)),
        quality=rng.uniform(35, 97),
        vignette=sometimes(0.35, rng.uniform(0, 0.35)),
        varying=np.abs(rng.normal(0, (0.15, 0.06, 0.05, 0.3))),
    )


def _moved(channel: Floats, by: Floats) -> Floats:
    return ndimage.shift(channel, by, order=1, mode="nearest")


def _resized(picture: Picture, side: int) -> Picture:
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((side, side), Image.Resampling.BILINEAR))


def _compressed(picture: Picture, quality: float) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=round(quality))
    return np.asarray(Image.open(file))
