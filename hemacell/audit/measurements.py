"""Colour, sharpness and nucleus scale of each image; which images stand out, and which splits, classes or groups do."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hemacell.core.threads import available_cores
from hemacell.data.nucleus import Nucleus, glass_colour, nucleus_of, optical_density, shrunk

MEASURES = {
    "brightness": "mean grey level, 0 to 1",
    "contrast": "standard deviation of the grey level, 0 to 0.5",
    "saturation": "mean saturation (HSV), 0 to 1",
    "hue_spread": "circular variance of the hue, weighted by saturation, 0 (one hue) to 1; 0 without colour",
    "sharpness": "root mean square of the Laplacian over that of the gradient, 0 (out of focus) to about 2.2 (noise)",
    "glass_red": "red of the empty glass, 0 to 1",
    "glass_green": "green of the empty glass, 0 to 1",
    "glass_blue": "blue of the empty glass, 0 to 1",
    "nucleus_red": "mean optical density (natural logarithm) of the nucleus in red, 0 or more",
    "nucleus_green": "the same in green",
    "nucleus_blue": "the same in blue",
    "nucleus_diameter": "of the disc of the same area, in sides of the picture, 0 to 1.13",
    "black": "share of pixels with no channel above 5 of 255, 0 to 1",
    "white": "share of pixels with no channel below 250 of 255, 0 to 1",
}
"""Columns of `measure` that are numbers -> what they are. Those of the nucleus are NaN where none is found."""

OUTLYING = 6.0
"""Robust z beyond which an image is an outlier; of normally distributed values 2 in 10^9 are."""
LEAST_EFFECT = 0.3
"""Cliff's delta beyond which a split, class or group stands out: 0.33 is called medium (Romano et al. 2006)."""

_CHUNK = 256  # pictures in flight: bounds the memory
_LEAST_IMAGES = 20  # of which a spread is estimated
_LEAST_SUMMARISED = 5  # images of a split, class or group, below which there is nothing to summarise
_SIGNIFICANT = 0.001  # after Bonferroni's correction
_NO_COLOUR = 2  # levels between the channels that a JPEG file may add to a grey picture

# The least spread that is meant: of pictures that are all alike, none stands out by a rounding error.
_LEAST_SPREAD = 0.005

_WORDS = {
    "brightness": ("dark", "bright"),
    "contrast": ("flat", "high contrast"),
    "saturation": ("pale colours", "strong colours"),
    "hue_spread": ("few hues", "many hues"),
    "sharpness": ("blurred", "noisy or too sharp"),
    "nucleus_diameter": ("small nucleus", "large nucleus"),
    "black": ("few black pixels", "black areas"),
    "white": ("few white pixels", "white areas"),
}

Progress = Callable[[int, int], None]
Pictures = NDArray[np.uint8]


def measure(pixels: Pictures, progress: Progress | None = None) -> pd.DataFrame:
    """Measure each picture, on all cores.

    Args:
        pixels: uint8 [N, S, S, 3] (a memory map will do).
        progress: called with (pictures done, all pictures).

    Returns:
        N rows in the same order. Columns: those of `MEASURES`, float64, and `grey`, bool: no colour at all.
    """
    rows: list[dict[str, float]] = []
    with ThreadPoolExecutor(available_cores()) as pool:
        for start in range(0, len(pixels), _CHUNK):
            rows += pool.map(_measured, pixels[start : start + _CHUNK])
            if progress:
                progress(len(rows), len(pixels))
    table = pd.DataFrame(rows, columns=[*MEASURES, "grey"])
    return table.astype({**dict.fromkeys(MEASURES, float), "grey": bool})


def outliers(table: pd.DataFrame, by: pd.Series | None = None, threshold: float = OUTLYING) -> pd.DataFrame:
    """Images that are far from the others of their class.

    Distances are robust z-scores, from the median in units of the median absolute deviation of the values on the same
    side of it (times 1.4826), as many of the measures are skewed (double MAD, Rosenmai 2013).

    Args:
        table: of `measure`.
        by: N values, such as class names: an image is compared with those that have its own. Values of fewer than 20
            images are compared with all.
        threshold: a z-score.

    Returns:
        A row for each image and measure beyond the threshold, the furthest first. Columns: `image`, position in the
        table; `measure`; `value`; `median`; `z`, negative below the median; `reason`, such as "blurred: sharpness 0.02,
        median 0.31". A grey picture among coloured ones has the measure `grey`, and z infinity.
    """
    groups = np.zeros(len(table), int) if by is None else pd.factorize(np.asarray(by))[0]
    found = []
    for name in MEASURES:
        values = table[name].to_numpy()
        for rows, against in _compared(groups):
            middle, z = _robust_z(values[rows], values[against])
            for row, far in zip(rows[np.abs(z) > threshold], z[np.abs(z) > threshold], strict=True):
                reason = f"{_word(name, far)}: {name} {values[row]:.3g}, median {middle:.3g}"
                found.append((row, name, values[row], middle, far, reason))
    if len(table) and table["grey"].mean() < 0.5:
        found += [
            (row, "grey", 1.0, 0.0, np.inf, "without colour among coloured pictures")
            for row in np.flatnonzero(table["grey"])
        ]
    columns = ["image", "measure", "value", "median", "z", "reason"]
    return pd.DataFrame(found, columns=columns).sort_values("z", key=np.abs, ascending=False, ignore_index=True)


