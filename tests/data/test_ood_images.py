"""Pictures that are no such cells."""

import numpy as np
import pytest

from hemacell.data.ood_images import ood_images

SIDE = 40
_, ROWS, COLUMNS = np.mgrid[:1, :SIDE, :SIDE]
DISC = (ROWS - SIDE // 2) ** 2 + (COLUMNS - SIDE // 2) ** 2 < 100


@pytest.fixture(scope="module")
def cells():
    """Violet discs with a texture on pale grounds of different brightness."""
    rng = np.random.default_rng(0)
    pictures = np.empty((6, SIDE, SIDE, 3), np.uint8)
    pictures[:] = rng.integers(200, 250, (6, 1, 1, 1))
    pictures[np.broadcast_to(DISC, (6, SIDE, SIDE))] = (100, 50, 150)
    return pictures - rng.integers(0, 40, pictures.shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def made(cells):
    return ood_images(cells)


def test_there_are_as_many_of_each_kind_and_the_same_ones_every_time(cells, made):
    again = ood_images(cells)
    assert set(made) == {"out_of_focus", "other_stain", "negative", "empty_field", "noise", "photograph"}
    for name, pictures in made.items():
        assert pictures.dtype == np.uint8 and pictures.shape == cells.shape
        assert np.array_equal(pictures, again[name])
        assert not np.array_equal(pictures, cells)


def test_a_blurred_cell_has_its_colours_and_not_its_texture(cells, made):
    blurred = made["out_of_focus"]
    assert blurred.mean((1, 2, 3)) == pytest.approx(cells.mean((1, 2, 3)), rel=0.02)
    steps = [np.abs(np.diff(pictures.astype(int), axis=1)).mean() for pictures in (cells, blurred)]
    assert steps[1] < 0.25 * steps[0]


def test_another_stain_changes_the_hue_only(cells, made):
    other = made["other_stain"].astype(int)
    assert other.max(3) == pytest.approx(cells.max(3).astype(int), abs=2)  # the value of HSV
    assert np.abs(other - cells)[:, DISC[0]].mean() > 15


def test_an_empty_field_has_no_cell(cells, made):
    field = made["empty_field"]
    assert (field[:, DISC[0]].mean((1, 2)) > cells[:, DISC[0]].mean((1, 2)) + 50).all()
    assert np.array_equal(made["negative"], 255 - cells)


def test_very_small_pictures_will_do():
    assert {pictures.shape for pictures in ood_images(np.full((1, 3, 3, 3), 9, np.uint8)).values()} == {(1, 3, 3, 3)}
