"""White cells in drawn fields, and in real ones where they lie beside the project."""

import csv
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from hemacell.data.images import read_rgb
from hemacell.fields.detection_metrics import FieldBoxes, box_ious, detection_scores
from hemacell.fields.finder import find_cells, typical_cell_diameter
from hemacell.fields.reasons import CUT_OFF, DIRT, PLATELET, TOUCHES
from hemacell.fields.scale import red_cell_diameter
from tests.fields.drawn import CELL, CHROMATIN, RED, disc, drawn_field

CELLS = [(150, 120), (420, 300), (300, 200)]


def _true(cells=CELLS, red=RED):
    half = CELL / 2 * red
    return [(x - half, y - half, x + half, y + half) for x, y in cells]


def _white(field, **options):
    return [cell for cell in find_cells(field, **options) if cell.is_white_cell]


def _all_found(found, true=None):
    true = _true() if true is None else true
    overlaps = box_ious([cell.box for cell in found], true)
    return overlaps.shape == (len(true), len(true)) and overlaps.max(0).min() > 0.5


def test_boxes_lie_around_the_cells():
    found = _white(drawn_field(CELLS))
    assert _all_found(found)
    assert [cell.why for cell in found] == [""] * 3
    middles = sorted(cell.center for cell in found)
    np.testing.assert_allclose(middles, sorted(CELLS), atol=3)


def test_the_light_may_fall_off_to_another_colour():
    field = drawn_field(CELLS)
    rows, columns = np.mgrid[-1 : 1 : field.shape[0] * 1j, -1 : 1 : field.shape[1] * 1j]
    fall = 1 - ((rows**2 + columns**2) / 2)[..., None] * [0.2, 0.5, 0.4]
    assert _all_found(_white((field * fall).astype(np.uint8)))


@pytest.mark.parametrize("red", [14, 25, 80])
def test_any_magnification(red):
    middles = [(3 * red, 3 * red), (9 * red, 5 * red)]
    field = drawn_field(middles, (8 * red, 12 * red), red=red)
    assert red_cell_diameter(field) == pytest.approx(red, rel=0.2)
    assert _all_found(_white(field), _true(middles, red))


def test_lobes_are_one_cell_and_two_cells_that_touch_are_two():
    lobes = [(-0.45, 0), (0, 0.3), (0.45, 0)]
    assert _all_found(_white(drawn_field(CELLS, lobes=lobes, lobe=0.2)))
    pair = [(300, 200), (300 + 1.02 * RED, 200)]  # their nuclei overlap
    found = _white(drawn_field(pair, lobe=0.53))
    assert len(found) == 2
    assert {cell.why for cell in found} == {TOUCHES}


def test_a_cell_that_is_cut_off_says_so():
    found = _white(drawn_field([(8, 200), (400, 240)]))
    assert sorted(cell.why for cell in found) == ["", CUT_OFF]
    assert min(cell.box[0] for cell in found) == 0


def test_platelets_and_dirt_are_no_white_cells():
    field = drawn_field([(300, 200)]).astype(float)
    disc(field, (100, 100), 0.15 * RED, CHROMATIN)
    disc(field, (500, 350), 0.5 * RED, (10, 10, 10))
    whys = {cell.why: cell for cell in find_cells(field.astype(np.uint8))}
    assert set(whys) == {"", PLATELET, DIRT}
    assert whys[PLATELET].center == pytest.approx((100, 100), abs=3)
    assert whys[DIRT].center == pytest.approx((500, 350), abs=3)
    assert not whys[DIRT].is_white_cell


def test_nothing_is_found_where_only_red_cells_lie():
    assert find_cells(drawn_field()) == []


def test_white_cells_alone_are_found_by_their_own_size():
    assert _all_found(_white(drawn_field(CELLS, red_cells=False)))


def test_a_known_diameter_is_used():
    field = drawn_field(CELLS)
    assert _all_found(_white(field, cell_diameter=1.7 * RED))
    assert _white(field, cell_diameter=1.7 * RED * 4) == []  # as small as platelets
    assert typical_cell_diameter([field, field]) == pytest.approx(1.7 * RED, rel=0.15)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 3), (30, 500), (96, 96)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_empty_fields_of_any_size(shape, level):
    assert find_cells(np.full((*shape, 3), level, np.uint8)) == []


@pytest.mark.parametrize("shape", [(5, 7), (60, 40), (200, 200)])
def test_noise_ends_in_no_error(shape):
    find_cells(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))


def real_fields(folder):
    """Pictures of a folder of fields, with the boxes of its white cells."""
    boxes = defaultdict(list)
    with open(folder / "boxes.csv") as stream:
        for row in csv.DictReader(stream):
            if row["class"] != "RBC":
                boxes[row["file"]].append([float(row[side]) for side in ("x0", "y0", "x1", "y1")])
    pictures = sorted({*folder.glob("*.png"), *folder.glob("*.jpg")})
    return [(np.asarray(read_rgb(file)), boxes[file.name]) for file in pictures]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "recall", "precision"), [("draaslan", 0.97, 0.95), ("chula", 0.85, 0.8)])
def test_real_fields(real_data, name, recall, precision):
    folder = real_data.parent / "fields" / name
    if not folder.is_dir():
        pytest.skip("no real fields beside the project")
    fields = []
    for picture, true in real_fields(folder):
        found = _white(picture)
        fields.append(FieldBoxes([cell.box for cell in found], [cell.score for cell in found], true))
    scores = detection_scores(fields, 0.4)
    assert scores.recall >= recall
    assert scores.precision >= precision
    assert scores.average_precision > 0.9


@pytest.mark.slow
def test_real_fields_of_half_and_double_size(real_data):
    folder = real_data.parent / "fields" / "draaslan"
    if not folder.is_dir():
        pytest.skip("no real fields beside the project")
    for factor in (0.5, 2):
        fields = []
        for picture, true in real_fields(folder):
            image = Image.fromarray(picture)
            found = _white(np.asarray(image.resize([round(side * factor) for side in image.size])))
            boxes = np.reshape([cell.box for cell in found], (-1, 4)) / factor
            fields.append(FieldBoxes(boxes, [cell.score for cell in found], true))
        scores = detection_scores(fields, 0.4)
        assert min(scores.recall, scores.precision) > 0.9
