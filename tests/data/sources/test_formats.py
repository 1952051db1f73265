"""Boxes as annotation programs write them, well-formed and not."""

import pytest

from hemacell.data.boxes import Box
from hemacell.data.sources.formats import LabelledBox, UnreadableBoxes, read_voc, read_yolo

NAMES = ("Neutrophil", "Eosinophil")


def voc(*objects: str) -> str:
    return f"<annotation><filename>a.jpg</filename>{''.join(objects)}</annotation>"


def one(name="WBC", corners=(68, 315, 286, 480)) -> str:
    sides = "".join(
        f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{name}</name><bndbox>{sides}</bndbox></object>"


def test_corners_of_voc_count_from_one(tmp_path):
    (tmp_path / "a.xml").write_text(voc(one(), one("RBC", ("1.0", "1", "10.4", "20"))))
    boxes = [LabelledBox("WBC", Box(67, 314, 219, 166)), LabelledBox("RBC", Box(0, 0, 10, 20))]
    assert read_voc(tmp_path / "a.xml") == boxes
    (tmp_path / "b.xml").write_text(voc())
    assert read_voc(tmp_path / "b.xml") == []


def test_shares_of_yolo_become_pixels(tmp_path):
    (tmp_path / "a.txt").write_text("1 0.5 0.25 0.1 0.2\n0 1 1 0.5 0.5\n\n")
    boxes = [LabelledBox("Eosinophil", Box(450, 150, 100, 200)), LabelledBox("Neutrophil", Box(750, 750, 500, 500))]
    assert read_yolo(tmp_path / "a.txt", (1000, 1000), NAMES) == boxes
    (tmp_path / "b.txt").write_text("")
    assert read_yolo(tmp_path / "b.txt", (10, 10), NAMES) == []


ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
LAUGHS = '<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ENTITY + voc(one("&x;")), "document type"),
        (LAUGHS + voc(one("&b;")), "document type"),
        ((ENTITY + voc(one("&x;"))).encode("utf-16"), "not in UTF-8"),
        (voc(one("&x;")), "no VOC file"),
        (voc(one())[:-5], "no VOC file"),
        (voc(one(corners=("1", "2", "three", "4"))), "no VOC file"),
        (voc(one(corners=("1", "2", "inf", "4"))), "no VOC file"),
        (voc(one("")), "no VOC file"),
        (voc("<object><name>WBC</name></object>"), "no VOC file"),
        ("", "no VOC file"),
    ],
)
def test_voc_that_cannot_be(tmp_path, text, said):
    (tmp_path / "a.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UnreadableBoxes, match=said):
        read_voc(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2 0.5 0.5 0.1 0.1", "out of range"),
        ("-1 0.5 0.5 0.1 0.1", "out of range"),
        ("0 0.5 1.5 0.1 0.1", "out of range"),
        ("0 nan 0.5 0.1 0.1", "out of range"),
        ("0 0.5 0.5 0.1", "no YOLO file"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.1", "no YOLO file"),
        ("cell 0.5 0.5 0.1 0.1", "no YOLO file"),
        (b"\xff\xfe0", "no YOLO file"),
    ],
)
def test_yolo_that_cannot_be(tmp_path, text, said):
    (tmp_path / "a.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UnreadableBoxes, match=said):
        read_yolo(tmp_path / "a.txt", (100, 100), NAMES)


def test_a_file_that_is_missing_or_far_too_large(tmp_path):
    with pytest.raises(UnreadableBoxes, match="No such file"):
        read_voc(tmp_path / "gone.xml")
    with open(tmp_path / "large.txt", "wb") as file:
        file.truncate(20_000_000)
    with pytest.raises(UnreadableBoxes, match="too large"):
        read_yolo(tmp_path / "large.txt", (10, 10), NAMES)
