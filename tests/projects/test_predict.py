"""Predictions as a user meets them: one command, killed and continued, and each way to ask for the impossible."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.framing.description import MARGIN
from tests.projects.conftest import bomb, small_disk

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
PROBABILITIES = [f"p_{name}" for name in CLASSES]
COLUMNS = ["image", "class", "probability", *PROBABILITIES, "needs_review", "why", "none_of_these", "model"]
BAD = {
    "zero.jpg": "has zero size",
    "text.jpg": "is not an image",
    "cut.jpg": "is truncated",
    "link.png": "cannot be opened",
}


# --- mistakes, told before any model is looked for


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Two smears of noise, and files that are no image any more."""
    rng = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "cells" / ("smear a" if number < 25 else "smear b") / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
        small.resize((70, 80)).save(path, quality=95)
    folder = tmp_path / "cells" / "smear b"
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not an image")
    (folder / "cut.jpg").write_bytes((folder / "30.jpg").read_bytes()[:1200])
    (folder / "link.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "notes.txt").write_text("left out")
    return tmp_path / "cells"


@pytest.fixture
def refused(store, cells, tmp_path, capsys):
    """Start a prediction that cannot work; returns its one line."""

    def start(in_store=store, lines: int | None = 1, **given: object) -> str:
        from hemacell.cli import main
        from hemacell.config.jobs import JOBS

        arguments = in_store.command("predict", **{"images": cells, "output": tmp_path / "out.csv", **given})[3:]
        capsys.readouterr()  # what earlier jobs of the test printed
        with in_store.here(), pytest.raises(SystemExit) as end:
            main(JOBS["predict"], import_module("projects.predict").run, arguments)
        assert end.value.code == 2
        printed = capsys.readouterr().err.splitlines()
        assert lines in (None, len(printed)) and printed[-1].startswith("error: "), printed
        assert not in_store.runs("attributes.status = 'RUNNING'")
        return printed[-1]

    return start


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"images": ""}, "images: expected a name, found nothing; type for example images=DIR"),
        ({"output": ""}, "output: expected a name, found nothing; type for example output=cells.csv"),
        ({"images": "/no/such/folder"}, "images=/no/such/folder: no such file or folder"),
        ({"output": "/no/such/folder/cells.csv"}, "there is no folder /no/such/folder; make it"),
        ({"output": "cells.xlsx"}, "expected a file that ends in .csv or .parquet, found .xlsx"),
        ({"crop": 4}, "crop: expected auto or a number, above 0 and at most 3, found '4'"),
        ({"explain": 97}, "explain: expected a whole number, at least 0 and at most 96, found '97'"),
        ({"precision": "fp16"}, "precision: expected one of float32, bf16, found 'fp16'"),
        ({}, "there is no model 'hemacell-wbc': nothing is registered yet"),
    ],
)
def test_a_setting(refused, given, words):
    assert words in refused(**given)


