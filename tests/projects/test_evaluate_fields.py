"""Whole fields with boxes as a user scores a classifier on them, in each form of boxes."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.fields.drawn import CELL, RED, drawn_field
from tests.projects.test_evaluate import register
from tests.projects.test_predict_fields import FRAMED

CELLS = {"1": [(500, 100), (200, 300)], "2": [(320, 240)], "3": []}
SIDE = CELL * RED


@pytest.fixture(scope="module")
def own(new_store):
    own = new_store("fields")
    register(own, encoder=False, **FRAMED)
    return own


def voc(folder, name, boxes):
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for label, (x0, y0, x1, y1) in boxes
    )
    (folder / f"{name}.xml").write_text(f"<annotation><filename>{name}.png</filename>{objects}</annotation>")


def made(folder, form):
    """Fields with the boxes of their cells; one box is of no cell, and one is of a red cell."""
    folder.mkdir(parents=True)
    rows = []
    for name, places in CELLS.items():
        Image.fromarray(drawn_field(places)).save(folder / f"{name}.png")
        boxes = [("Neutrophil", (x - SIDE / 2, y - SIDE / 2, x + SIDE / 2, y + SIDE / 2)) for x, y in places]
        boxes += [("RBC", (5, 5, 45, 45))]
        if name == "3":
            boxes += [("Blast", (400, 300, 460, 360))]
        if form == "VOC":
            voc(folder, name, boxes)
        rows += [(f"{name}.png", *box, label) for label, box in boxes]
    if form == "table":
        rows.append(("gone.png", 1, 1, 20, 20, "Monocyte"))
        pd.DataFrame(rows, columns=["file", "x0", "y0", "x1", "y1", "class"]).to_csv(folder / "boxes.csv", index=False)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("form", ["table", "VOC"])
def test_found_missed_and_classified(own, tmp_path, capsys, form):
    data = made(tmp_path / "data", form)
    run = own.run("evaluate", data=data, threads=1)
    metrics, said = run.data.metrics, capsys.readouterr()
    assert run.info.status == "FINISHED" and run.data.tags["data.kind"] == "folder"
    assert metrics["fields/detection/recall"] == pytest.approx(3 / 4) and metrics["fields/detection/precision"] == 1
    assert metrics["fields/detection/average_precision"] == pytest.approx(3 / 4)
    files = own.files(run.info.run_id)
    boxes = pd.read_csv(files["fields/boxes.csv"], keep_default_na=False)
    assert sorted(boxes["verdict"]) == ["found", "found", "found", "missed"]
    right = (boxes["class"] == "Neutrophil") & (boxes["label"] == "Neutrophil")
    assert metrics["fields/accuracy"] == pytest.approx(right.sum() / 3)
    assert metrics["fields/end_to_end/recall/Neutrophil"] == pytest.approx(right.sum() / 3)
    assert boxes.loc[boxes["verdict"] == "missed", "label"].tolist() == [""]  # the model knows no blasts
    assert "fields/confusion_matrix.png" in files and "fields/predictions.json" in files
    first = next(name for name in files if name.startswith("fields/drawn/00"))
    assert first.endswith(" 3.jpg")  # mistakes first
    drawn = np.asarray(Image.open(files[first]).convert("RGB"), int)
    field = np.asarray(Image.open(data / "3.png"), int)
    assert np.abs(drawn - field)[290:365, 390:470].max() > 60
    assert f"3 fields with 4 white cells ({'Pascal VOC' if form == 'VOC' else 'table'})" in said.err
    assert "the model does not know count as cells without a class: Blast (1)" in said.err
    assert ("1 (row without its picture)" in said.err) == (form == "table")
    assert "white cells: 3 found, 4 there" in said.out and "found and classified" in said.out
    assert own.run("evaluate", data=data, threads=1).info.run_id == run.info.run_id
    assert "has done exactly this already" in capsys.readouterr().err

    other = own.run("evaluate", data=data, threads=1, classes="blast:Monocyte")
    assert other.info.run_id != run.info.run_id and other.data.metrics["fields/end_to_end/recall/Monocyte"] == 0


@pytest.mark.slow
def test_boxes_of_a_field_that_cannot_be_read_are_not_scored(own, tmp_path, capsys):
    data = made(tmp_path / "data", "table")
    whole = (data / "1.png").read_bytes()
    (data / "1.png").write_bytes(whole[: len(whole) // 2])
    run = own.run("evaluate", data=data, threads=1)
    assert run.data.metrics["fields/detection/recall"] == pytest.approx(1 / 2)
    assert "1 fields cannot be read, and their boxes are not scored; the first: 1.png" in capsys.readouterr().err


@pytest.mark.slow
def test_by_mlflow_run(own, tmp_path):
    done = own.mlflow_run("evaluate", data=made(tmp_path / "data", "table"), threads=1)
    assert done.returncode == 0 and "white cells: 3 found, 4 there" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"find_cells": True}, "no boxes found; expected a table with the columns"),
        ({"adapt": True}, "adapt=true is for"),
    ],
)
def test_what_is_refused(own, other_laboratory, tmp_path, capsys, given, words):
    from hemacell.cli import main
    from hemacell.config.jobs import JOBS

    data = made(tmp_path / "data", "table") if "adapt" in given else other_laboratory
    given = own.command("evaluate", data=data, threads=1, **given)[3:]
    with own.here(), pytest.raises(SystemExit) as end:
        main(JOBS["evaluate"], import_module("projects.evaluate").run, given)
    assert end.value.code == 2 and words in capsys.readouterr().err
    assert not own.runs("attributes.status = 'RUNNING'")