def differences(table: pd.DataFrame, groups: pd.DataFrame, labels: pd.Series | None = None) -> pd.DataFrame:
    """Each measure per split, class or group, and which of them differ from the rest.

    The effect is Cliff's delta: the chance that an image of this value measures more than one of the rest, less the
    chance that it measures less. With `labels`, it is that of the distances from the median of each image's class, so
    that another mix of classes is no difference. A value stands out where the effect is beyond `LEAST_EFFECT` and the
    test of Mann and Whitney (normal approximation) is significant at 0.001 after Bonferroni's correction. The test
    takes images as independent. Values of fewer than five images are left out.

    Args:
        table: of `measure`, N rows.
        groups: N rows; a column such as `split`, `class` or `group` has a value for each image.
        labels: N class names.

    Returns:
        A row for each column of `groups`, value and measure. Columns: `by`, `value`, `measure`, `images` (that have
        the measure), `low`, `median`, `high` (5, 50 and 95 %), `rest` (median of the others), `effect` (-1 to 1),
        `stands_out` and `reason` ('' or such as "test: brightness higher than the rest (median 0.81, rest 0.72)").
    """
    found = []
    for by in groups:
        numbers, names = _numbered(groups[by])
        for name in MEASURES:
            values = table[name].to_numpy()
            known = np.isfinite(values)
            compared = values if labels is None or by == "class" else _within(values, labels)
            effects = _effects(compared[known], numbers[known], len(names), len(names) * len(MEASURES))
            summaries = _summaries(values[known], numbers[known], len(names))
            for value, summary, (effect, significant) in zip(names, summaries, effects, strict=True):
                stands_out = significant and abs(effect) >= LEAST_EFFECT
                found.append((by, str(value), name, *summary, effect, stands_out))
    columns = ["by", "value", "measure", "images", "low", "median", "high", "rest", "effect", "stands_out"]
    result = pd.DataFrame(found, columns=columns)
    result["reason"] = [_difference_in_words(row) if row.stands_out else "" for row in result.itertuples()]
    return result


def _measured(picture: Pictures) -> dict[str, float]:
    small = shrunk(picture)
    glass = glass_colour(small)
    nucleus = nucleus_of(small, glass)
    highest, lowest = small.max(2), small.min(2)
    colour = (highest - lowest).astype(np.float32)
    grey = small.mean(2) / 255
    saturation = colour / np.maximum(highest, 1)
    found = {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "saturation": float(saturation.mean()),
        "hue_spread": _hue_spread(small),
        "sharpness": sharpness(picture),
        "black": float((highest <= 5).mean()),
        "white": float((lowest >= 250).mean()),
        "grey": float(colour.max() <= _NO_COLOUR),
        "nucleus_diameter": nucleus.diameter if nucleus else np.nan,
    }
    density = _nucleus_density(small, nucleus)
    for number, channel in enumerate(("red", "green", "blue")):
        found[f"glass_{channel}"] = float(glass[number] / 255)
        found[f"nucleus_{channel}"] = float(density[number])
    return found


def sharpness(picture: Pictures) -> float:
    """Root mean square of the Laplacian of uint8 [S, S, 3] over that of the gradient: 0 without any detail.

    Both grow alike with contrast and with the number of edges, so that classes of cells have about the same value;
    blur lowers the Laplacian more.
    """
    grey = picture.mean(2, dtype=np.float32)
    middle = grey[1:-1, 1:-1]
    if not middle.size:
        return 0.0
    laplacian = 4 * middle - grey[2:, 1:-1] - grey[:-2, 1:-1] - grey[1:-1, 2:] - grey[1:-1, :-2]
    gradient = np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean()
    return float(np.sqrt(np.square(laplacian).mean() / gradient)) if gradient > 0 else 0.0


def _hue_spread(picture: Pictures) -> float:
    """From the plane of hues: red, green and blue lie at 0, 120 and 240 degrees, saturated colours far out."""
    red, green, blue = np.moveaxis(picture.astype(np.float32), -1, 0)
    x, y = red - (green + blue) / 2, np.sqrt(0.75) * (green - blue)
    length = np.hypot(x, y).sum()
    return float(1 - np.hypot(x.sum(), y.sum()) / length) if length > 0 else 0.0


def _nucleus_density(small: Pictures, nucleus: Nucleus | None) -> NDArray[np.float64]:
    if nucleus is None:
        return np.full(3, np.nan)
    return optical_density(small, nucleus.glass)[nucleus.mask].mean(0, dtype=np.float64)


