"""Scores of fields with boxes, found and classified, against counts by hand."""

import pytest

from hemacell.fields.detection_metrics import FieldBoxes
from hemacell.fields.field_scores import field_metrics, matches

CLASSES = ("A", "B")
ONE, TWO, THREE = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
HALF = (20, 0, 30, 4.5)  # of TWO: IoU 0.45
FIELDS = [
    FieldBoxes([ONE, HALF], [3, 2], [ONE, TWO], ["A", "A"], ["A", "B"]),
    FieldBoxes([THREE], [1], [], ["B"], []),
    FieldBoxes([], [], [THREE], [], ["Blast"]),
]


def test_found_alone_and_with_its_class():
    assert [matches(field).tolist() for field in FIELDS] == [[0, 1], [-1], []]
    found = field_metrics(FIELDS, CLASSES)
    assert found["detection/recall"] == pytest.approx(2 / 3) and found["detection/precision"] == pytest.approx(2 / 3)
    assert found["detection/recall_iou50"] == pytest.approx(1 / 3)
    assert found["detection/precision_iou50"] == pytest.approx(1 / 3)
    assert found["detection/average_precision"] == pytest.approx(1 / 3)
    assert (found["detection/cells"], found["detection/found"]) == (3, 3)
    assert found["end_to_end/recall/A"] == 1 and found["end_to_end/precision/A"] == 0.5
    assert found["end_to_end/recall/B"] == 0 and found["end_to_end/precision/B"] == 0
    assert not any("Blast" in name for name in found)


def test_without_classes_and_without_cells():
    found = field_metrics([FieldBoxes([ONE], [1], [ONE], ["A"], [""])], CLASSES)
    assert found["detection/recall"] == 1 and not any(name.startswith("end") for name in found)
    found = field_metrics([FieldBoxes([], [], [])], CLASSES)
    assert found == {"detection/cells": 0, "detection/found": 0}