def test_a_folder_of_something_else_and_an_empty_one(refused, cells, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "found no files; name the folder with the images" in refused(images=tmp_path / "empty")
    for path in (cells / "smear a").iterdir():
        path.with_suffix(".svs").write_text("a slide")
        path.unlink()
    assert "found 25 .svs" in refused(images=cells / "smear a")


def test_a_table_without_the_column_and_one_that_is_the_output(refused, tmp_path):
    (tmp_path / "table.csv").write_text("cell\na.jpg\n")
    assert "expected a column image or path with the paths of the images, found cell" in refused(
        images=tmp_path / "table.csv"
    )
    (tmp_path / "table.csv").write_text("image\na.jpg\n")
    (tmp_path / "a.jpg").touch()
    line = refused(images=tmp_path / "table.csv", output=tmp_path / "table.csv", force=True)
    assert "is the table of the images itself" in line


# --- with a model


@pytest.fixture(scope="module")
def trained(new_store, sample, tmp_path_factory):
    """A store with two tiny classifiers: the champion, of a user's folder, and version 2, of the built-in sample."""
    own = new_store("predict")
    folder = tmp_path_factory.mktemp("own images")
    for split, most in (("train", 20), ("val", 9), ("test", 12)):
        for source in sorted((sample / "WBC_100" / split / "data").iterdir()):
            target = folder / "WBC_100" / split / "data" / source.name
            target.mkdir(parents=True)
            for path in sorted(source.iterdir())[:most]:
                shutil.copy(path, target)
    own.run("wbc", encoders=("none",), data=folder, limit=0)
    own.run("wbc", encoders=("none",))
    assert own.client.get_registered_model("hemacell-wbc").aliases == {"champion": 1, "sample": 2}
    return own


def predict(own, cells: Path, output: Path, **given: object):
    """Run the job inside this process; returns (run, table)."""
    run = own.run("predict", images=cells, output=output, **given)
    table = pd.read_csv(output, keep_default_na=False, na_values={"probability": [""]})
    return run, table


@pytest.mark.slow
def test_by_mlflow_run_and_the_same_again(trained, cells, tmp_path):
    output = tmp_path / "cells.csv"
    given = {"images": cells, "output": output, "differential": True}
    done = trained.mlflow_run("predict", **given)
    assert done.returncode == 0, done.stderr
    for noise in ("Traceback", "Warning:", "Downloading artifacts"):
        assert noise not in done.stdout + done.stderr
    assert "classifying: " in done.stderr and "images/s" in done.stderr
    # noise is unlike any cell
    assert "no shares are shown: 40 of 40 cells are unlike the cells that the model knows" in done.stdout
    assert "warning: 4 of 44 images could not be read" in done.stderr and "smear b/cut.jpg: is truncated" in done.stderr

    table = pd.read_csv(output, keep_default_na=False)
    assert list(table.columns) == COLUMNS and set(table["model"]) == {"models:/hemacell-wbc/1"}
    assert list(table["image"]) == sorted(
        path.relative_to(cells).as_posix() for path in cells.rglob("*") if path.suffix in (".jpg", ".png")
    )
    for name, reason in BAD.items():
        (row,) = table[table["image"] == f"smear b/{name}"].to_dict("records")
        assert row["class"] == "" and reason in row["why"] and row["needs_review"] and row["p_Basophil"] == ""
    assert not (tmp_path / "cells.csv.partial").exists()

    (run,) = trained.runs("tags.`hemacell.job` = 'predict' and params.differential = 'true'")
    run = trained.client.get_run(run.info.run_id)
    assert run.info.status == "FINISHED" and run.data.params == trained.settings("predict", **given).canonical()
    assert trained.client.get_experiment(run.info.experiment_id).name == "hemacell-predict"
    metrics = run.data.metrics
    assert (metrics["images"], metrics["unreadable"]) == (44, 4) and metrics["images_per_second"] > 0
    assert metrics["needs_review"] == pytest.approx(table["needs_review"].mean())
    assert {name: metrics[f"count/{name}"] for name in CLASSES} == {
        name: (table["class"] == name).sum() for name in CLASSES
    }
    tags = run.data.tags
    assert tags["model.wbc"] == "models:/hemacell-wbc/1" and tags["threads"] == "1" and tags["data.kind"] == "folder"
    assert tags["output.path"] == str(output) and len(tags["output.sha256"]) == 64
    version = trained.client.get_model_version("hemacell-wbc", "1")
    assert {each.model_id for each in run.inputs.model_inputs} == {version.source.removeprefix("models:/")}
    (data_set,) = run.inputs.dataset_inputs
    assert data_set.dataset.name == "cells: 44 predict"
    written = {"cells.csv", "cells.differential.csv", "cells.differential.html", "skipped.csv"}
    assert set(trained.files(run.info.run_id)) == written
    (outer,) = [each for each in trained.client.search_runs(["0"]) if "hemacell.result" in each.data.tags]
    assert outer.data.tags["hemacell.result"] == run.info.run_id

    counted = pd.read_csv(tmp_path / "cells.differential.csv")
    assert list(counted["smear"].unique()) == ["smear a", "smear b"]
    assert counted.groupby("smear")["count"].sum().to_dict() == {"smear a": 25, "smear b": 15}
    assert counted["corrected"].isna().all() and counted["note"].str.startswith("no shares: ").all()
    assert set(counted["unreadable"]) == {0, 4}
    assert "This is not a result" not in (tmp_path / "cells.differential.html").read_text()

    again = subprocess.run(
        trained.command("predict", "-X", "importtime", **given),
        env=trained.environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=600,
    )
    assert f"run {run.info.run_id} has done exactly this already" in again.stderr and again.returncode == 0
    imported = {line.split("|")[-1].strip().split(".")[0] for line in again.stderr.splitlines()}
    assert "mlflow" in imported and not imported & {"torch", "torchvision", "timm", "matplotlib"}


def start(own, folder: Path, **given: object) -> subprocess.Popen:
    with (folder / f"printed {time.monotonic()}").open("w") as printed:
        process = subprocess.Popen(
            own.command("predict", **given),
            cwd=folder,
            env={**own.environment, "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false"},
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
    process.printed = lambda: (folder / printed.name).read_text()
    return process


def wait_for_parts(process: subprocess.Popen, output: Path, count: int) -> None:
    folder = output.with_name(f"{output.name}.partial")
    while len(list(folder.glob("part-*.parquet"))) < count:
        assert process.poll() is None, process.printed()
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_and_stopped_it_goes_on_to_the_very_same_file(trained, cells, tmp_path):
    for number in range(600):
        (cells / "smear b" / f"copy{number:03}.jpg").symlink_to(cells / "smear a" / f"{number % 25:02}.jpg")
    output = tmp_path / "cells.csv"
    given = {"images": cells, "output": output, "batch": 2, "run_name": "killed"}
    process = start(trained, tmp_path, **given)
    wait_for_parts(process, output, 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    (killed,) = trained.runs("attributes.run_name = 'killed'")
    assert killed.info.status == "RUNNING"

    process = start(trained, tmp_path, **given)
    wait_for_parts(process, output, 8)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert f"going on with run {killed.info.run_id}, which did not come to its end" in process.printed()
    last = process.printed().splitlines()[-1]
    assert last.endswith("is marked KILLED; the same command goes on where it was"), process.printed()
    assert trained.client.get_run(killed.info.run_id).info.status == "KILLED" and not output.exists()

    run, table = predict(trained, cells, output, batch=2, run_name="killed")
    assert run.info.run_id == killed.info.run_id and run.info.status == "FINISHED" and len(table) == 644
    assert "hemacell.error" not in run.data.tags and run.data.metrics["images"] == 644
    unbroken, _ = predict(trained, cells, tmp_path / "unbroken.csv", batch=2)
    assert (tmp_path / "unbroken.csv").read_bytes() == output.read_bytes()
    assert unbroken.info.run_id != run.info.run_id
    assert unbroken.data.tags["output.sha256"] == run.data.tags["output.sha256"]


@pytest.mark.slow
def test_an_output_that_is_there_already(trained, refused, cells, tmp_path, capsys, monkeypatch):
    import torch

    output = tmp_path / "out.csv"
    output.write_text("my own table\n")
    line = refused(trained)
    assert f"{output} is there already and was not written by this job" in line and "force=true" in line
    assert output.read_text() == "my own table\n"
    first, table = predict(trained, cells, output, force=True)
    assert len(table) == 44

    line = refused(trained, precision="bf16", crop=0.9)
    assert f"written by run {first.info.run_id} with precision=float32 (now bf16), crop=auto (now 0.9)" in line
    (cells / "smear a" / "00.jpg").unlink()
    assert "with other or changed images" in refused(trained)

    if not torch.cuda.is_available():
        assert "device=cuda: this machine has no GPU" in refused(trained, device="cuda", output=tmp_path / "x.csv")
        assert not list(tmp_path.glob("x.csv*"))

    # forced again it is made again; and what is only added needs no classifying
    second, _ = predict(trained, cells, output, force=True)
    assert second.info.run_id != first.info.run_id
    monkeypatch.setattr("hemacell.prediction.predict_images.classify", None)
    capsys.readouterr()
    third, _ = predict(trained, cells, output, differential=True)
    assert "has these predictions already" in capsys.readouterr().err
    assert third.info.run_id != second.info.run_id and (tmp_path / "out.differential.html").is_file()
    again, _ = predict(trained, cells, output, differential=True)
    assert again.info.run_id == third.info.run_id
    seeded, _ = predict(trained, cells, output, differential=True, seed=5)
    assert seeded.info.run_id not in (third.info.run_id, second.info.run_id)
    plain, _ = predict(trained, cells, output)
    assert plain.info.status == "FINISHED" and len(trained.runs("tags.`hemacell.job` = 'predict'")) >= 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("hemacell-wbc/1", "expected models:/NAME/VERSION or models:/NAME@ALIAS; did you mean models:/hemacell-wbc/1?"),
        ("hemacell-wbc@champion", "did you mean models:/hemacell-wbc@champion?"),
        ("models:/hemacell-wbc/77", "hemacell-wbc has no version '77': type one of models:/hemacell-wbc@champion"),
        ("models:/hemacell-wbc@best", "hemacell-wbc has no alias 'best': type one of models:/hemacell-wbc@champion"),
        ("models:/hemacell-wcb@champion", "there is no model 'hemacell-wcb'"),
        ("models:/m-00000000000000000000000000000000", "there is no model with the id m-0000"),
    ],
)
def test_a_model_that_is_not_there(trained, refused, model, words):
    assert words in refused(trained, model=model)


@pytest.mark.slow
def test_a_bomb_and_strange_names_are_rows_like_others(trained, cells, tmp_path, capsys):
    smear = cells / "smear\nc"
    smear.mkdir()
    bomb(smear / "bomb.png")
    good = cells / "smear a" / "00.jpg"
    names = [b"two\nlines.jpg", b"caf\xe9.jpg", b'quote",comma.jpg', "größe ☃.jpg".encode(), b"-n.jpg", b"=1+1.jpg"]
    for name in names:
        shutil.copy(good, os.fsencode(smear) + b"/" + name)
    (smear / "no\nimage.jpg").write_text("text")
    run, table = predict(trained, cells, tmp_path / "out.csv", differential=True)
    assert run.info.status == "FINISHED" and len(table) == 52
    rows = table[table["image"].str.startswith("smear\nc/")].set_index("image")
    assert set(rows.index) == {
        f"smear\nc/{name.decode(errors='replace')}" for name in [*names, b"bomb.png", b"no\nimage.jpg"]
    }
    assert "has more than" in rows.loc["smear\nc/bomb.png", "why"]
    assert set(rows.index[rows["class"] == ""]) == {"smear\nc/bomb.png", "smear\nc/no\nimage.jpg"}
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: 6 of 52 images")]
    assert len(told) == 1 and "the first: smear c/bomb.png: has more than" in told[0]
    counted = pd.read_csv(tmp_path / "out.differential.csv").groupby("smear")["count"].sum()
    assert counted["smear\nc"] == 6
    # and where the first that cannot be read has such a name, it is one line all the same
    predict(trained, smear, tmp_path / "one.csv")
    assert "the first: bomb.png: has more than" in capsys.readouterr().err
    (smear / "bomb.png").unlink()
    predict(trained, smear, tmp_path / "two.csv")
    assert "the first: no image.jpg: is not an image" in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_and_an_output_with_strange_names(trained, refused, cells, tmp_path):
    folder = tmp_path / "café 1\n2"
    shutil.copytree(cells / "smear a", folder)
    for kind in ("csv", "parquet"):
        given = {"images": folder, "output": folder / f"café\n{kind}.{kind}", "differential": True}
        run = trained.run("predict", **given)
        assert run.info.status == "FINISHED" and run.data.metrics["images"] == 25
        assert trained.run("predict", **given).info.run_id == run.info.run_id
    other = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(folder, other)
    for given in ({"images": other}, {"output": other / "a.csv"}):
        line = refused(trained, **given)
        assert "expected text, found bytes that are not UTF-8" in line and "caf\\udce9" in line
    file = folder / "a.csv"
    file.write_text("image\n00.jpg\n")
    run, table = predict(trained, file, folder / "b.csv")
    assert len(table) == 1


@pytest.mark.slow
def test_a_full_disk_under_the_output(trained, refused, cells, tmp_path):
    with small_disk(tmp_path / "disk", 1):
        output = tmp_path / "disk" / "cells.csv"
        with open(tmp_path / "disk" / "filling", "wb", buffering=0) as filling, contextlib.suppress(OSError):
            while True:
                filling.write(bytes(4096))
        line = refused(trained, lines=None, images=cells / "smear a", output=output)
        assert "the disk is full" in line and "free some space" in line
        assert not output.exists()
        # the same command goes on when there is room again
        (tmp_path / "disk" / "filling").unlink()
        run, table = predict(trained, cells / "smear a", output)
        assert len(table) == 25 and run.info.status == "FINISHED"


@pytest.mark.slow
def test_files_of_a_differential_count_that_are_somebody_elses(trained, refused, cells, tmp_path, monkeypatch):
    output = tmp_path / "out.csv"
    for kind, words in (("csv", "my own count"), ("html", "<p>mine")):
        file = tmp_path / f"out.differential.{kind}"
        file.write_text(words)
        line = refused(trained, differential=True)
        assert f"{file} is there already and was not written by this job" in line and "force=true" in line
        assert file.read_text() == words and not list(tmp_path.glob("out.csv*"))
        file.unlink()
    (tmp_path / "out.differential.csv").mkdir()
    assert "out.differential.csv is a folder" in refused(trained, differential=True, force=True)
    (tmp_path / "out.differential.csv").rmdir()

    (tmp_path / "out.differential.html").write_text("<p>mine")
    first, _ = predict(trained, cells, output, differential=True, force=True)
    page = tmp_path / "out.differential.html"
    assert first.data.tags["differential.page_sha256"] == hashlib.sha256(page.read_bytes()).hexdigest()
    # written by this job: overwritten where only the limits are to be others, also after they were moved away
    monkeypatch.setattr("hemacell.prediction.predict_images.classify", None)
    seeded, _ = predict(trained, cells, output, differential=True, seed=5)
    assert seeded.info.run_id != first.info.run_id
    page.write_text(page.read_text() + "\n<!-- noted by hand -->")
    assert f"{page} is there already and was not written by this job" in refused(trained, differential=True)
    # of other images, or another way to look at them
    page.unlink()
    output.unlink()
    line = refused(trained, differential=True, crop=0.9)
    assert f"was written by run {seeded.info.run_id} with crop=auto (now 0.9)" in line


@pytest.mark.slow
def test_tables_single_files_precision_and_field(trained, cells, tmp_path):
    import hemacell

    # at a scale that is given: the one that is found depends on the images that come together
    _, whole = predict(trained, cells, tmp_path / "whole.csv", crop=0.8)
    # a table: its order, its names, paths that lead nowhere
    names = ["smear b/31.jpg", str(cells / "smear a" / "03.jpg"), "smear a/none.jpg", "", "smear b/31.jpg"]
    pd.DataFrame({"path": names, "smear": list("xyxyx")}).to_parquet(cells / "table.parquet")
    run, table = predict(trained, cells / "table.parquet", tmp_path / "table.csv", differential=True, crop=0.8)
    assert list(table["image"]) == names and list(table["class"] == "") == [False, False, True, True, False]
    assert table["why"][2].startswith("cannot be opened") and table["why"][3] == "no path is given"
    expected = whole.set_index("image").loc[["smear b/31.jpg", "smear a/03.jpg"]]["probability"].astype(float)
    assert table["probability"][:2].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert run.data.metrics["unreadable"] == 2
    counted = pd.read_csv(tmp_path / "table.differential.csv")
    assert counted.groupby("smear")["count"].sum().to_dict() == {"x": 2, "y": 1}

    # one file, as a Parquet table: what `hemacell.load` answers
    trained.run("predict", images=cells / "smear a" / "03.jpg", output=tmp_path / "one.parquet")
    one = pd.read_parquet(tmp_path / "one.parquet")
    with trained.here():
        loaded = hemacell.load("models:/hemacell-wbc/1").predict(cells / "smear a" / "03.jpg")
    probabilities = [f"p_{name}" for name in CLASSES]
    np.testing.assert_allclose(one[probabilities], loaded[probabilities], atol=1e-5)
    assert one["class"][0] == loaded["class"][0] and one["image"][0] == "03.jpg"

    _, quick = predict(trained, cells, tmp_path / "bf16.csv", precision="bf16", crop=0.8)
    good = (whole["class"] != "").to_numpy()
    columns = [whole[good][probabilities].astype(float), quick[good][probabilities].astype(float)]
    np.testing.assert_allclose(*columns, atol=0.03)
    _, wide = predict(trained, cells, tmp_path / "wide.csv", crop=1.0)
    assert not np.allclose(wide[good][probabilities].astype(float), columns[0], atol=1e-4)


SAMPLE_MODEL = "models:/hemacell-wbc@sample"


@pytest.mark.slow
def test_a_model_of_the_sample_is_refused_for_other_images(trained, refused, cells, sample, tmp_path):
    words = (
        "models:/hemacell-wbc/2 was trained on the built-in sample of drawn images, and these images are not of it: "
        "give a model of real data, such as models:/hemacell-wbc@champion"
    )
    for model in (SAMPLE_MODEL, "models:/hemacell-wbc/2"):
        assert words in refused(trained, model=model)
    drawn = sample / "WBC_100" / "test" / "data" / "Basophil"
    own, others = sorted(drawn.iterdir())[:2], sorted((cells / "smear a").iterdir())[:1]
    table = tmp_path / "table.csv"
    beyond = drawn / ".." / ".." / ".." / ".." / ".." / "x.png"
    beyond.write_bytes(own[0].read_bytes())
    for images in ([*own, *others], others, [beyond]):
        pd.DataFrame({"image": images}).to_csv(table, index=False)
        assert words in refused(trained, model=SAMPLE_MODEL, images=table)
    (tmp_path / "link").symlink_to(cells / "smear a")
    assert words in refused(trained, model=SAMPLE_MODEL, images=tmp_path / "link")
    assert not list(tmp_path.glob("out.csv*"))


@pytest.mark.slow
def test_a_model_of_the_sample_answers_for_the_samples_own_images(trained, sample, cells, tmp_path, capsys):
    drawn = sample / "WBC_100" / "test" / "data"
    images = sorted((drawn / "Basophil").iterdir())[:3]
    run, table = predict(trained, drawn / "Basophil", tmp_path / "a.csv", model=SAMPLE_MODEL, differential=True)
    assert len(table) == 12 and set(table["model"]) == {"models:/hemacell-wbc/2"}
    assert run.data.tags["data.kind"] == run.data.tags["model.data_kind"] == "sample"
    assert "drawn by this package; these predictions are no result" in capsys.readouterr().err
    assert "This is not a result" in (tmp_path / "a.differential.html").read_text()
    # a table of somewhere else that names only these, and a link to their folder
    pd.DataFrame({"image": images}).to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "link").symlink_to(drawn / "Basophil")
    for images, count in ((tmp_path / "table.csv", 3), (tmp_path / "link", 12)):
        run, table = predict(trained, images, tmp_path / f"{images.name}.csv", model=SAMPLE_MODEL)
        assert len(table) == count and run.data.tags["data.kind"] == "sample"
    run, _ = predict(trained, cells / "smear a" / "00.jpg", tmp_path / "b.csv")
    assert run.data.tags["data.kind"] == run.data.tags["model.data_kind"] == "folder"


