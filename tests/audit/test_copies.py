import io

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

from hemacell.audit import copies
from hemacell.audit.copies import MOST, Pair, copy_groups, find_copies
from hemacell.audit.picture_hash import HASH_SIDE, TURNS, detail, picture_hashes, turn_picture
from hemacell.data.images import read_rgb, to_square

SIZE = 64


def _pictures(count, seed=0, grain=10, size=80):
    """Different pictures without likeness: coarse noise, smoothly enlarged."""
    noise = np.random.default_rng(seed).integers(0, 256, (count, grain, grain, 3), dtype=np.uint8)
    return [Image.fromarray(each).resize((size, size), Image.Resampling.BICUBIC) for each in noise]


def _squares(images):
    return np.stack([to_square(image, SIZE) for image in images])


def _encoded(image, form="JPEG"):
    stream = io.BytesIO()
    image.save(stream, form, quality=60)
    return read_rgb(stream.getvalue())


@pytest.fixture(scope="module")
def images():
    return _pictures(40)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        _encoded,
        lambda image: image.resize((40, 40)),
        lambda image: image.resize((160, 160), Image.Resampling.LANCZOS),
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.transpose(Image.Transpose.ROTATE_90),
        lambda image: _encoded(image.transpose(Image.Transpose.TRANSVERSE).resize((40, 40))),
        lambda image: image.point(lambda value: int(20 + 0.8 * value)),
    ],
)
def test_a_changed_copy_of_each_picture_is_found_and_nothing_else(images, change):
    pairs = find_copies(_squares([*images, *map(change, images)]))
    assert [(pair.first, pair.second) for pair in pairs] == [(at, at + len(images)) for at in range(len(images))]


@pytest.mark.parametrize("turn", range(8), ids=TURNS)
def test_the_turn_lays_the_second_picture_on_the_first(images, turn):
    first = _squares(images[:1])[0]
    [inverse] = [way for way in range(8) if np.array_equal(turn_picture(turn_picture(first, turn), way), first)]
    [pair] = find_copies(np.stack([first, turn_picture(first, turn)]))
    assert pair[:3] == (0, 1, inverse) and pair.difference < 0.01


def test_different_pictures_are_no_copies(images):
    assert find_copies(_squares(images)) == []


def test_a_shift_by_a_tenth_of_the_side_is_no_copy(images):
    shifted = [image.crop((8, 0, 80, 72)) for image in images]
    assert find_copies(_squares([*(image.crop((0, 0, 72, 72)) for image in images), *shifted])) == []


def test_all_pairs_in_all_turns_compared_on_pixels_give_the_same():
    """Pictures from equal to unrelated, so that many distances lie near the limit."""
    base, other = (_squares(_pictures(30, seed)).astype(float) for seed in (1, 2))
    shares = np.random.default_rng(3).uniform(0, 0.6, 30)[:, None, None, None]
    mixed = (base * (1 - shares) + other * shares).astype(np.uint8)
    turned = np.stack([turn_picture(picture, at % 8) for at, picture in enumerate(mixed)])
    pixels = np.concatenate([base.astype(np.uint8), turned])

    by_hash, by_pixels = (_distances(pixels, side) for side in (HASH_SIDE, copies.PIXEL_SIDE))
    turns = by_hash.argmin(0)
    expected = {}
    for first, second in zip(*np.triu_indices(len(pixels), 1), strict=True):
        turn = turns[first, second]
        at = (turn, first, second)
        if by_hash[at] <= copies.HASH_LIMIT and by_pixels[at] <= copies.PIXEL_LIMIT:
            expected[first, second, turn] = by_pixels[at]
    found = {pair[:3]: pair.difference for pair in find_copies(pixels)}
    assert 5 < len(expected) < 25 and found.keys() == expected.keys()
    assert list(found.values()) == pytest.approx([expected[key] for key in found], abs=2e-3)


