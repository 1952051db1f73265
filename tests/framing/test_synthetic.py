"""Synthetic laboratories: the same ones every time, each unlike the others, with the cells still in the middle."""

import numpy as np
import pytest

from hemacell.data.subsets import limit
from hemacell.framing.decoding import decode_framed, measure_images
from hemacell.framing.description import Framing, as_trained
from hemacell.framing.site import estimate_site, measured_square
from hemacell.framing.synthetic import random_laboratory
from hemacell.framing.synthetic_cells import synthetic_cells
from tests.reading import read_cells

FRAMING = Framing(field=2.0)


@pytest.fixture(scope="module")
def images(sample, tmp_path_factory):
    cache = tmp_path_factory.mktemp("framed")
    small, found = measure_images(limit(read_cells(sample / "WBC_100", masks=False), 40), cache)
    return decode_framed(small, found, estimate_site(found), FRAMING, 48, cache)


def show(number: int, images, row: int, seed: int = 0) -> np.ndarray:
    square, glass = images.whole.array[row], np.asarray(images.measured[row].glass)
    return random_laboratory(number).picture(square, glass, np.random.default_rng(seed))


def test_a_laboratory_is_the_same_every_time_and_its_pictures_vary(images):
    for number in range(6):
        first, again, other = show(number, images, 0), show(number, images, 0), show(number, images, 0, seed=1)
        assert np.array_equal(first, again) and not np.array_equal(first, other)
        side = random_laboratory(number).side
        assert first.shape == (side, side, 3) and first.dtype == np.uint8


def test_laboratories_differ_more_than_their_pictures(images):
    def look(number: int, row: int) -> np.ndarray:
        return show(number, images, row).reshape(-1, 3).mean(0)

    looks = np.array([[look(number, row) for row in range(6)] for number in range(12)])
    between, within = looks.mean(1).std(0).mean(), looks.std(1).mean()
    assert between > 2 * within


def test_most_cells_are_found_again(images):
    found = []
    for number in range(12):
        for row in range(5):
            square = show(number, images, row)
            found.append(measured_square(square, len(square)).center)
    near = [center is not None and np.hypot(*np.subtract(center, 0.5)) < 0.25 for center in found]
    assert np.mean(near) > 0.85


@pytest.fixture
def cells(images, tmp_path):
    rows = np.arange(0, len(images.decoded), 2)
    labels = images.decoded.manifest.labels[rows]
    framing = as_trained(FRAMING, images.site)

    def make(laboratories=3, most=15, of=rows):
        return synthetic_cells(images, of, labels[: len(of)], laboratories, most, framing, tmp_path)

    return rows, labels, make


def test_training_cells_are_shown_in_each_laboratory(cells):
    rows, labels, make = cells
    made = make()
    assert made.pixels.shape == (45, 48, 48, 3) and made.laboratories.tolist() == sorted([0, 1, 2] * 15)
    assert made.sources.max() < len(rows)
    mixes = [np.bincount(labels[made.sources[made.laboratories == number]], minlength=5) for number in range(3)]
    assert all((mix[np.unique(labels)] > 0).mean() > 0.6 for mix in mixes) and len({tuple(mix) for mix in mixes}) == 3
    assert len({picture.tobytes() for picture in made.pixels}) == 45  # repeated cells are not repeated pictures
    assert len(set(made.digests)) == 45


def test_they_are_stored_by_what_decides_them(cells, monkeypatch):
    rows, _, make = cells
    first = make()
    monkeypatch.setattr("hemacell.framing.synthetic_cells._write", lambda *_: pytest.fail("made again"))
    assert np.array_equal(make().pixels, first.pixels) and make().key == first.key
    monkeypatch.undo()
    others = [make(laboratories=2), make(most=10), make(of=rows[:-1])]
    assert len({first.key, *(each.key for each in others)}) == 4


def test_a_few_cells_are_enough(cells):
    rows, _, make = cells
    assert len(make(most=200, of=rows[:2])) == 3 * 2