def _compared(groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(positions of one value, positions of those that they are compared with) for each value."""
    everything = np.arange(len(groups))
    of_value = [np.flatnonzero(groups == value) for value in np.unique(groups)]
    return [(rows, rows if len(rows) >= _LEAST_IMAGES else everything) for rows in of_value]


def _robust_z(values: np.ndarray, against: np.ndarray) -> tuple[float, np.ndarray]:
    """The median of finite values to compare with, and the z-score of each value; 0 where it is unknown."""
    against = against[np.isfinite(against)]
    if len(against) < _LEAST_IMAGES:
        return float("nan"), np.zeros(len(values))
    middle = float(np.median(against))
    away = against - middle
    below, above = (1.4826 * np.median(np.abs(side)) for side in (away[away <= 0], away[away >= 0]))
    # One side may have no spread at all (many pictures without a black pixel).
    spread = np.maximum(np.where(values < middle, below, above), max(_LEAST_SPREAD, 0.5 * min(below, above)))
    return middle, np.nan_to_num((values - middle) / spread)


def _within(values: np.ndarray, labels: pd.Series) -> np.ndarray:
    """Values less the median of their class."""
    return values - pd.Series(values).groupby(np.asarray(labels)).transform("median").to_numpy()


def _numbered(column: pd.Series) -> tuple[np.ndarray, list[object]]:
    """The number of each image's value, int64 [N], -1 for one of too few images; and the values, sorted."""
    counts = column.value_counts()
    names = sorted(counts.index[counts >= _LEAST_SUMMARISED])
    return pd.Index(names, dtype=column.dtype).get_indexer(column).astype(np.int64), names


def _effects(values: np.ndarray, numbers: np.ndarray, parts: int, tests: int) -> list[tuple[float, bool]]:
    """(Cliff's delta, significant) of each part of finite values [N] against the rest.

    Ranked once for all parts, of which there may be as many as patients; `numbers` as from `_numbered`.
    """
    from scipy.stats import norm, rankdata

    ranks = rankdata(values)
    ties = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    total, inside = len(values), numbers >= 0
    spread = total + 1 - (ties**3 - ties).sum() / max(total * (total - 1), 1)
    sizes = np.bincount(numbers[inside], minlength=parts)
    sums = np.bincount(numbers[inside], ranks[inside], minlength=parts)
    limit = norm.isf(_SIGNIFICANT / max(tests, 1) / 2)
    found = []
    for own, of_own in zip(sizes.tolist(), sums.tolist(), strict=True):
        rest = total - own
        if not own or not rest:
            found.append((0.0, False))
            continue
        effect = (2 * of_own / own - own - 1) / rest - 1
        variance = spread / (3 * own * rest)
        found.append((effect, bool(variance > 0 and abs(effect) > limit * np.sqrt(variance))))
    return found


def _summaries(values: np.ndarray, numbers: np.ndarray, parts: int) -> list[tuple[int, float, float, float, float]]:
    """(images; 5, 50 and 95 %; median of the rest) of each part of finite values [N]; NaN of nothing.

    Sorted once: the median of the rest is found by its place, without another sort for each part.
    """
    order = np.argsort(values, kind="stable")
    ranked, of_rank = values[order], numbers[order]
    by_part = np.argsort(of_rank, kind="stable")  # places in `ranked`, part after part, and ascending within a part
    ends = np.searchsorted(of_rank[by_part], np.arange(parts + 1))
    found = []
    for start, end in pairwise(ends):
        places = by_part[start:end]
        own = ranked[places]
        low, middle, high = np.quantile(own, [0.05, 0.5, 0.95]).tolist() if len(own) else [float("nan")] * 3
        found.append((len(own), low, middle, high, _median_without(ranked, places)))
    return found


def _median_without(ranked: np.ndarray, places: np.ndarray) -> float:
    """The median of sorted values [N] without those at some ascending places; NaN of nothing."""
    rest = len(ranked) - len(places)
    if not rest:
        return float("nan")
    middle = np.array([(rest - 1) // 2, rest // 2])
    before = np.searchsorted(places - np.arange(len(places)), middle, side="right")  # left out, and not above it
    return float(ranked[middle + before].mean())


def _word(name: str, z: float) -> str:
    low, high = _WORDS.get(name, (f"low {name.replace('_', ' ')}", f"high {name.replace('_', ' ')}"))
    return high if z > 0 else low


def _difference_in_words(row: tuple) -> str:
    more = "higher" if row.effect > 0 else "lower"  # type: ignore[attr-defined]
    name = row.measure.replace("_", " ")  # type: ignore[attr-defined]
    medians = f"median {row.median:.3g}, rest {row.rest:.3g}"  # type: ignore[attr-defined]
    return f"{row.value}: {name} {more} than the rest ({medians})"  # type: ignore[attr-defined]
