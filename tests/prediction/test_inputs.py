"""What is to be classified: folders, tables, single files, and every way to name something else."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.prediction.inputs import read_inputs
from hemacell.prediction.read_ahead import read_square


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.JPG", "b/10.jpg", "a/deep/er/x.png", "top.tif", "b/.hidden.jpg", ".cache/y.jpg", "notes.txt"):
        path = tmp_path / "cells" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "cells"


def test_a_folder_is_searched_at_any_depth_and_sorted(folder):
    found = read_inputs(str(folder))
    assert found.names == ["a/deep/er/x.png", "b/10.jpg", "b/2.JPG", "top.tif"]
    assert found.smears == ["a", "b", "b", "."]
    assert found.path(0) == folder / "a/deep/er/x.png" and found.source == found.root == folder


def test_a_flat_folder_is_one_smear_and_a_broken_link_is_listed(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = read_inputs(str(tmp_path))
    assert found.names == ["a.jpg", "b.jpg"] and found.smears == ["all", "all"]


def test_a_name_that_is_no_utf8_can_be_written_and_opened(tmp_path):
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this disk takes UTF-8 only")
    found = read_inputs(str(tmp_path))
    assert found.names == ["\ufffd.jpg"] and found.path(0).is_file() and len(found.digest()) == 64


@pytest.mark.parametrize("kind", ["csv", "semicolons", "parquet"])
def test_a_table_keeps_its_order_and_its_names(tmp_path, kind):
    table = pd.DataFrame(
        {"n": [1, 2, 3, 4], "path": ["b.jpg", "/abs/a.jpg", None, "b.jpg"], "smear": ["s", "t", "s", None]}
    )
    (tmp_path / "b.jpg").touch()
    file = tmp_path / ("t.parquet" if kind == "parquet" else "t.csv")
    if kind == "parquet":
        table.to_parquet(file)
    else:
        table.to_csv(file, index=False, sep=";" if kind == "semicolons" else ",")
    found = read_inputs(str(file))
    assert found.names == ["b.jpg", "/abs/a.jpg", "", "b.jpg"] and found.smears == ["s", "t", "s", "."]
    assert found.path(0) == tmp_path / "b.jpg" and found.path(1) == Path("/abs/a.jpg") and found.path(2) is None


def test_the_column_image_comes_before_path_and_nothing_is_taken_for_missing(tmp_path):
    (tmp_path / "007.jpg").touch()
    (tmp_path / "t.csv").write_text("﻿path,image\nx.jpg,NA\ny.jpg,007.jpg\n", encoding="utf-8")
    assert read_inputs(str(tmp_path / "t.csv")).names == ["NA", "007.jpg"]


def test_a_table_from_excel(tmp_path):
    (tmp_path / "ä").mkdir()
    (tmp_path / "ä" / "1.jpg").touch()
    (tmp_path / "t.csv").write_bytes("sep=;\r\nImage Path;Slide ID\r\nä\\1.jpg;S1\r\n".encode("cp1252"))
    found = read_inputs(str(tmp_path / "t.csv"))
    assert found.names == ["ä\\1.jpg"] and found.smears == ["S1"] and found.path(0).is_file()


def test_one_file(folder):
    found = read_inputs(str(folder / "b" / "2.JPG"))
    assert found.names == ["2.JPG"] and found.path(0) == folder / "b" / "2.JPG"


def test_the_digest_knows_other_and_changed_files(folder):
    before = read_inputs(str(folder)).digest()
    assert read_inputs(str(folder)).digest() == before
    (folder / "top.tif").write_bytes(b"longer")
    changed = read_inputs(str(folder)).digest()
    (folder / "more.jpg").write_bytes(b"x")
    assert len({before, changed, read_inputs(str(folder)).digest()}) == 3


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda at: at / "cels", "no such file or folder; did you mean cells?"),
        (lambda at: at / "none" / "cells", "does not exist either"),
        (lambda at: at / "empty", "found no files"),
        (lambda at: at / "papers", "found 2 .pdf, 1 .txt"),
        (lambda at: write(at / "cells.zip", "PK"), "cells.zip: cannot be unpacked"),
        (lambda at: write(at / "cells.doc", "PK"), "found a file that ends in .doc"),
        (lambda at: write(at / "t.csv", "cell,label\na.jpg,b\n"), "expected a column image or path"),
        (lambda at: write(at / "t.csv", "cell,label\na.jpg,b\n"), "found cell, label"),
        (lambda at: write(at / "t.csv", "image\n"), "has no rows"),
        (lambda at: write(at / "t.csv", "image\na.jpg\nb.jpg\n"), "none of the 2 files is there, such as a.jpg"),
        (lambda at: write(at / "t.csv", ""), "found no columns"),
        (lambda at: write(at / "t.csv", 'image\n"a.jpg\n'), "cannot be read as a .csv table"),
        (lambda at: write(at / "t.parquet", "no parquet"), "cannot be read as a .parquet table"),
    ],
)
def test_mistakes_are_one_line(tmp_path, folder, make, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "papers").mkdir()
    for name in ("a.pdf", "b.pdf", "c.txt"):
        (tmp_path / "papers" / name).write_text("x")
    with pytest.raises(UserError) as caught:
        read_inputs(str(make(tmp_path)))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_of_bytes_is_refused(tmp_path):
    pd.DataFrame({"image": [b"\xff\xd8"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="expected text in the column image"):
        read_inputs(str(tmp_path / "t.parquet"))


def test_an_archive_is_a_folder_whose_names_and_digest_do_not_depend_on_the_cache(tmp_path, monkeypatch, folder):
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "cells"))
    of_caches = []
    for cache in ("one", "two"):
        monkeypatch.setenv("HEMACELL_CACHE", str(tmp_path / cache))
        found = read_inputs(str(packed))
        assert found.names == ["a/deep/er/x.png", "b/10.jpg", "b/2.JPG", "top.tif"] and found.smears[:2] == ["a", "b"]
        assert found.path(0).read_bytes() == b"x" and found.source == packed and found.kind() == "folder"
        of_caches.append(found.digest())
    assert of_caches[0] == of_caches[1]
    os.utime(packed, (0, 0))
    assert read_inputs(str(packed)).digest() != of_caches[0]


def test_boxes_of_a_table_are_cells_as_in_training(tmp_path):
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[10:30, 20:40] = 200
    Image.fromarray(pixels).save(tmp_path / "field.png")
    rows = ["field.png,20,10,40,30", "field.png,1000,10,1040,30", "field.png,,,,", "gone.png,1,1,9,9"]
    table = tmp_path / "cells.csv"
    table.write_text("\n".join(["image,xmin,ymin,xmax,ymax", *rows]))
    found = read_inputs(str(table))
    assert found.names[0] == "field.png#xywh=20,10,20,20" and found.bits is None and len(set(found.names)) == 4
    squares = [read_square(found.path(number), 30) for number in range(4)]
    assert np.array_equal(squares[0], pixels[5:35, 15:45])
    assert "lies outside" in squares[1] and squares[2:] == [
        "has no box in pixels",
        "cannot be opened: No such file or directory",
    ]
    (tmp_path / "again.csv").write_text("\n".join(["image", *(f'"{name}"' for name in found.names)]))
    again = read_inputs(str(tmp_path / "again.csv"))  # the names in a table of predictions can be read again
    assert again.names == found.names and np.array_equal(read_square(again.path(0), 30), squares[0])
    table.write_text("image,x,y,w,h\nfield.png,0.5,0.5,0.1,0.1\n")
    with pytest.raises(UserError, match="expected boxes in pixels in the columns x, y, w, h, found none"):
        read_inputs(str(table))


def test_the_depth_of_the_camera_is_said(tmp_path):
    for number in range(2):
        Image.fromarray(np.full((8, 8), 4000 + number, np.uint16)).save(tmp_path / f"{number}.png")
    assert "files of 16 bits are shown as those of a camera of 12 bits" in read_inputs(str(tmp_path)).summary()
