"""Fields are told from cut-out cells: drawn ones, and real ones where they lie beside the project."""

import numpy as np
import pytest
from PIL import Image

from hemacell.data.images import read_rgb, to_square
from hemacell.data.nucleus import find_nucleus
from hemacell.data.walk import walk
from hemacell.fields.field_picture import looks_like_field, measurements
from tests.fields.drawn import drawn_field


def _square(path):
    return to_square(read_rgb(path), 192)


def test_the_cells_of_the_sample_are_cells(sample):
    folder = sample / "WBC_100" / "train" / "data"
    paths = walk(folder).images[::6]
    assert len(paths) >= 50
    assert sum(looks_like_field(_square(folder / path)) for path in paths) < 0.1 * len(paths)


def test_a_drawn_field_is_a_field():
    fields = [drawn_field([(at, 60)], (400, 400), red=30) for at in (60, 180, 320)]
    assert all(looks_like_field(field) for field in fields)
    assert all(looks_like_field(to_square(Image.fromarray(field), 96)) for field in fields)


def test_the_nucleus_may_be_given():
    field = drawn_field([(60, 60)], (192, 192), red=20)
    given = measurements(field, find_nucleus(field))
    assert given == pytest.approx(measurements(field))


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (47, 300), (48, 48), (96, 96), (500, 100)])
@pytest.mark.parametrize("level", [0, 200, 255])
def test_empty_pictures_end_in_no_error(shape, level):
    looks_like_field(np.full((*shape, 3), level, np.uint8))


def test_tiny_pictures_are_no_fields():
    assert not looks_like_field(np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8))


def test_a_wide_large_file_needs_less_evidence():
    pictures = [drawn_field([(x, 90)], (192, 192), red=36) for x in range(60, 132, 6)]
    square = sum(looks_like_field(picture, file_size=(480, 480)) for picture in pictures)
    assert sum(looks_like_field(picture, file_size=(200, 150)) for picture in pictures) == square
    assert sum(looks_like_field(picture, file_size=(640, 480)) for picture in pictures) > square


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", ["cs5242/WBC_100/val/data", "cs5242/WBC_JTSC/train/data", "labs/lisc", "labs/chula"], ids=str
)
def test_real_cells(real_data, folder):
    root = real_data.parent / folder
    if not root.is_dir():
        pytest.skip("no such cells beside the project")
    paths = walk(root).images
    assert sum(looks_like_field(_square(root / path)) for path in paths) <= 0.01 * len(paths)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["draaslan", "chula"])
def test_real_fields(real_data, name):
    folder = real_data.parent / "fields" / name
    if not folder.is_dir():
        pytest.skip("no real fields beside the project")
    paths = walk(folder).images
    assert sum(looks_like_field(_square(folder / path)) for path in paths) >= 0.95 * len(paths)
