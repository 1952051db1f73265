"""Every encoding and separator that Excel and Windows write, and columns by their usual names."""

import unicodedata

import pandas as pd
import pytest

from hemacell.core.errors import UserError
from hemacell.data.tables import open_table, place_of, require_some_file

ROWS = "Bild {0} Größe\r\na/ü.png{0} 12\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_and_separators(tmp_path, encoding, separator):
    (tmp_path / "t.csv").write_bytes(ROWS.format(separator).encode(encoding))
    table = open_table(tmp_path / "t.csv")
    assert table.columns == ["Bild", "Größe"]
    assert table.texts(["Größe", "Bild", ""]) == [["12"], ["a/ü.png"], [""]]


def test_the_line_with_which_excel_names_its_separator(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\nimage;label, short\na,b.png;x\n")
    table = open_table(tmp_path / "t.csv")
    assert table.columns == ["image", "label, short"] and table.texts(["image"]) == [["a,b.png"]]


def test_separators_at_the_end_of_lines_and_quotes(tmp_path):
    (tmp_path / "t.csv").write_text('image;label;\n"a;1.png";"x";\nb.png;NA;\n')
    table = open_table(tmp_path / "t.csv")
    assert table.columns == ["image", "label"]
    assert table.texts(["image", "label"]) == [["a;1.png", "b.png"], ["x", "NA"]]


@pytest.mark.parametrize(
    ("columns", "what", "found"),
    [
        (["Image_Path", "x"], "image", ["Image_Path"]),
        (["path", "image"], "image", ["image", "path"]),
        (["FileName", "Cell Type"], "label", ["Cell Type"]),
        (["class", "Label"], "label", ["Label", "class"]),
        (["Slide", "patient-ID"], "group", ["patient-ID", "Slide"]),
        (["Slide", "patient-ID"], "smear", ["Slide"]),
        (["Subset"], "split", ["Subset"]),
        (["maskfile"], "mask", ["maskfile"]),
        (["unmasked"], "mask", []),
    ],
)
def test_columns_by_their_usual_names(tmp_path, columns, what, found):
    (tmp_path / "t.csv").write_text(",".join(columns) + "\n")
    assert open_table(tmp_path / "t.csv").find(what) == found


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ("filename,width,height,class,xmin,ymin,xmax,ymax", (["xmin", "ymin", "xmax", "ymax"], True)),
        ("x,y,w,h", (["x", "y", "w", "h"], False)),
        ("file,x0,y0,x1,y1,class", (["x0", "y0", "x1", "y1"], True)),
        ("x_min,y_min,w,h", (["x_min", "y_min", "w", "h"], False)),
        ("X1,Y1,X2,Y2", (["X1", "Y1", "X2", "Y2"], True)),
        ("left,top,Width,Height", (["left", "top", "Width", "Height"], False)),
        ("image,width,height", ([], False)),
        ("image,x,y", ([], False)),
    ],
)
def test_columns_of_boxes(tmp_path, columns, found):
    (tmp_path / "t.csv").write_text(columns + "\n")
    assert open_table(tmp_path / "t.csv").box_columns() == found


def test_parquet_has_numbers_and_missing_values(tmp_path):
    pd.DataFrame({"image": ["a", None], "label": [3, 1], "part": [1.5, None]}).to_parquet(tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert table.texts(["part", "label", "image"]) == [["1.5", ""], ["3", "1"], ["a", ""]]


def test_places_in_the_other_unicode_form_and_with_backslashes(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "é")).mkdir()
    (tmp_path / unicodedata.normalize("NFD", "é") / "1.png").touch()
    for written in ("é\\1.png", "é/1.png"):
        assert (tmp_path / place_of(tmp_path, unicodedata.normalize("NFC", written))).is_file()
    (tmp_path / "a\\b.png").touch()
    assert place_of(tmp_path, "a\\b.png") == "a\\b.png"


def test_where_no_file_is_there(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "gone")
    require_some_file(tmp_path / "t.csv", tmp_path, ["a.png", "link.png"])
    require_some_file(tmp_path / "t.csv", tmp_path, ["", ""])
    with pytest.raises(UserError, match=r"none of the 2 files is there, such as a\.png; move the table"):
        require_some_file(tmp_path / "t.csv", tmp_path, ["a.png", "", "\0"])
