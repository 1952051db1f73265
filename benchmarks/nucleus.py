"""How well nuclei are found: against the masks of images whose masks mark the nucleus by their highest value.

    python benchmarks/nucleus.py --data DATA

Prints Dice, the errors of centre and diameter, and the processor time per picture.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from hemacell.core.cache import cache_dir
from hemacell.data import decoding
from hemacell.data.boxes import path_size, read_mask_path
from hemacell.data.images import mask_to_square
from hemacell.data.nucleus import SIDE, Nucleus, find_nucleus
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.resolve import read_manifest

_DECODED = 192
_NUCLEUS = 0.75  # of a mask's highest value; cytoplasm has half of it


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    asked = parser.parse_args()
    manifest = read_manifest(Path(asked.data), "wbc", SourceOptions(masks=False))
    cells = decoding.decode(manifest, _DECODED, cache_dir())
    rows = np.flatnonzero(cells.manifest.table["own_mask"] != "")
    truth = [_true_mask(*cells.manifest.table[["own_mask", "path"]].iloc[row]) for row in rows]
    started = time.process_time()
    found = [find_nucleus(cells.array[row]) for row in rows]
    milliseconds = (time.process_time() - started) / len(rows) * 1000
    scores = np.array([_scores(one, mask) for one, mask in zip(found, truth, strict=True) if one])
    dice = np.append(scores[:, 0], np.zeros(len(rows) - len(scores)))
    low, middle = np.quantile(dice, [0.05, 0.5])
    print(
        f"{len(rows)} masks, nucleus found in {len(scores)}: Dice median {middle:.3f}, mean {dice.mean():.3f}, "
        f"5 % {low:.3f}; centre off by {np.median(scores[:, 1]):.3f} of the side (95 %: "
        f"{np.quantile(scores[:, 1], 0.95):.3f}); diameter off by {np.median(scores[:, 2]):+.1%} "
        f"(5 to 95 %: {np.quantile(scores[:, 2], 0.05):+.1%} to {np.quantile(scores[:, 2], 0.95):+.1%}); "
        f"{milliseconds:.1f} ms of one core per picture"
    )


def _true_mask(mask: str, image: str) -> np.ndarray:
    values = read_mask_path(mask, path_size(image))
    return mask_to_square(values > _NUCLEUS * values.max(), SIDE) >= 0.5


def _scores(found: Nucleus, mask: np.ndarray) -> tuple[float, float, float]:
    """Dice, distance of the centres, relative error of the diameter."""
    true = Nucleus(mask, found.glass)
    dice = 2 * (mask & found.mask).sum() / (mask.sum() + found.mask.sum())
    off = np.hypot(*np.subtract(found.center, true.center))
    return float(dice), float(off), found.diameter / true.diameter - 1


if __name__ == "__main__":
    main()
