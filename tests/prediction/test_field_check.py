"""Fields among what should be single cells: the set decides, and one picture only if it is unlike the known cells."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.classifiers.description import Prediction
from hemacell.framing.frame import Framed
from hemacell.prediction import field_check
from hemacell.prediction.field_check import REMARK, Sample, checked, look_for_fields
from hemacell.prediction.in_memory import predict_table
from hemacell.prediction.inputs import read_inputs
from tests.fields.drawn import drawn_field
from tests.prediction.test_predict_images import FACTS, Network, classify, open_parts


def prediction(distance: float, remark: str = "") -> Prediction:
    return Prediction(np.array([0.3, 0.7]), distance, "", remark)


@pytest.fixture
def stand_in(monkeypatch):
    """A picture is taken for a field where it is wide."""
    monkeypatch.setattr(field_check, "looks_like_field", lambda picture, file_size: file_size[0] > file_size[1])


def folder(tmp_path, wide, square, text=0):
    for number in range(wide + square + text):
        file = tmp_path / "in" / f"{number:03}.png"
        file.parent.mkdir(exist_ok=True)
        if number >= wide + square:
            file.write_text("no image")
        else:
            Image.new("RGB", (40 if number < wide else 20, 20), (255, 9, 9)).save(file)
    return tmp_path / "in"


@pytest.mark.parametrize(("wide", "square", "fields"), [(4, 3, True), (3, 3, False), (1, 9, False), (1, 0, True)])
def test_a_set_is_taken_for_fields_where_more_than_half_look_so(stand_in, tmp_path, wide, square, fields):
    found = look_for_fields(read_inputs(str(folder(tmp_path, wide, square, text=2))))
    assert found == Sample(wide + square, wide) and found.are_fields is fields
    assert f"{wide} of {wide + square} pictures look like whole fields" in found.in_words()
    assert "find_cells=true" in found.in_words()


def test_some_of_many_are_looked_at_and_boxes_never(stand_in, tmp_path):
    source = folder(tmp_path, 150, 0)
    assert look_for_fields(read_inputs(str(source))) == Sample(60, 60)
    (source / "boxes.csv").write_text("image,x0,y0,x1,y1\n000.png,1,1,9,9\n")
    assert not look_for_fields(read_inputs(str(source / "boxes.csv"))).are_fields
    (source / "text").mkdir()
    (source / "text" / "a.png").write_text("no image")
    assert not look_for_fields(read_inputs(str(source / "text"))).are_fields


def test_one_picture_only_where_it_is_unlike_the_known_cells_too(stand_in):
    wide, square = (Image.new("RGB", size) for size in ((40, 20), (20, 20)))
    assert checked(prediction(1.5, "a remark"), wide).remark == f"a remark; {REMARK}"
    assert checked(prediction(1.5), wide).remark == REMARK
    assert checked(prediction(0.9), wide).remark == ""
    assert checked(prediction(1.5), square).remark == ""
    assert checked("is truncated", "is truncated") == "is truncated"


def test_drawn_fields_through_a_table_in_memory():
    class Far(Network):
        def of_images(self, images):
            return self

        def predict(self, images):
            return [prediction(3.0) for _ in images]

    field = Image.fromarray(drawn_field([(100, 100), (500, 300)]))
    table = predict_table(Far(), [field, "is truncated"])
    assert table["why"][0].startswith("unlike the cells") and table["why"][0].endswith(REMARK)
    assert table["why"][1] == "is truncated"


@pytest.mark.parametrize("may_be_fields", [True, False])
def test_rows_of_a_set_that_is_taken_for_fields(stand_in, tmp_path, may_be_fields):
    inputs = read_inputs(str(folder(tmp_path, 3, 2, text=1)))

    class Far(Network):
        def picture(self, image):
            return Framed(np.full((8, 8, 3), 255, np.uint8))  # Network takes white ones for unlike

    output = tmp_path / "cells.csv"
    with open_parts(output, "k", FACTS, len(inputs), 4) as parts:
        classify(Far(), inputs, parts, "models:/m/1", batch=2, may_be_fields=may_be_fields)
        parts.publish(lambda digest: None)
    whys = pd.read_csv(output, keep_default_na=False)["why"]
    expected = [may_be_fields] * 3 + [False] * 3
    assert whys.str.contains("unlike").tolist() == [True] * 5 + [False]
    assert [REMARK in why for why in whys] == expected
