"""Sets of images, framed: measured once, stored by what decides the pixels, masks in the same place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemacell.data.images import read_rgb
from hemacell.data.subsets import limit
from hemacell.framing import decoding
from hemacell.framing.decoding import decode_framed, measure_images
from hemacell.framing.description import Framing
from hemacell.framing.frame import frame
from hemacell.framing.site import estimate_site, measured
from tests.reading import read_cells

FRAMING = Framing(field=2.0)


@pytest.fixture(scope="module")
def cells(sample):
    return limit(read_cells(sample / "WBC_100", masks=False), 60)


def test_every_picture_is_that_of_its_file(cells, tmp_path):
    small, found = measure_images(cells, tmp_path)
    site = estimate_site(found)
    images = decode_framed(small, found, site, FRAMING, 48, tmp_path)
    assert images.decoded.manifest.names == small.manifest.names
    for row in range(0, len(images.decoded), 7):
        image = read_rgb(Path(images.decoded.manifest.table["path"].iat[row]))
        assert found[row] == measured(image)
        assert np.array_equal(images.decoded.array[row], frame(image, site, FRAMING, 48).pixels)


def test_nuclei_are_searched_once(cells, tmp_path, monkeypatch):
    first = measure_images(cells, tmp_path)[1]
    monkeypatch.setattr(decoding, "measured_square", lambda *_: pytest.fail("measured again"))
    assert measure_images(cells, tmp_path)[1] == first


def test_what_decides_the_pixels_decides_where_they_are_stored(cells, tmp_path):
    small, found = measure_images(cells, tmp_path)
    site = estimate_site(found)
    others = [
        (site, FRAMING),
        (site.model_copy(update={"diameter": 2 * site.diameter}), FRAMING),
        (site, Framing(field=3.0)),
        (site, Framing(field=2.0, glass=False)),
        (site, FRAMING.model_copy(update={"density": (1.0, 2.0, 0.1)})),
    ]
    made = [decode_framed(small, found, *each, 32, tmp_path).decoded for each in others]
    assert len({each.folder for each in made}) == len({each.recipe for each in made}) == len(others)
    larger = decode_framed(small, found, site, FRAMING, 40, tmp_path).decoded
    assert larger.array.shape[1:] == (40, 40, 3)
    same = site.model_copy(update={"images": 3, "error": 0.5})
    assert decode_framed(small, found, same, FRAMING, 32, tmp_path).decoded.folder == made[0].folder


def test_pictures_without_a_nucleus_are_counted(cells, tmp_path):
    small, found = measure_images(cells, tmp_path)
    lost = [each._replace(center=None, diameter=0.0) if row < 3 else each for row, each in enumerate(found)]
    images = decode_framed(small, lost, estimate_site(found), FRAMING, 32, tmp_path)
    assert [count for note, count in images.decoded.notes.items() if note.startswith("no nucleus")] == [3]


def test_masks_lie_where_their_pictures_do(cells, tmp_path):
    file = tmp_path / "mask.png"
    row = 5
    path = cells.table["path"].iat[row]
    grey = np.asarray(read_rgb(Path(path)).convert("L"))
    Image.fromarray(np.where(grey < np.quantile(grey, 0.1), 255, 0).astype(np.uint8)).save(file)
    table = cells.table.assign(own_mask="")
    table.loc[row, "own_mask"] = str(file)
    small, found = measure_images(replace(cells, table=table), tmp_path / "cache")
    images = decode_framed(small, found, estimate_site(found), FRAMING, 64, tmp_path / "cache")
    [own] = np.flatnonzero(images.decoded.manifest.table["own_mask"] != "")
    mask = images.mask(own)
    pixels = images.decoded.array[own].mean(2)
    assert mask.shape == (64, 64) and pixels[mask > 0.5].mean() < pixels[mask < 0.5].mean() - 60
