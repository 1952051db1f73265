"""What was found in many fields, kept compactly."""

import pytest

from hemacell.fields.finder import FoundCell
from hemacell.fields.found_cells import FoundCells, SearchedField
from hemacell.fields.reasons import CUT_OFF, DIRT, PLATELET

CELL = FoundCell((10.123456, 20, 50, 60.5), (30, 40.126), 1.234567)
FIELDS = [
    SearchedField(
        [CELL, FoundCell((0, 0, 9, 9), (4, 4), 0.2, PLATELET), FoundCell((0, 0, 30, 30), (9, 9), 2, CUT_OFF)]
    ),
    SearchedField([], "is not an image"),
    SearchedField([]),
    SearchedField([FoundCell((5, 5, 8, 8), (6, 6), 0.1, DIRT), CELL]),
]


def test_a_field_as_a_line_of_text():
    lines = [field.to_json() for field in FIELDS]
    read = [SearchedField.from_json(line) for line in lines]
    assert [field.to_json() for field in read] == lines and not any("\n" in line for line in lines)
    assert read[0].cells[0] == FoundCell((10.12, 20, 50, 60.5), (30, 40.13), 1.2346)
    assert read[1].reason == "is not an image" and read[3].cells[0].why == DIRT
    with pytest.raises((ValueError, KeyError, TypeError)):
        SearchedField.from_json(lines[0][:-8])


def test_all_that_was_found():
    found = FoundCells.of(FIELDS)
    assert found.fields.tolist() == [0, 0, 0, 3, 3] and found.boxes.shape == (5, 4) and found.centers.shape == (5, 2)
    assert [found.why(number) for number in range(5)] == ["", PLATELET, CUT_OFF, DIRT, ""]
    assert found.is_white_cell.tolist() == [True, False, True, False, True]
    assert found.cells_of_fields().tolist() == [2, 0, 0, 1]
    assert found.counted() == {PLATELET: 1, CUT_OFF: 1, DIRT: 1}
    assert [list(found.of_field(field)) for field in range(4)] == [[0, 1, 2], [], [], [3, 4]]


def test_nothing_at_all():
    found = FoundCells.of([SearchedField([]), SearchedField([])])
    assert found.boxes.shape == (0, 4) and found.cells_of_fields().tolist() == [0, 0] and not found.counted()
