"""Parts of pictures as rows: their paths, their squares, and boxes that cannot be."""

import numpy as np
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.boxes import (
    Box,
    crop_around,
    digests_of_paths,
    mask_path_size,
    path_size,
    read_mask_path,
    read_path,
    split_box,
    square_around,
    with_box,
)
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
    with pytest.raises(UnreadableImage, match=r"100x60 pixels, and the box|has no box in pixels"):
        read_path(with_box(str(tmp_path / "field.png"), box))


def test_the_mask_of_a_part_lies_as_its_image_does(picture, tmp_path):
    """A mask file that lacks 4 pixels at each side, of a cell near the border."""
    picture.save(tmp_path / "field.png")
    cell = np.zeros((52, 92), np.uint8)
    cell[0:12, 0:10] = 255  # columns 4 to 13 and rows 4 to 15 of the picture
    Image.fromarray(cell).save(tmp_path / "mask.png")
    box = Box(4, 4, 10, 12)
    path, square = with_box(str(tmp_path / "field.png"), box), square_around((100, 60), box)
    mask = with_box(str(tmp_path / "mask.png"), square._replace(left=square.left - 4, top=square.top - 4))
    assert path_size(path) == mask_path_size(mask) == (18, 18)
    inside = np.asarray(read_path(path).image)[read_mask_path(mask, (18, 18)) > 0]
    assert inside[:, 0].min() == 4 and inside[:, 0].max() == 13 and inside[:, 1].max() == 15
    assert len(inside) == 120
    with pytest.raises(UserError, match=r"mask\.png has 18x18 pixels, its image 20x20"):
        read_mask_path(mask, (20, 20))


def test_a_digest_of_each_part(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "b.png")
    a, b = str(tmp_path / "a.png"), str(tmp_path / "b.png")
    box, other = Box(1, 2, 3, 4), Box(1, 2, 3, 5)
    whole, same, part, same_part, other_part = digests_of_paths(
        [a, b, with_box(a, box), with_box(b, box), with_box(a, other)]
    )
    assert whole == same and part == same_part and len({whole, part, other_part}) == 3
