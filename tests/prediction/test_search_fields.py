"""Fields become rows of cells: each once, at one scale, and a search goes on where it was cut short."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.boxes import split_box
from hemacell.data.images import to_square
from hemacell.fields.reasons import CUT_OFF, TOUCHES
from hemacell.framing.frame import Framed
from hemacell.prediction import search_fields as module
from hemacell.prediction.inputs import BOX_COLUMNS, read_inputs
from hemacell.prediction.search_fields import search_fields
from tests.fields.drawn import CELL, RED, drawn_field
from tests.prediction.test_predict_images import Network, work

CELLS = {"a/1.png": [(500, 100), (200, 300)], "a/2.png": [], "b/3.png": [(320, 240), (320, 290), (4, 400)]}


@pytest.fixture
def folder(tmp_path):
    for name, cells in CELLS.items():
        path = tmp_path / "fields" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn_field(cells)).save(path)
    (tmp_path / "fields" / "b" / "text.png").write_text("not an image")
    return tmp_path / "fields"


def search(folder, cache, progress=None):
    return search_fields(read_inputs(str(folder)), cache, 2, progress)


def test_a_row_for_each_white_cell_and_for_each_field_that_cannot_be_read(folder, tmp_path):
    seen = []
    found = search(folder, tmp_path / "cache", lambda *done: seen.append(done))
    inputs = found.inputs
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert inputs.names == ["a/1.png"] * 2 + ["b/3.png"] * 3 + ["b/text.png"]
    assert inputs.smears == ["a"] * 2 + ["b"] * 4
    assert "5 cells in 4 fields of 2 smears" in inputs.summary()
    boxes = inputs.cells.boxes
    assert (np.diff(boxes[:2, 0]) > 0).all() and np.isnan(boxes[5]).all()  # from the left
    for row, (x, y) in enumerate([(200, 300), (500, 100)]):
        x0, y0, x1, y1 = boxes[row]
        assert (x0 + x1) / 2 == pytest.approx(x, abs=6) and (y0 + y1) / 2 == pytest.approx(y, abs=6)
        assert x1 - x0 == pytest.approx(CELL * RED, rel=0.25)
    assert inputs.cells.whys[2] == CUT_OFF and inputs.cells.doubt(2) == CUT_OFF and not inputs.cells.remark(2)
    assert inputs.cells.whys[3] == TOUCHES and not inputs.cells.doubt(3) and inputs.cells.remark(3) == TOUCHES
    assert found.cells.reasons[3].startswith("is not an image") and found.cells.cells_of_fields().tolist() == [
        2,
        0,
        3,
        0,
    ]
    columns = inputs.cells.columns(range(4, 6))
    assert list(columns) == list(BOX_COLUMNS) and columns["x0"].isna().tolist() == [False, True]


def test_cells_of_one_smear_are_cut_out_at_one_size(folder, tmp_path):
    inputs = search(folder, tmp_path / "cache").inputs
    places = [split_box(place) for place in inputs.places]
    assert places[5] == ("b/text.png", None)
    assert len({box.width for _, box in places[:5]}) == 1  # two small smears: their scale is that of both
    assert {box.width for _, box in places[:5]} == {box.height for _, box in places[:5]}
    middle = places[0][1].left + places[0][1].width / 2
    assert middle == pytest.approx(200, abs=6)


def test_a_smear_of_another_magnification_has_its_own_scale(tmp_path):
    for smear, red in (("a", 30), ("b", 60)):
        for number in range(3):
            path = tmp_path / "fields" / smear / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn_field([(150 + 60 * number, 200)], red=red)).save(path)
    inputs = search(tmp_path / "fields", tmp_path / "cache").inputs
    widths = [split_box(place)[1].width for place in inputs.places]
    assert len(widths) == 6 and len(set(widths[:3])) == len(set(widths[3:])) == 1
    assert widths[3] / widths[0] == pytest.approx(2, rel=0.15)


def test_a_field_that_could_not_be_read_is_tried_again(folder, tmp_path, monkeypatch):
    """As after a fault of the network: the file is what it was."""
    real = module.read_image
    monkeypatch.setattr(
        module, "read_image", lambda path, bits: "is gone" if path.name == "1.png" else real(path, bits)
    )
    assert search(folder, tmp_path / "cache").cells.cells_of_fields().tolist() == [0, 0, 3, 0]
    monkeypatch.setattr(module, "read_image", real)
    found = search(folder, tmp_path / "cache").cells
    assert found.cells_of_fields().tolist() == [2, 0, 3, 0] and not found.reasons[0]


def test_a_search_that_was_cut_short_goes_on(folder, tmp_path, monkeypatch):
    whole = search(folder, tmp_path / "whole")
    real, left = module.find_cells, [1]

    def stopped(*given):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(*given)

    monkeypatch.setattr(module, "find_cells", stopped)
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        search(folder, tmp_path / "cache")
    (log,) = (tmp_path / "cache" / "fields").iterdir()
    with log.open("a") as stream:
        stream.write('["1", "{cut')  # as by a power cut
    searched = []
    monkeypatch.setattr(module, "find_cells", lambda *given: searched.append(1) or real(*given))
    seen = []
    found = search(folder, tmp_path / "cache", lambda *done: seen.append(done))
    assert len(searched) == 2 and seen[0] == (2, 4)
    assert found.inputs.places == whole.inputs.places and (found.cells.boxes == whole.cells.boxes).all()

    monkeypatch.setattr(module, "find_cells", None)  # no field is searched twice
    again = search(folder, tmp_path / "cache")
    assert again.inputs.places == whole.inputs.places and again.inputs.cells.whys == whole.inputs.cells.whys
    (folder / "a" / "1.png").touch()  # another file, for all that is known
    with pytest.raises(TypeError):
        search(folder, tmp_path / "cache")


def test_the_output_has_the_boxes_and_what_is_to_be_said(folder, tmp_path):
    class Sees(Network):
        def picture(self, image):
            return Framed(to_square(image, 8), "", "a remark")

        def predict_framed(self, pictures):
            found = zip(super().predict_framed(pictures), pictures, strict=True)
            return [each._replace(doubt=picture.why, remark=picture.remark) for each, picture in found]

    found = search(folder, tmp_path / "cache")
    work(tmp_path / "cells.csv", found.inputs, Sees())
    table = pd.read_csv(tmp_path / "cells.csv", keep_default_na=False)
    assert list(table.columns[:6]) == ["image", *BOX_COLUMNS, "class"]
    assert table["x0"].tolist()[5] == "" and table["x0"].astype(str).str.fullmatch(r"\d*").all()
    assert table["why"][2].endswith(CUT_OFF + "; a remark") and table["needs_review"][2]
    assert table["why"][3].endswith("a remark; " + TOUCHES)
    assert table["class"][5] == "" and "is not an image" in table["why"][5]
    work(tmp_path / "cells.parquet", found.inputs, Sees())
    assert pd.read_parquet(tmp_path / "cells.parquet")["y1"].isna().tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("field", [(200, 200, 200), (255, 255, 255), (0, 0, 0), "cells", "tiny"])
def test_nothing_is_found(tmp_path, field):
    made = drawn_field() if field == "cells" else np.full((300, 300, 3), 0 if field == "tiny" else field, np.uint8)
    Image.fromarray(made[:1, :1] if field == "tiny" else made).save(tmp_path / "1.png")
    with pytest.raises(UserError, match=r"no white cell is found in any of the 1 fields.*leave find_cells out"):
        search(tmp_path, tmp_path / "cache")


def test_none_can_be_read_and_a_table_of_boxes(folder, tmp_path):
    with pytest.raises(UserError, match=r"none of the 1 fields can be read, such as text.png, which is not an image"):
        search(folder / "b" / "text.png", tmp_path / "cache")
    (folder / "boxes.csv").write_text("file,x0,y0,x1,y1\na/1.png,10,10,60,60\n")
    with pytest.raises(UserError, match="has a box for each; leave find_cells out"):
        search(folder / "boxes.csv", tmp_path / "cache")
