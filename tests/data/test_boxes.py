"""Parts of pictures as rows: their paths, their squares, and boxes that cannot be."""

import numpy as np
import pytest
from PIL import Image

from hemacell.data.boxes import Box, crop_around, read_path, split_box, with_box
from hemacell.data.images import UnreadableImage


@pytest.mark.parametrize("path", ["/a/b.jpg", "/odd#name,1.png", "/a#xywh=1,2.png"])
def test_a_path_with_a_box_and_back(path):
    box = Box(-3, 4, 10, 20)
    assert split_box(with_box(path, box)) == (path, box) and split_box(path) == (path, None)


@pytest.fixture
def picture():
    """Each pixel tells its column (red) and row (green)."""
    rows, columns = np.mgrid[:60, :100].astype(np.uint8)
    return Image.fromarray(np.dstack([columns, rows, rows]))


@pytest.mark.parametrize(
    ("box", "corner", "side"),
    [
        (Box(40, 20, 20, 10), (35, 10), 30),  # centred
        (Box(0, 0, 10, 10), (0, 0), 15),  # moved into the picture
        (Box(90, 50, 20, 20), (70, 30), 30),
        (Box(10, 10, 50, 20), (5, 0), 60),  # not larger than the picture
    ],
)
def test_the_square_around_a_box(picture, box, corner, side):
    crop = np.asarray(crop_around(picture, box))
    assert crop.shape == (side, side, 3) and tuple(crop[0, 0, :2]) == corner


@pytest.mark.parametrize("box", [Box(100, 0, 5, 5), Box(0, -9, 5, 5), Box(5, 5, 0, 5)])
def test_a_box_outside_of_the_picture_is_a_bad_image(picture, box, tmp_path):
    picture.save(tmp_path / "field.png")
    with pytest.raises(UnreadableImage, match="100x60 pixels, and the box"):
        read_path(with_box(str(tmp_path / "field.png"), box))
