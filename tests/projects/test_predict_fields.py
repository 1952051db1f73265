"""Whole fields as a user meets them: one command, killed and continued, and pictures that are no fields."""

import shutil
import signal
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.framing.description import Framing, Site
from tests.fields.drawn import drawn_field
from tests.projects.test_evaluate import register
from tests.projects.test_predict import start

FRAMED = {
    "framing": Framing(field=1.6),
    "site": Site(images=90, diameter=0.3, unit="share", error=0.01, density=(0.9, 1.1, 0.5)),
}
COLUMNS = ["image", "x0", "y0", "x1", "y1", "class", "probability"]


@pytest.fixture(scope="module")
def own(new_store):
    own = new_store("fields")
    register(own, encoder=False, **FRAMED)
    return own


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """Two smears: three fields with five cells, one without, a text file; and a field in RGBA."""
    cells = {"a/1.png": [(500, 100), (200, 300)], "a/2.png": [], "b/3.png": [(320, 240), (320, 290), (4, 400)]}
    for name, places in cells.items():
        path = tmp_path / "fields" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(drawn_field(places))
        (image.convert("RGBA") if name == "b/3.png" else image).save(path)
    (tmp_path / "fields" / "b" / "text.png").write_text("not an image")
    return tmp_path / "fields"


@pytest.mark.slow
def test_by_mlflow_run_with_counts_and_drawn_copies(own, fields, tmp_path, capsys, monkeypatch):
    output = tmp_path / "cells.csv"
    given = {"images": fields, "output": output, "find_cells": True, "differential": True}
    done = own.mlflow_run("predict", **given)
    assert done.returncode == 0, done.stderr
    for words in ("finding cells: 4/4", "found: 5 white cells in 3 fields (2 touches another cell, 1 cut off"):
        assert words in done.stderr
    assert "no white cell is found in 1 of 3 fields, which have no row: a/2.png" in done.stderr
    assert "warning: 1 of 6 images could not be read" in done.stderr and "Traceback" not in done.stderr

    table = pd.read_csv(output, keep_default_na=False, dtype={"x0": str})
    assert list(table.columns[:7]) == COLUMNS
    assert table["image"].tolist() == ["a/1.png"] * 2 + ["b/3.png"] * 3 + ["b/text.png"]
    assert 0 < int(table["x0"][0]) < int(table["x1"][0]) <= 640 and table["x0"][5] == ""
    assert "is not an image" in table["why"][5] and "cut off at the border" in table["why"][2]
    counted = pd.read_csv(tmp_path / "cells.differential.csv").groupby("smear")["count"].sum()
    assert counted.to_dict() == {"a": 2, "b": 3}
    per_field = pd.read_csv(tmp_path / "cells.fields" / "fields.csv", keep_default_na=False)
    assert per_field["cells"].tolist() == [2, 0, 3, 0] and per_field["touching"].tolist() == [0, 0, 2, 0]
    drawn = sorted(path.relative_to(tmp_path / "cells.fields").as_posix() for path in tmp_path.rglob("*.jpg"))
    assert drawn == ["a/1.jpg", "a/2.jpg", "b/3.jpg"]
    pixels = np.asarray(Image.open(tmp_path / "cells.fields" / "a" / "1.jpg"), int)
    assert np.abs(pixels - np.asarray(Image.open(fields / "a" / "1.png"), int)).max(-1).mean() > 0.5

    (run,) = own.runs("tags.`hemacell.job` = 'predict' and params.find_cells = 'true'")
    metrics = own.client.get_run(run.info.run_id).data.metrics
    assert metrics["images"] == 6 and metrics["fields/searched"] == 3 and metrics["fields/without_cells"] == 1
    assert metrics["fields/cells_per_field"] == pytest.approx(5 / 3) and metrics["fields/cut_off"] == 1
    stored = set(own.files(run.info.run_id))
    assert {"fields.csv", "fields/a/1.jpg", "cells.csv", "cells.differential.html"} <= stored

    # all of it is there already; then the drawn copies are asked for again, and only they are made
    monkeypatch.setattr("hemacell.prediction.predict_images.classify", None)
    assert own.run("predict", **given).info.run_id == run.info.run_id
    assert "has done exactly this already" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "cells.fields")
    again = own.run("predict", **given, drawn_fields=1)
    assert again.info.run_id != run.info.run_id
    assert [path.name for path in tmp_path.rglob("*.jpg")] == ["1.jpg"]


