"""Boxes of fields in the forms of annotation programs."""

import json

import pytest

from hemacell.core.errors import UserError
from hemacell.data.boxes import Box
from hemacell.data.sources.formats import LabelledBox
from hemacell.fields.annotations import has_annotations, read_annotations, white_class
from tests.data.sources.pictures import picture
from tests.data.sources.test_formats import one, voc

NEUTROPHIL, RED_CELL = LabelledBox("Neutrophil", Box(10, 20, 30, 16)), LabelledBox("RBC", Box(60, 40, 8, 8))


@pytest.fixture
def folder(tmp_path):
    """Two fields of 100 x 80 pixels; nothing is said of them yet."""
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.jpg", (100, 80))
    return tmp_path


def _table(folder):
    rows = ["file,x0,y0,x1,y1,class", "images/a.jpg,10,20,40,36,Neutrophil", "a.jpg,60,40,68,48,RBC", "b.jpg,,,,,"]
    (folder / "boxes.csv").write_text("\n".join(rows))


def _voc(folder):
    (folder / "Annotations").mkdir()
    cells = one("Neutrophil", (11, 21, 40, 36)), one("RBC", (61, 41, 68, 48))
    (folder / "Annotations" / "a.xml").write_text(voc(*cells))
    (folder / "Annotations" / "b.xml").write_text(voc())


def _coco(folder, **changes):
    content = {
        "images": [{"id": 4, "file_name": "a.jpg"}, {"id": 7, "file_name": "images/b.jpg"}],
        "categories": [{"id": 1, "name": "Neutrophil"}, {"id": 2, "name": "RBC"}],
        "annotations": [
            {"image_id": 4, "category_id": 1, "bbox": [10.2, 20, 29.6, 16]},
            {"image_id": 4, "category_id": 2, "bbox": [60, 40, 8, 8]},
        ],
    }
    (folder / "instances.json").write_text(json.dumps(content | changes))


def _yolo(folder, names="Neutrophil\nRBC\n"):
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text("0 0.25 0.35 0.3 0.2\n1 0.64 0.55 0.08 0.1\n")
    (folder / "labels" / "b.txt").write_text("")
    if names:
        (folder / "classes.txt").write_text(names)


FORMS = {"table": _table, "Pascal VOC": _voc, "COCO": _coco, "YOLO": _yolo}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_boxes(folder, form):
    assert not has_annotations(folder)
    FORMS[form](folder)
    assert has_annotations(folder)
    found = read_annotations(folder)
    assert found.form == form
    a, b = (folder / "images" / name for name in ("a.jpg", "b.jpg"))
    assert found.fields == {a: [NEUTROPHIL, RED_CELL], b: []}
    assert found.white_cells() == {a: [NEUTROPHIL], b: []}
    assert found.labels() == {"Neutrophil": 1, "RBC": 1}
    assert found.skipped == []


def test_a_table_comes_first_where_there_are_several(folder):
    for write in FORMS.values():
        write(folder)
    assert read_annotations(folder).form == "table"


def test_one_name_in_two_folders(tmp_path):
    for split in ("train", "valid"):
        picture(tmp_path / split / "images" / "a.jpg", (100, 80))
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n" if split == "train" else "")
    (tmp_path / "data.yaml").write_text("nc: 1\nnames:\n  0: WBC\n")
    fields = read_annotations(tmp_path).fields
    assert {path.relative_to(tmp_path).parts[0]: len(boxes) for path, boxes in fields.items()} == {
        "train": 1,
        "valid": 0,
    }


@pytest.mark.parametrize("text", ["names: [Neutrophil, RBC]", "names:\n  0: Neutrophil\n  1: RBC\n"])
def test_names_of_classes_in_data_yaml(folder, text):
    _yolo(folder, names="")
    (folder / "data.yaml").write_text(text)
    assert read_annotations(folder).labels() == {"Neutrophil": 1, "RBC": 1}


def test_what_cannot_be_used_is_listed(folder):
    rows = ["file,x0,y0,x1,y1", "a.jpg,10,20,40,36", "a.jpg,500,500,520,520", "c.jpg,1,1,9,9", "b.jpg,0.1,0.2,0.3,0.4"]
    (folder / "boxes.csv").write_text("\n".join(rows))
    found = read_annotations(folder)
    assert [len(boxes) for boxes in found.fields.values()] == [1, 0]
    assert {skipped.reason for skipped in found.skipped} == {
        "row without its picture",
        "row without a box in pixels",
        "box outside of its picture",
    }


def test_a_damaged_picture_is_listed(folder):
    _voc(folder)
    (folder / "images" / "b.jpg").write_bytes(b"")
    found = read_annotations(folder)
    assert [path.name for path in found.fields] == ["a.jpg"]
    assert found.skipped[0].reason == "has zero size"


def test_annotations_of_coco_without_a_box_are_counted(folder):
    _coco(folder, annotations=[{"image_id": 4, "category_id": 1}, {"image_id": 4, "bbox": [1, 1, 5, 5]}])
    found = read_annotations(folder)
    assert found.labels() == {"": 1}
    assert [skipped.reason for skipped in found.skipped] == ["annotation without a box"]


def test_coco_names_no_files_outside_of_the_folder(folder, tmp_path_factory):
    outside = picture(tmp_path_factory.mktemp("outside") / "c.jpg", (100, 80))
    _coco(folder, images=[{"id": 4, "file_name": str(outside)}])
    with pytest.raises(UserError, match="annotation without a picture"):
        read_annotations(folder)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda folder: None, "no boxes found; expected a table with the columns file, x0"),
        (lambda folder: _yolo(folder, names=""), "nothing names them; expected classes.txt"),
        (lambda folder: _yolo(folder, names="Neutrophil"), None),
        (
            lambda folder: (folder / "instances.json").write_text('{"images": [{"id": 1}], "annotations": []}'),
            "of COCO",
        ),
        (lambda folder: (folder / "instances.json").write_text('{"images": ['), "of COCO"),
        (
            lambda folder: (folder / "boxes.csv").write_text("file,x0,y0,x1,y1\nz.jpg,1,1,9,9\n"),
            "row without its picture",
        ),
        (lambda folder: [_yolo(folder, ""), (folder / "data.yaml").write_text("names: [")], "cannot be read as YAML"),
    ],
)
def test_what_is_no_annotation_is_one_line(folder, write, said):
    write(folder)
    if said is None:  # one file of two has a class without a name
        assert [skipped.reason for skipped in read_annotations(folder).skipped] == [
            "annotation has a class or a share out of range"
        ]
        return
    with pytest.raises(UserError, match=said) as raised:
        read_annotations(folder)
    assert "\n" not in str(raised.value)


def test_labels_of_white_cells():
    names = {
        "WBC": "",
        "white blood cell": "",
        "RBC": None,
        "Platelets": None,
        "NEUTROPHILS": "Neutrophil",
        "odd": "odd",
    }
    assert {name: white_class(name) for name in names} == names
