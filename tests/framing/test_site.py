"""The scale of a laboratory: the median of its nuclei, shares or pixels, and what few pictures can say of it."""

import numpy as np
import pytest

from hemacell.framing.description import Site
from hemacell.framing.site import Measured, estimate_site, two_scales

PALE = (250.0, 240.0, 230.0)
STAIN = (0.95, 1.5, 0.4)
KNOWN = Site(images=5000, diameter=0.3, unit="share", error=0.003, density=STAIN)


def of(diameters, sides=200) -> list[Measured]:
    return [
        Measured((0.5, 0.5), float(diameter), PALE, STAIN, int(side))
        for diameter, side in np.broadcast(np.asarray(diameters, float), sides)
    ]


def spread(median: float, count: int = 100, sigma: float = 0.2, seed: int = 0) -> np.ndarray:
    return median * np.exp(np.random.default_rng(seed).normal(0, sigma, count))


def test_the_scale_is_the_median_of_the_nuclei_and_the_rest_does_not_count():
    lost = Measured(None, 0.0, (1.0, 2.0, 3.0), (0.0, 0.0, 0.0), 200)
    site = estimate_site([*of([0.1, 0.2, 0.9]), lost])
    assert site.images == 3 and site.unit == "share"
    assert site.density == pytest.approx(STAIN, rel=0.011)
    assert site.diameter == pytest.approx(0.2, rel=0.011)  # in steps of 2 %
    assert site.share(50) == site.share(500) == site.diameter
    with pytest.raises(ValueError, match="no nucleus"):
        estimate_site([lost])
    assert estimate_site([lost], KNOWN).diameter == KNOWN.diameter and estimate_site([lost], KNOWN).remark()


def test_cells_of_one_size_in_pictures_of_many_sizes_are_measured_in_pixels():
    pixels = spread(60, sigma=0.1)
    sides = np.random.default_rng(1).integers(100, 400, len(pixels))
    site = estimate_site(of(pixels / sides, sides))
    assert site.unit == "pixels" and site.diameter == pytest.approx(60, rel=0.04)
    assert site.share(120) == pytest.approx(site.diameter / 120)
    zoomed = estimate_site(of(spread(0.3, sigma=0.1), sides))  # each picture was scaled to its cell
    assert zoomed.unit == "share" and zoomed.diameter == pytest.approx(0.3, rel=0.04)


@pytest.mark.parametrize(("count", "error"), [(4, 0.12), (25, 0.05), (400, 0.0125)])
def test_the_error_is_that_of_a_median(count, error):
    logs = [np.log(estimate_site(of(spread(0.3, count, seed=seed))).diameter / 0.3) for seed in range(200)]
    stated = [estimate_site(of(spread(0.3, count, seed=seed))).error for seed in range(50)]
    assert np.std(logs) == pytest.approx(error, rel=0.35) and np.median(stated) == pytest.approx(error, rel=0.25)


def test_a_few_pictures_are_of_the_known_laboratory_unless_they_speak_against_it():
    alone = estimate_site(of([0.33]), KNOWN)
    assert 0.3 <= alone.diameter < 0.32 and not alone.remark()
    other = estimate_site(of([0.6]), KNOWN)  # twice as large: another magnification
    assert 0.45 < other.diameter < 0.6 and "one picture" in other.remark()
    many = estimate_site(of(spread(0.6, 100)), KNOWN)
    assert many.diameter == pytest.approx(0.6, rel=0.06) and not many.remark()
    errors = [estimate_site(of([0.6] * count), KNOWN).error for count in (1, 4, 16, 64)]
    assert errors == sorted(errors, reverse=True)


def test_the_known_laboratory_may_have_other_units():
    pixels = Site(images=900, diameter=60, unit="pixels", error=0.01, density=STAIN)
    site = estimate_site(of([0.3], 200), pixels)
    assert site.unit == "pixels" and site.diameter == pytest.approx(60, rel=0.011)


def test_two_scales_are_noticed_and_one_is_not():
    for sigma in (0.15, 0.25):
        one = of(spread(0.3, 300, sigma))
        assert two_scales(one, estimate_site(one)) is None
    both = of([*spread(0.2, 150, 0.15), *spread(0.4, 150, 0.15)])
    small, large = two_scales(both, estimate_site(both))
    assert small == pytest.approx(0.2, rel=0.1) and large == pytest.approx(0.4, rel=0.1)
    few = of([*spread(0.2, 295, 0.15), *spread(0.5, 5, 0.15)])
    assert two_scales(few, estimate_site(few)) is None
    assert two_scales(both[:5], estimate_site(both)) is None


def test_the_stain_of_one_picture_is_half_known_and_that_of_many_is_theirs():
    def dark(count: int):
        return [each._replace(density=tuple(2 * value for value in STAIN)) for each in of(spread(0.3, count))]

    alone, many = estimate_site(dark(1), KNOWN), estimate_site(dark(200), KNOWN)
    assert 1.2 < alone.density[1] / STAIN[1] < 1.9 and many.density[1] / STAIN[1] == pytest.approx(2, rel=0.03)
    near = [of([0.3])[0]._replace(density=tuple(1.1 * value for value in STAIN))]
    assert estimate_site(near, KNOWN).density[1] / STAIN[1] < 1.06
