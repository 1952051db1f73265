"""The nucleus and the cell in the middle of a picture in numbers that a person can read.

What a haematologist looks at: how large the nucleus is, whether it is round, indented or in lobes, how dark and how
coarse its chromatin is, and what colour and how granular the cytoplasm is around it. `MEASUREMENTS` lists the numbers.
The nucleus is found (`hemacell.data.nucleus`); the cytoplasm is what lies in a disc around its convex hull.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import perimeter_crofton

from hemacell.data.nucleus import SIDE, Bools, Floats, Nucleus, Pictures, framed, nucleus_of, optical_density, shrunk

VERSION = 2
"""Raise it whenever a picture would get other numbers, or an encoder makes another embedding of them: what is stored of
an older version is then computed again."""
WHITE = np.full(3, 255.0)
"""The colour of the glass in pictures that were divided by it."""

_FINE = 1.5  # blur in pixels of the small picture; what it takes away is fine structure
_LOBE_DEPTH = 0.08  # of the largest thickness: a lobe is thicker by that than the neck to the next one
_LOBE_LEVELS = np.arange(0.2, 0.85, 0.15)  # of the largest thickness, at which the nucleus is cut
_STAINED = 0.12  # optical density in any channel from which a place near the nucleus is a part of the cell
_REACH = 1.2  # of the radius of the cell's disc: how far its stained places may lie
_FEW = 0.02  # of the nucleus: pixels that stand for a part that has hardly any of its own
_DARK = 0.6  # of the nucleus in green, from which a place of the cytoplasm is dark
_EIGHT = np.ones((3, 3))
_EIGHT_FLAT = np.pad(_EIGHT[None], ((1, 1), (0, 0), (0, 0)))  # neighbours in the same plane
_LEAST_DENSITY = 0.05  # in ratios of densities, so that noise on empty glass makes no colour

Densities = NDArray[np.float32]


class Measurement(NamedTuple):
    """What one of the numbers is."""

    description: str
    formula: str
    unit: str
    """`side` is the side of the picture, `OD` a natural optical density; '' for a ratio or a count."""
    range: str
    """Of usual pictures; nothing is clipped."""
    source: str = ""


def _each_channel(name: str, description: str) -> dict[str, Measurement]:
    return {
        f"{name}_{channel}": Measurement(
            f"{description}, in {channel}", "mean ln(glass / pixel)", "OD", "0 to 5.5", "Beer and Lambert's law"
        )
        for channel in ("red", "green", "blue")
    }


MEASUREMENTS: dict[str, Measurement] = {
    "nucleus_found": Measurement("whether there is a nucleus; all others are 0 without one", "", "", "0 or 1"),
    "nucleus_diameter": Measurement("of the disc with the area A of the nucleus", "√(4A / π)", "side", "0 to 1.13"),
    "hull_diameter": Measurement("of the disc with the area H of its convex hull", "√(4H / π)", "side", "0 to 1.13"),
    "nc_ratio": Measurement("N:C ratio by area; C: what is stained in a disc around the hull", "A / C", "", "0 to 1"),
    "solidity": Measurement("how convex the nucleus is; low for lobes and indentations", "A / H", "", "0 to 1"),
    "roundness": Measurement(
        "form factor, 1 for a disc; P: perimeter by Crofton's formula", "4πA / P²", "", "0 to 1.05", "Cox 1927"
    ),
    "eccentricity": Measurement(
        "of the ellipse of the same second moments, with axes a > b", "√(1 − b² / a²)", "", "0 to 1", "Hu 1962"
    ),
    "lobes": Measurement(
        "parts into which the nucleus falls while it is eroded, each thicker than its neck by at least 0.08 T",
        "most parts of {2D > t}, t = 0.2 to 0.8 T",
        "",
        "1 to 6",
        "h-maxima: Soille 2003",
    ),
    "main_part": Measurement("the largest part that is separate in the picture, area A₁", "A₁ / A", "", "0 to 1"),
    "thickness": Measurement(
        "the largest thickness T, 1 for a disc; D: distance to the edge", "2 max D / √(4A / π)", "", "0 to 1"
    ),
    "mean_thickness": Measurement("the mean thickness, 1 for a disc", "6 mean D / √(4A / π)", "", "0 to 1"),
    "asymmetry": Measurement(
        "distance d between the centroids of nucleus and hull; high for a horseshoe", "d / √(4H / π)", "", "0 to 0.2"
    ),
    **_each_channel("nucleus", "optical density of the nucleus"),
    **_each_channel("cytoplasm", "of the disc of the cell without the nucleus"),
    **_each_channel("gap", "of the hull without the nucleus: the cytoplasm between lobes"),
    "nucleus_red_ratio": Measurement("hue of the nucleus", "red / green density", "", "0 to 2"),
    "gap_red_ratio": Measurement("hue of the cytoplasm: low for eosin", "red / green density", "", "0 to 2"),
    "gap_blue_ratio": Measurement("hue of the cytoplasm: high for eosin", "blue / green density", "", "0 to 2"),
    "contrast": Measurement(
        "how much denser the nucleus is than the disc, in green", "ln(nucleus / cytoplasm)", "", "0 to 4"
    ),
    "nucleus_texture": Measurement("spread of the green density in the nucleus", "deviation / mean", "", "0 to 1"),
    "nucleus_grain": Measurement(
        "how coarse its chromatin is: green less a blur of 1.5 px of 96 in the nucleus",
        "deviation / mean",
        "",
        "0 to 0.5",
    ),
    "cytoplasm_texture": Measurement("spread of green in the stained cytoplasm", "deviation / mean", "", "0 to 1.5"),
    "cytoplasm_grain": Measurement(
        "how granular the stained cytoplasm is: green less the same blur", "deviation / mean", "", "0 to 1"
    ),
    "cytoplasm_dark": Measurement(
        "stained cytoplasm with at least 0.6 of the green density of the nucleus", "share of area", "", "0 to 1"
    ),
}
"""Name -> what it is, in the order of `measure_morphology`."""


def measure_morphology(picture: Pictures, glass: Floats = WHITE) -> NDArray[np.float32]:
    """Measure the nucleus and the cell in the middle of a picture.

    Args:
        picture: uint8 [S, S, 3]; it is measured at `hemacell.data.nucleus.SIDE` pixels, or its own size if smaller.
        glass: float64 [3], 0 to 255: the colour of the empty glass.

    Returns:
        float32 [len(MEASUREMENTS)], in that order; always finite.
    """
    small = shrunk(picture)
    return morphology_of(small, nucleus_of(small, glass))


def morphology_of(small: Pictures, nucleus: Nucleus | None) -> NDArray[np.float32]:
    """`measure_morphology` of a picture from `shrunk`, whose nucleus was found before."""
    if nucleus is None:
        return np.zeros(len(MEASUREMENTS), np.float32)
    found = {"nucleus_found": 1.0, **_shape(nucleus), **_stain(_parts(small, nucleus))}
    return np.array([found[name] for name in MEASUREMENTS], np.float32)


def measurement_table() -> str:
    """`MEASUREMENTS` as a table in Markdown."""
    head = "| number | what it is | formula | unit | range | source |\n| --- | --- | --- | --- | --- | --- |\n"
    return head + "\n".join(
        f"| `{name}` | {each.description} | {each.formula} | {each.unit} | {each.range} | {each.source} |"
        for name, each in MEASUREMENTS.items()
    )


def _shape(nucleus: Nucleus) -> dict[str, float]:
    """Numbers of the outline."""
    box, side = nucleus.box, len(nucleus.mask)
    mask = framed(nucleus.mask[box], 1)
    area = np.count_nonzero(mask)
    diameter = np.sqrt(4 / np.pi * area)
    depth = ndimage.distance_transform_edt(mask)
    parts, _ = ndimage.label(mask, _EIGHT)
    rows, columns = np.nonzero(mask)
    # places of the picture: the frame and half a pixel are taken off
    y, x = (rows.mean() - 0.5 + box[0].start) / side, (columns.mean() - 0.5 + box[1].start) / side
    return {
        "nucleus_diameter": nucleus.diameter,
        "hull_diameter": nucleus.hull_diameter,
        "solidity": (nucleus.diameter / nucleus.hull_diameter) ** 2,
        "roundness": 4 * np.pi * area / perimeter_crofton(mask) ** 2,
        "eccentricity": _eccentricity(rows, columns),
        "lobes": _lobes(depth),
        "main_part": np.bincount(parts.ravel())[1:].max() / area,
        # a pixel at the edge is half a pixel from it
        "thickness": (2 * depth.max() - 1) / diameter,
        "mean_thickness": 6 * (depth.sum() / area - 0.5) / diameter,
        "asymmetry": np.hypot(x - nucleus.center[0], y - nucleus.center[1]) / nucleus.hull_diameter,
    }


def _eccentricity(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> float:
    y, x = rows - rows.mean(), columns - columns.mean()
    yy, xx, xy = y @ y / len(y), x @ x / len(x), x @ y / len(x)
    spread = np.hypot(xx - yy, 2 * xy)
    return float(np.sqrt(2 * spread / (xx + yy + spread)))


def _lobes(depth: Floats) -> int:
    """How many parts there are at most while the nucleus is eroded, from the distances to its edge."""
    share = depth / depth.max()
    levels = _LOBE_LEVELS[:, None, None]
    parts, _ = ndimage.label(share > levels, _EIGHT_FLAT)  # all levels in one call
    deep = share >= levels + _LOBE_DEPTH
    return max(int(np.count_nonzero(np.bincount(one[inside]))) for one, inside in zip(parts, deep, strict=True))


@dataclass(frozen=True, eq=False)
class _Parts:
    """The surroundings of a nucleus, cut out of the small picture: masks bool [h, w]."""

    density: Densities
    """float32 [3, h, w]"""
    nucleus: Bools
    cytoplasm: Bools
    """the disc of the cell without the nucleus"""
    gap: Bools
    """the hull without the nucleus"""
    stained: Bools
    """what is stained in a slightly larger disc, with the nucleus"""
    blur: float
    """in pixels"""


def _parts(small: Pictures, nucleus: Nucleus) -> _Parts:
    side = len(small)
    (x, y), radius = np.multiply(nucleus.center, side), nucleus.cell_diameter * side / 2
    box = tuple(
        slice(max(0, int(min(place - _REACH * radius, part.start))), int(max(place + _REACH * radius + 1, part.stop)))
        for place, part in zip((y, x), nucleus.box, strict=True)
    )
    mask = nucleus.mask[box]
    down, across = np.ogrid[: mask.shape[0], : mask.shape[1]]
    down, across = down + (box[0].start + 0.5), across + (box[1].start + 0.5)
    away = np.square(down - y) + np.square(across - x)
    density = np.ascontiguousarray(np.moveaxis(optical_density(small[box], nucleus.glass), -1, 0))
    strongest = np.maximum(np.maximum(density[0], density[1]), density[2])
    # the edge of the nucleus is as blurred as the picture
    near = framed(mask, 1)
    outside = ~(mask | near[:-2, 1:-1] | near[2:, 1:-1] | near[1:-1, :-2] | near[1:-1, 2:])
    hull = np.zeros_like(nucleus.mask)
    hull[nucleus.box] = _hull_mask(nucleus)
    return _Parts(
        density,
        mask,
        cytoplasm=outside & (away <= radius**2),
        gap=outside & hull[box],
        stained=mask | ((away <= (_REACH * radius) ** 2) & (strongest > _STAINED)),
        blur=_FINE * side / SIDE,
    )


def _hull_mask(nucleus: Nucleus) -> Bools:
    """The pixels of `nucleus.box` whose centres lie in the hull: on the same side of all its edges."""
    corners = np.rint(nucleus.hull * len(nucleus.mask)).astype(np.float32)  # corners of pixels
    (x, y), (dx, dy) = corners.T[..., None, None], (np.roll(corners, -1, axis=0) - corners).T[..., None, None]
    rows, columns = (np.arange(part.start, part.stop, dtype=np.float32) + 0.5 for part in nucleus.box)
    side = dx * (rows[:, None] - y) - dy * (columns - x)
    return side.min(0) >= 0


def _stain(parts: _Parts) -> dict[str, float]:
    """Numbers of colour and texture."""
    green = parts.density[1]
    plasm = parts.cytoplasm & parts.stained
    fine = _fine(green, [parts.nucleus, plasm], parts.blur)
    # sums over each part, all at once
    values = np.stack([*parts.density, green**2, fine, fine**2, np.ones_like(green)]).reshape(7, -1)
    masks = np.stack([parts.nucleus, parts.cytoplasm, parts.gap, plasm]).reshape(4, -1)
    sums = masks.astype(np.float64) @ values.T.astype(np.float64)
    few = _FEW * sums[0, -1]
    nucleus = sums[0, :3] / sums[0, -1]
    cytoplasm = (sums[1, :3] + few * nucleus) / (sums[1, -1] + few)
    gap = (sums[2, :3] + few * cytoplasm) / (sums[2, -1] + few)
    texture, grain = _variation(sums)
    found: dict[str, float] = {}
    for name, part in (("nucleus", nucleus), ("cytoplasm", cytoplasm), ("gap", gap)):
        found |= {f"{name}_{channel}": value for channel, value in zip(("red", "green", "blue"), part, strict=True)}
    return found | {
        "nc_ratio": sums[0, -1] / np.count_nonzero(parts.stained),
        "nucleus_red_ratio": _ratio(nucleus[0], nucleus[1]),
        "gap_red_ratio": _ratio(gap[0], gap[1]),
        "gap_blue_ratio": _ratio(gap[2], gap[1]),
        "contrast": np.log((nucleus[1] + _LEAST_DENSITY) / (cytoplasm[1] + _LEAST_DENSITY)),
        "nucleus_texture": texture[0],
        "nucleus_grain": grain[0],
        "cytoplasm_texture": texture[3],
        "cytoplasm_grain": grain[3],
        "cytoplasm_dark": np.count_nonzero(plasm & (green > _DARK * nucleus[1])) / max(1, sums[3, -1]),
    }


def _fine(values: NDArray[np.float32], parts: list[Bools], blur: float) -> NDArray[np.float32]:
    """Values less their blur within each part (normalised convolution, Knutsson and Westin 1993); 0 outside of all."""
    weights = np.stack(parts).astype(np.float32)
    blurred = ndimage.gaussian_filter(np.concatenate([values * weights, weights]), (0, blur, blur), truncate=3)
    smooth = blurred[: len(parts)] / np.maximum(blurred[len(parts) :], 1e-6)
    return ((values - smooth) * weights).sum(0)


def _variation(sums: Floats) -> tuple[Floats, Floats]:
    """Deviation over mean of green and of its fine structure, from sums as in `_stain`; 0 for an empty part."""
    _, green, _, green2, fine, fine2 = sums[:, :-1].T / np.maximum(sums[:, -1], 1)
    spread, fine_spread = (
        np.sqrt(np.maximum(squares - mean**2, 0)) for squares, mean in ((green2, green), (fine2, fine))
    )
    return _ratio(spread, green), _ratio(fine_spread, green)


def _ratio(one: Floats, other: Floats) -> Floats:
    return one / (other + _LEAST_DENSITY)


if __name__ == "__main__":
    print(measurement_table())
