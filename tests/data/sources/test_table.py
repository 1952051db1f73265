"""A table of images: what is understood of it, and every table that cannot be."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.boxes import split_box
from hemacell.data.decoding import decode
from hemacell.data.sources.base import find_source
from hemacell.data.sources.resolve import resolve_data
from tests.reading import read_cells


@pytest.fixture
def images(tmp_path):
    """Six images of 8 px and their masks."""
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / f"{number}_m.png")
    return tmp_path


def write(folder, text, name="cells.csv", encoding="utf-8"):
    (folder / name).write_text(text, encoding=encoding)
    return folder / name


def of_image(manifest, column):
    """file name -> the value of a column, of originals."""
    table = manifest.table[manifest.table["source"] == "original"]
    return {path.rsplit("/", 1)[1]: value for path, value in zip(table["path"], table[column], strict=True)}


def test_all_that_a_table_can_say(images):
    rows = ["0.png;NEU;Training;p1;0_m.png", "1.png;Mono;train;p2;", "2.png;neu;TEST;p3;2_m.png"]
    file = write(images, "\r\n".join(["Image;Cell Type;Set;Patient;Mask", *rows]), encoding="utf-16")
    assert find_source(file, "wbc").name == "a table" and find_source(file, "camelyon") is None
    assert resolve_data(str(file), images).root == file
    manifest = read_cells(file)
    assert of_image(manifest, "label") == {"0.png": "Neutrophil", "1.png": "Monocyte", "2.png": "Neutrophil"}
    assert of_image(manifest, "split") == {"0.png": "train", "1.png": "train", "2.png": "test"}
    assert of_image(manifest, "group") == {"0.png": "p1", "1.png": "p2", "2.png": "p3"}
    assert of_image(manifest, "own_mask")["2.png"] == str(images / "2_m.png")
    assert sorted(manifest.table["source"]) == ["masked", "original", "original", "original"]
    assert "split by the column Set; group by the column Patient; 2 images have a mask" in manifest.summary()
    assert len(decode(manifest, 8, images / "cache")) == 4


def test_without_splits_and_groups_and_with_numbers_as_labels(images):
    frame = pd.DataFrame({"file": ["0.png", "1.png", "2.png", None], "class": [1.0, 2.0, None, 2.0]})
    frame.to_parquet(images / "t.parquet")
    manifest = read_cells(images / "t.parquet")
    assert of_image(manifest, "label") == {"0.png": "1", "1.png": "2"} and set(manifest.table["split"]) == {"train"}
    assert (manifest.table["group"] == manifest.table["sha256"]).all()
    assert "passed over: 1 (row without an image), 1 (has no label)" in manifest.summary()
    assert read_cells(images / "t.parquet", classes="1:Monocyte,2:Blast").classes == ("Blast", "Monocyte")


def test_rows_given_twice_outside_of_the_splits_and_broken(images):
    file = write(images, "image,label,split\n0.png,a,train\n./0.png,a,train\n1.png,b,val\n2.png,b,\ngone.png,b,train\n")
    manifest = read_cells(file)
    assert "passed over: 1 (row given twice), 1 (row without a split)" in manifest.summary()
    assert [path for path, _ in decode(manifest, 8, images / "cache", max_bad=0.5).bad] == [str(images / "gone.png")]


def test_an_image_under_two_labels_is_said(images):
    manifest = read_cells(write(images, "image,label\n0.png,a\n1.png,b\n0.png,b\n"))
    assert f"1 images stand under several labels, such as {images / '0.png'}" in manifest.account.notes
    assert "several labels" not in read_cells(write(images, "image,label\n0.png,a\n1.png,b\n")).summary()


def test_boxes_of_real_fields(real_data):
    fields = real_data.parent / "fields" / "chula"
    if not fields.is_dir():
        pytest.skip("no real fields beside the project")
    manifest = read_cells(fields / "boxes.csv")
    assert len(manifest) == len(pd.read_csv(fields / "boxes.csv")) and "boxes by the columns x0" in str(
        manifest.account
    )
    assert manifest.table["sha256"].is_unique


def test_a_column_set_that_names_no_splits_is_said(images):
    manifest = read_cells(write(images, "image,label,set\n0.png,a,A\n1.png,b,B\n"))
    assert "the column set is not used: it names no splits (A, B)" in manifest.summary()
    assert "split by" not in manifest.summary() and set(manifest.table["split"]) == {"train"}


@pytest.mark.parametrize(
    "text",
    [
        "filename,width,height,class,xmin,ymin,xmax,ymax\n0.png,8,8,WBC,2,3,6,5\n0.png,8,8,RBC,0,0,3,3\n",
        "image;label;x;y;w;h\n0.png;WBC;2,2;3;3,8;2\n0.png;RBC;0;0;3;3\n",
    ],
)
def test_boxes_become_crops(images, text):
    manifest = read_cells(write(images, text))
    boxes = {
        label: split_box(path) for path, label in zip(manifest.table["path"], manifest.table["label"], strict=True)
    }
    assert boxes == {"WBC": (str(images / "0.png"), (2, 3, 4, 2)), "RBC": (str(images / "0.png"), (0, 0, 3, 3))}
    assert set(manifest.table["group"]) == {"0.png"} and "boxes of one picture are a group" in manifest.summary()
    assert "boxes by the columns" in manifest.summary() and len(set(manifest.table["sha256"])) == 2
    assert len(decode(manifest, 8, images / "cache")) == 2


def test_boxes_that_are_none(images):
    lines = ["0.png,a,0,0,4,4", "1.png,b,1,1,5,5", "2.png,a,,,,", "3.png,a,5,5,5,9", "4.png,a,0.1,0.1,0.5,0.5"]
    manifest = read_cells(write(images, "\n".join(["image,label,x1,y1,x2,y2", *lines, "5.png,b,9,9,12,12"])))
    assert len(manifest) == 3 and "passed over: 3 (row without a box in pixels)" in manifest.summary()
    with pytest.raises(UserError, match=r"1 of 3 images cannot be read.*box \(9, 9, 3, 3\) lies outside"):
        decode(manifest, 8, images / "cache")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,split\n0.png,train\n", "expected a column label, class or cell_type, found image, split"),
        ("image,label,Class\n0.png,a,b\n", "label and Class could both be the label; rename or remove one"),
        ("image,label,label\n0.png,a,b\n", "label and label could both be the label"),
        ("cell,label\n0.png,a\n", "expected a column image or path"),
        ("image,label\n", "the table has no rows"),
        ("", "found no columns"),
        ("image,label\nx.png,a\ny.png,b\n", "none of the 2 files is there, such as x.png"),
        ("image,label\n0.png,a\n1.png,a\n", "two or more classes, found a only"),
        ("image,label\n0.png,\n1.png,NA\n", "found no labelled images"),
        (
            "image,label,split\n0.png,a,train\n1.png,b,later\n",
            "expected train, val or test in the column split, found lat",
        ),
        ("image,label,x,y,w,h\n0.png,a,0.5,0.5,0.1,0.1\n", "no row can be used: row without a box in pixels"),
    ],
)
def test_mistakes_are_one_line(images, text, words):
    with pytest.raises(UserError) as caught:
        read_cells(write(images, text))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_options_of_the_course_layout_are_refused(images):
    with pytest.raises(UserError, match=r"mask_from=x: .* is read as a table"):
        read_cells(write(images, "image,label\n0.png,a\n1.png,b\n"), mask_from="x")
