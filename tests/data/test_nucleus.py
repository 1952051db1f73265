"""The nucleus in the middle of a picture."""

import numpy as np
import pytest

from hemacell.data.nucleus import find_nucleus, optical_density

SIDE = 192
GLASS, RED_CELL, CYTOPLASM, CHROMATIN = (245, 240, 235), (225, 190, 180), (200, 180, 215), (90, 40, 140)


def _disc(x, y, radius):
    """bool [SIDE, SIDE], of a centre and radius in shares of the side."""
    rows, columns = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    return np.hypot(rows - y, columns - x) < radius


def _picture(nuclei, cell=(0.5, 0.5, 0.3), noise=3):
    picture = np.empty((SIDE, SIDE, 3), np.float64)
    picture[:] = GLASS
    for x, y in ((0.1, 0.1), (0.9, 0.15), (0.12, 0.85), (0.88, 0.9)):
        picture[_disc(x, y, 0.1)] = RED_CELL
    picture[_disc(*cell)] = CYTOPLASM
    for nucleus in nuclei:
        picture[_disc(*nucleus)] = CHROMATIN
    noisy = picture + np.random.default_rng(0).normal(0, noise, picture.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def test_centre_diameter_hull_and_glass_of_a_round_nucleus():
    found = find_nucleus(_picture([(0.45, 0.55, 0.15)]))
    assert found is not None
    assert found.center == pytest.approx((0.45, 0.55), abs=0.01)
    assert found.diameter == pytest.approx(0.3, rel=0.05)
    assert found.hull_diameter == pytest.approx(0.3, rel=0.08)
    assert found.cell_diameter == pytest.approx(1.46 * found.hull_diameter)
    assert found.glass == pytest.approx(GLASS, abs=8)
    assert found.mask.shape == (96, 96)


def test_all_lobes_belong_to_it_and_the_nucleus_of_a_neighbour_does_not():
    lobes = [(0.4, 0.42, 0.07), (0.5, 0.58, 0.07), (0.62, 0.45, 0.07)]
    found = find_nucleus(_picture([*lobes, (0.95, 0.5, 0.1)]))
    assert found is not None
    assert found.diameter == pytest.approx(2 * 0.07 * np.sqrt(3), rel=0.08)
    assert found.center == pytest.approx((0.507, 0.483), abs=0.02)


def test_turning_the_picture_turns_what_is_found():
    picture = _picture([(0.4, 0.45, 0.12), (0.55, 0.5, 0.08)])
    found, turned = find_nucleus(picture), find_nucleus(np.ascontiguousarray(picture[:, ::-1]))
    assert found is not None and turned is not None
    assert turned.center == pytest.approx((1 - found.center[0], found.center[1]), abs=0.005)
    assert turned.diameter == pytest.approx(found.diameter, rel=0.01)


@pytest.mark.parametrize("side", [1, 2, 3, 28, 96, 300])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_nothing_is_found_in_an_empty_picture(side, level):
    assert find_nucleus(np.full((side, side, 3), level, np.uint8)) is None


def test_nothing_is_found_where_only_red_cells_lie():
    assert find_nucleus(_picture([], cell=(0, 0, 0))) is None


def test_optical_density_is_the_logarithm_of_glass_over_pixel():
    picture = np.array([[[100, 255, 0]]], np.uint8)
    density = optical_density(picture, np.array([200.0, 200.0, 200.0]))
    assert density[0, 0] == pytest.approx([np.log(2), 0, np.log(200)], rel=1e-6)


def test_a_neighbour_is_told_and_lobes_and_small_things_are_none():
    assert find_nucleus(_picture([(0.4, 0.5, 0.12), (0.8, 0.5, 0.12)])).has_neighbour
    assert not find_nucleus(_picture([(0.42, 0.5, 0.1), (0.6, 0.5, 0.1)])).has_neighbour
    assert not find_nucleus(_picture([(0.4, 0.5, 0.14), (0.8, 0.5, 0.06)])).has_neighbour


@pytest.mark.parametrize(("x", "cut"), [(0.15, False), (0.12, False), (0.03, True)])
def test_a_nucleus_on_the_border_is_cut_off(x, cut):
    assert find_nucleus(_picture([(x, 0.5, 0.12)])).is_cut_off == cut
    assert find_nucleus(_picture([(0.5, 1 - x, 0.12)])).is_cut_off == cut