@pytest.mark.slow
def test_a_model_whose_test_answers_are_gone(trained, cells, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hemacell.tracking.runs.reference_scores.PREDICTIONS", "gone.json")
    predict(trained, cells, tmp_path / "cells.csv", differential=True)
    assert "the run with the test predictions of models:/hemacell-wbc/1 is gone" in capsys.readouterr().err
    counted = pd.read_csv(tmp_path / "cells.differential.csv")
    assert counted["corrected"].isna().all() and counted["note"].str.startswith("no shares: ").all()
    assert "uncorrected" in (tmp_path / "cells.differential.html").read_text()


@pytest.mark.slow
def test_answers_are_explained_on_demand(trained, refused, cells, tmp_path, capsys, monkeypatch):
    shown = []
    from hemacell.reporting import figures

    def explained(pixels, texts, title, heat, field):
        shown.append((pixels, texts, title, heat, field))
        return drawing(pixels, texts, title, heat, field)

    drawing = figures.saliency_maps
    monkeypatch.setattr(figures, "saliency_maps", explained)
    output, picture = tmp_path / "out.csv", tmp_path / "out.explained.png"
    run, table = predict(trained, cells, output, explain=6, crop=0.8)
    assert f"predict: {picture}" in capsys.readouterr().err
    readable = table[table["class"] != ""]
    expected = readable.sort_values(["needs_review", "probability"], ascending=[False, True], kind="stable").head(6)
    ((pixels, texts, title, heat, field),) = shown
    assert [text.splitlines()[0] for text in texts] == list(expected["image"])
    assert "6 images, those for review first" in title and field == pytest.approx(1 / MARGIN)
    for text, row in zip(texts, expected.itertuples(), strict=True):
        doubt = ", for review" if row.needs_review else ""
        assert text.splitlines()[1] == f"{row[2]} {row.probability:.2f}{doubt}"
    assert pixels.shape == (6, 64, 64, 3) and heat.shape == (6, 64, 64) and heat.max() == 1
    assert (heat[:, :6] == 0).all() and (heat[:, :, -6:] == 0).all()  # outside of the field
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert trained.files(run.info.run_id)["out.explained.png"].read_bytes() == picture.read_bytes()

    # the same again does nothing; another number needs no classifying; without it nothing is drawn
    again, _ = predict(trained, cells, output, explain=6, crop=0.8)
    assert again.info.run_id == run.info.run_id and len(shown) == 1
    monkeypatch.setattr("hemacell.prediction.predict_images.classify", None)
    more, _ = predict(trained, cells, output, explain=96, crop=0.8)
    assert more.info.run_id != run.info.run_id and len(shown[1][1]) == 40  # and never one that cannot be read
    assert not {text.splitlines()[0].split("/")[-1] for text in shown[1][1]} & set(BAD)
    plain, _ = predict(trained, cells, output, crop=0.8)
    assert plain.info.run_id in (run.info.run_id, more.info.run_id) and len(shown) == 2

    # one that is gone is made again, one that is something else is left alone
    picture.unlink()
    renewed, _ = predict(trained, cells, output, explain=96, crop=0.8)
    assert renewed.info.run_id not in (run.info.run_id, more.info.run_id) and picture.is_file()
    picture.write_bytes(b"my own picture")
    line = refused(trained, explain=6, crop=0.8)
    assert f"{picture} is there already and was not written by this job" in line and "force=true" in line
    assert picture.read_bytes() == b"my own picture"
    monkeypatch.undo()
    predict(trained, cells, output, explain=2, crop=0.8, force=True)
    assert picture.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_nothing_that_could_be_explained(trained, cells, tmp_path):
    for path in (cells / "smear b").glob("[0-9]*"):
        path.unlink()
    run, table = predict(trained, cells / "smear b", tmp_path / "bad.csv", explain=3)
    assert list(table["class"]) == [""] * 4 and "bad.explained.png" in trained.files(run.info.run_id)