@pytest.mark.slow
def test_killed_while_it_searches_and_while_it_classifies(own, fields, tmp_path):
    for number in range(40):
        shutil.copy(fields / "a" / "1.png", fields / "a" / f"copy{number:02}.png")
    output = tmp_path / "cells.csv"
    given = {"images": fields, "output": output, "find_cells": True, "batch": 1, "drawn_fields": 2}
    process = start(own, tmp_path, **given)
    logs = own.cache / "fields"
    before = set(logs.glob("*.jsonl"))
    while not (new := set(logs.glob("*.jsonl")) - before) or len(next(iter(new)).read_text().splitlines()) < 12:
        assert process.poll() is None, process.printed()
    process.send_signal(signal.SIGKILL)
    process.wait()
    (log,) = new
    lines = log.read_text()
    process = start(own, tmp_path, **given)
    while not list(tmp_path.glob("cells.csv.partial/part-*.parquet")):
        assert process.poll() is None, process.printed()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert log.read_text().startswith(lines) and not output.exists()
    run = own.run("predict", **given)
    assert run.info.status == "FINISHED" and not own.runs("attributes.status = 'RUNNING'")
    assert len(log.read_text().splitlines()) == 43 + 2  # each field that can be read once, and the scales of two smears
    own.run("predict", **{**given, "output": tmp_path / "unbroken.csv"})
    assert output.read_bytes() == (tmp_path / "unbroken.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("white", "no white cell is found in any of the 3 fields"),
        ("text", "none of the 3 fields can be read"),
        ("folder", "cells.fields is a file, and this job writes a folder of that name"),
        ("other", "cells.fields is there already and was not written by this job"),
    ],
)
def test_what_is_refused(own, tmp_path, capsys, kind, words):
    from hemacell.cli import main
    from hemacell.config.jobs import JOBS

    (tmp_path / "in").mkdir()
    for number in range(3):
        file = tmp_path / "in" / f"{number}.png"
        if kind == "text":
            file.write_text("not an image")
        else:
            Image.new("RGB", (300, 300), "white").save(file)
    if kind == "folder":
        (tmp_path / "cells.fields").write_text("mine")
    if kind == "other":
        (tmp_path / "cells.fields").mkdir()
        (tmp_path / "cells.fields" / "mine.txt").write_text("mine")
    given = {"images": tmp_path / "in", "output": tmp_path / "cells.csv", "find_cells": True}
    with own.here(), pytest.raises(SystemExit) as end:
        main(JOBS["predict"], import_module("projects.predict").run, own.command("predict", **given)[3:])
    assert end.value.code == 2 and words in capsys.readouterr().err.splitlines()[-1]
    assert not own.runs("attributes.status = 'RUNNING'") and not list(tmp_path.glob("cells.csv*"))


@pytest.mark.slow
def test_pictures_of_single_cells(own, tmp_path, capsys):
    for number in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        field = drawn_field([(320, 240)])
        Image.fromarray(field[180:300, 260:380]).save(tmp_path / "in" / f"{number}.png")
    own.run("predict", images=tmp_path / "in", output=tmp_path / "cells.csv", find_cells=True)
    assert (
        "as wide as their pictures: where each picture shows one cell, leave find_cells out" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_fields_that_are_taken_for_cells(own, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number in range(5):
        field = drawn_field([(150 + 50 * number, 240)], noise=12)
        Image.fromarray(field).save(tmp_path / "in" / f"{number}.png")
    run = own.run("predict", images=tmp_path / "in", output=tmp_path / "cells.csv", differential=True)
    said = capsys.readouterr()
    assert "warning: 5 of 5 pictures look like whole fields of a smear" in said.err and "find_cells=true" in said.err
    assert "no shares are shown: 5 of 5 cells are unlike" in said.out
    table = pd.read_csv(tmp_path / "cells.csv", keep_default_na=False)
    assert table["why"].str.contains("looks like a field").all() and run.info.status == "FINISHED"
    assert pd.read_csv(tmp_path / "cells.differential.csv")["share"].isna().all()