def _distances(pixels, side):
    """Of each picture from each other one after each turn of its pixels, [8, N, N]."""
    own = detail(pixels, side).reshape(len(pixels), -1)
    turned = [detail(np.stack([turn_picture(each, turn) for each in pixels]), side) for turn in range(8)]
    return np.stack([cdist(own, other.reshape(len(pixels), -1)) for other in turned])


def test_equal_pictures_give_a_star_and_one_group(images):
    blank, picture = np.full((SIZE, SIZE, 3), 240, np.uint8), _squares(images[:1])[0]
    pixels = np.stack([picture, *[blank] * 500, *[picture] * 300])
    pairs = find_copies(pixels)
    # The last digits of a hash depend on its place in a product of matrices: there may be a second star or two.
    assert 799 <= len(pairs) < 850 and max(pair.difference for pair in pairs) < 1e-3
    assert copy_groups(pairs, len(pixels)) == [[0, *range(501, 801)], list(range(1, 501))]


def test_many_nearly_equal_pictures_give_few_pairs_and_one_group(images):
    picture = _squares(images[:1])[0].astype(int)
    noise = np.random.default_rng(0).integers(-20, 21, (300, *picture.shape))
    pixels = (picture + noise).clip(0, 255).astype(np.uint8)
    pairs = find_copies(pixels)
    assert len(pixels) > copies._ROWS and len(pairs) <= MOST * len(pixels)
    assert copy_groups(pairs, len(pixels)) == [list(range(300))]


def test_empty_pictures_of_another_colour_are_no_copies():
    white, red, black = (np.full((SIZE, SIZE, 3), colour, np.uint8) for colour in (255, (255, 0, 0), 0))
    assert [pair[:2] for pair in find_copies(np.stack([white, red, black, white - 5]))] == [(0, 3)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_pictures(images, count):
    pixels = np.concatenate([_squares(images), np.zeros((0, SIZE, SIZE, 3), np.uint8)])[:count]
    assert find_copies(pixels) == [] and copy_groups([], count) == []


def test_pictures_that_are_left_out_hide_no_copies(images):
    pixels = _squares([images[0], images[1], images[0], images[0]])
    rows = np.array([1, 2, 3])
    assert [pair[:2] for pair in find_copies(pixels, rows=rows)] == [(2, 3)]
    assert [pair[:2] for pair in find_copies(pixels)] == [(0, 2), (0, 3)]


def test_hashes_of_other_pictures_are_refused(images):
    with pytest.raises(ValueError, match=r"expected hashes \[3, 256\], found \[2, 256\]"):
        find_copies(_squares(images[:3]), picture_hashes(_squares(images[:2])))


def test_groups_are_chains_of_pairs():
    pairs = [Pair(4, 7, 0, 0.1), Pair(1, 2, 3, 0.1), Pair(2, 9, 0, 0.1)]
    assert copy_groups(pairs, 10) == [[1, 2, 9], [4, 7]]
    assert copy_groups(pairs[:1], 8) == [[4, 7]]


@pytest.mark.slow
def test_real_cells_have_one_pair_and_their_copies_are_found(real_data):
    files = sorted((real_data / "WBC_100" / "train" / "data" / "Monocyte").glob("*.jpg"))
    originals = [read_rgb(file) for file in files]
    numbers = np.arange(0, len(files), 5)
    small = [_encoded(originals[at].transpose(Image.Transpose.ROTATE_270).resize((112, 112))) for at in numbers]
    pairs = find_copies(_squares([*originals, *small]))
    of_copies = {(pair.first, pair.second) for pair in pairs if pair.second >= len(files)}
    assert {(at, len(files) + place) for place, at in enumerate(numbers)} <= of_copies
    # The same cell, photographed twice.
    [twice] = [pair for pair in pairs if pair.second < len(files)]
    assert {files[twice.first].name, files[twice.second].name} == {"MO_231316.jpg", "MO_415531.jpg"}
