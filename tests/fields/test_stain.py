"""The stain over the glass, and the ruler."""

import numpy as np
import pytest

from hemacell.fields.scale import red_cell_diameter, resized
from hemacell.fields.stain import stain_of
from tests.fields.drawn import CHROMATIN, GLASS, RED_CELL, disc, drawn_field


def _lit(field):
    """The field under light that falls off, and the light, float64 [H, W, 3]."""
    rows, columns = np.mgrid[-1 : 1 : field.shape[0] * 1j, -1 : 1 : field.shape[1] * 1j]
    light = np.exp(-(rows**2 + 0.5 * columns)[..., None] * [0.1, 0.3, 0.2])
    return (field * light).clip(0, 255).astype(np.uint8), light


def test_the_surface_follows_the_light():
    field, _ = _lit(drawn_field([(300, 200)], (560, 640), noise=0))
    stain = stain_of(field)
    places = np.argwhere(drawn_field([(300, 200)], (560, 640), noise=0)[..., 1] == GLASS[1])[::97]
    assert np.abs(stain.density_of(places)).mean() < 0.03


def test_densities_are_logarithms_of_glass_over_pixel():
    field = drawn_field([(300, 200)], noise=0)
    places = np.array([[200, 300], [200, 310]])
    expected = np.log(np.array(GLASS) / CHROMATIN)
    np.testing.assert_allclose(stain_of(field).density_of(places), [expected, expected], atol=0.04)
    np.testing.assert_allclose(stain_of(field).green()[200, 300], expected[1], atol=0.04)


def test_chromatin_is_high_in_nuclei_and_low_in_red_cells_over_each_other():
    field = drawn_field([(300, 200)], (600, 640), noise=0).astype(float)
    twice = np.array(RED_CELL) ** 2 / np.array(GLASS)
    disc(field, (100, 500), 20, twice)  # in another block of rows
    field, _ = _lit(field)
    chromatin = stain_of(field).chromatin
    assert chromatin.shape == field.shape[:2]
    assert chromatin[200, 300] > 0.8
    assert abs(chromatin[500, 100]) < 0.15


@pytest.mark.parametrize("red", [18, 40, 90])
def test_the_ruler_is_that_of_the_field(red):
    assert red_cell_diameter(drawn_field(size=(8 * red, 10 * red), red=red)) == pytest.approx(red, rel=0.1)


def test_small_cells_of_a_large_field_are_measured_in_its_parts():
    assert red_cell_diameter(drawn_field(size=(900, 1440), red=20)) == pytest.approx(20, rel=0.1)


def test_a_slide_is_measured_in_parts():
    part = drawn_field([(200, 200)], size=(704, 704), red=32)
    slide = np.tile(part, (3, 3, 1))
    assert red_cell_diameter(slide) == pytest.approx(32, rel=0.1)


def test_the_empty_part_of_a_slide_has_no_say():
    part = drawn_field([(200, 200)], size=(704, 704), red=32)
    empty = drawn_field(size=(704, 704), red_cells=False)
    slide = np.concatenate([np.tile(part, (4, 1, 1)), np.tile(empty, (4, 3, 1))], axis=1)
    assert red_cell_diameter(slide) == pytest.approx(32, rel=0.1)


def test_a_smaller_field_has_the_means_of_its_pixels():
    field = drawn_field(size=(100, 120))
    small = resized(field, 4.0)
    assert small.shape == (25, 30, 3)
    np.testing.assert_allclose(small[3, 5], field[12:16, 20:24].mean((0, 1)), atol=0.51)
    assert resized(field, 0.5) is field
