"""How well pictures tell the scale of their laboratory, and what the constants of `hemacell.framing.site` rest on.

    python benchmarks/scale.py --data DATA

Prints the spread of the nuclei's diameters and densities (standard deviations of logarithms), the ratio of the two
halves that `two_scales` looks at, and how far scales of 1, 8 and 32 pictures are off, with what they state themselves.
"""

import argparse
from pathlib import Path

import numpy as np

from hemacell.core.cache import cache_dir
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.resolve import read_manifest
from hemacell.framing.decoding import measure_images
from hemacell.framing.site import LEAST_DENSITY, Measured, Site, estimate_site, halves

DRAWS = 300


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    asked = parser.parse_args()
    _, found = measure_images(read_manifest(Path(asked.data), "wbc", SourceOptions(masks=False)), cache_dir())
    site = estimate_site(found)
    nuclei = [each for each in found if each.center]
    diameters = np.log([each.diameter for each in nuclei])
    densities = np.log(np.maximum([each.density for each in nuclei], LEAST_DENSITY))
    small, large = halves(nuclei, site)
    print(
        f"{len(found)} pictures, nucleus found in {len(nuclei)}; {site.in_words()}; spread of diameters "
        f"{diameters.std():.2f}, of densities {', '.join(f'{each:.2f}' for each in densities.std(0))} (red, green, "
        f"blue); halves differ by a factor of {np.exp(np.median(large) - np.median(small)):.2f}"
    )
    for count in (1, 8, 32):
        off, stated = _errors(nuclei, site, count)
        print(f"scale of {count} pictures: off by {off:.1%} (root mean square), stated {stated:.1%}")


def _errors(nuclei: list[Measured], site: Site, count: int) -> tuple[float, float]:
    rng = np.random.default_rng(count)
    draws = [[nuclei[at] for at in rng.choice(len(nuclei), count)] for _ in range(DRAWS)]
    sites = [estimate_site(each) for each in draws]
    same = [each for each in sites if each.unit == site.unit]
    off = np.log([each.diameter / site.diameter for each in same])
    return float(np.sqrt(np.square(off).mean())), float(np.median([each.error for each in same]))


if __name__ == "__main__":
    main()
