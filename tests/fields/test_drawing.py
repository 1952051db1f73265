"""Boxes on a copy of a field."""

import numpy as np
import pytest
from PIL import Image

from hemacell.fields import drawing
from hemacell.fields.drawing import DrawnBox, draw_boxes

BLUE, RED, GREY = (0, 0x72, 0xB2), (0xD5, 0x5E, 0), (0x6B, 0x6B, 0x6B)


def _field(height=200, width=300):
    return np.full((height, width, 3), 200, np.uint8)


def _has(image, colour, part=slice(None)):
    return bool((np.asarray(image)[part] == colour).all(-1).any())


def test_the_field_itself_stays_as_it_is():
    field = _field()
    image = draw_boxes(field, [DrawnBox((50, 60, 120, 130), "Monocyte")])
    assert image.size == (300, 200)
    assert (field == 200).all()
    assert (np.asarray(image)[90:100, 80:90] == 200).all()
    assert (np.asarray(draw_boxes(field, [])) == 200).all()


def test_a_colour_for_each_class_and_grey_for_a_reason():
    boxes = [DrawnBox((20, 40, 80, 100), "B"), DrawnBox((120, 40, 180, 100), "A")]
    image = draw_boxes(_field(), boxes, ["B", "A"])
    assert tuple(np.asarray(image)[70, 20]) == BLUE
    assert tuple(np.asarray(image)[70, 120]) == RED
    image = draw_boxes(_field(), boxes)  # in alphabetical order
    assert tuple(np.asarray(image)[70, 20]) == RED
    image = draw_boxes(_field(), [DrawnBox((20, 40, 80, 100), "B", "cut off at the border")])
    assert _has(image, GREY)
    assert not _has(image, BLUE)


def test_a_label_is_above_its_box_or_in_it():
    image = draw_boxes(_field(), [DrawnBox((50, 60, 120, 130), "Monocyte")])
    assert _has(image, BLUE, slice(0, 55))
    image = draw_boxes(_field(), [DrawnBox((230, 0, 300, 70), "Monocyte")])
    assert np.asarray(image)[3:15, 232:290].std() > 20
    boxes = [DrawnBox((50, 60, 60, 70), "Monocyte")]  # too small for a label
    assert not _has(draw_boxes(_field(), boxes), BLUE, slice(0, 55))


def test_a_slide_is_made_smaller(monkeypatch):
    monkeypatch.setattr(drawing, "MOST_SIDE", 100)
    image = draw_boxes(_field(200, 400), [DrawnBox((0, 0, 400, 200), "A")])
    assert image.size == (100, 50)
    assert _has(image, BLUE)
    small, scale = drawing.shrunk(Image.fromarray(_field(200, 400)))
    assert small.size == (100, 50) and scale == 0.25
    assert drawing.shrunk(small) == (small, 1)


@pytest.mark.parametrize("box", [(-20, -20, 5, 5), (290, 190, 400, 400), (50, 50, 50, 50), (0, 0, 300, 200)])
def test_boxes_at_and_over_the_border(box):
    draw_boxes(_field(), [DrawnBox(box, "Neutrophil", "touches another cell"), DrawnBox(box)])
    draw_boxes(_field(1, 1), [DrawnBox(box, "é" * 40)])


def test_many_platelets_leave_the_cells_labels_readable_and_have_no_part_of_a_word():
    cell = DrawnBox((40, 60, 160, 180), "Monocyte")
    platelets = [DrawnBox((x, 10, x + 21, 31), "", "platelet") for x in range(0, 280, 22)]
    alone, together = (np.asarray(draw_boxes(_field(), boxes, ["Monocyte"])) for boxes in ([cell], [*platelets, cell]))
    assert (alone[40:] == together[40:]).all()
    frame = np.asarray(draw_boxes(_field(), [DrawnBox((100, 100, 121, 121), "", "platelet")]))
    assert (frame[:95] == 200).all()  # nothing above
    assert _has(draw_boxes(_field(), [DrawnBox((100, 50, 250, 150), "", "platelet")]), GREY, slice(0, 47))
