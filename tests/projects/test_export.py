"""A classifier as ONNX, as a user meets it: registered beside the classifier, written, done once, and refused."""

import hashlib
import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hemacell.classifiers import onnx_file
from hemacell.classifiers.onnx_file import Difference
from hemacell.cli import main
from hemacell.config.jobs import JOBS
from hemacell.core.errors import UserError
from tests.reading import without_account

pytestmark = pytest.mark.slow

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


@pytest.fixture(scope="module")
def made(new_store, tmp_path_factory):
    """A store with a classifier of the sample and its export, which was also written to a file."""
    try:
        onnx_file.require_onnx()
    except UserError as missing:
        pytest.skip(str(missing))
    own = new_store("export")
    own.run("wbc", encoders=("none",))
    output = tmp_path_factory.mktemp("output") / "cells.onnx"
    run = own.run("export", model="hemacell-wbc", output=output)
    return SimpleNamespace(store=own, run=run, output=output, files=own.files(run.info.run_id))


@pytest.fixture
def refused(made, capsys):
    """Start a job that cannot work; returns its line. Nothing may have been computed, unless `lines` is None."""

    def start(job: str = "export", lines: int | None = 1, **given: object) -> str:
        arguments = made.store.command(job, **{"model": "hemacell-wbc", **given})[3:]
        before = len(made.store.runs())
        capsys.readouterr()
        with made.store.here(), pytest.raises(SystemExit) as end:
            main(JOBS[job], importlib.import_module(f"projects.{job}").run, arguments)
        assert end.value.code == 2
        printed = without_account(capsys.readouterr().err.splitlines())
        printed = [line for line in printed if not line.startswith("data: the built-in")]
        assert printed[-1].startswith("error: ") and (lines is None or len(printed) == lines), printed
        assert lines is None or len(made.store.runs()) == before
        assert not made.store.runs("attributes.status = 'RUNNING'")
        return printed[-1]

    return start


def pixels_of(made, count: int = 5) -> np.ndarray:
    rng = np.random.default_rng(count)
    small = [Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)) for _ in range(count)]
    return np.stack([np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC)) for image in small])


def expected_of(made, pixels):
    from hemacell.classifiers.folder import load_folder
    from hemacell.tracking.registry.lookup import fetch

    with made.store.here():
        return load_folder(fetch("models:/hemacell-wbc/1", made.store.cache)).predict_pixels(pixels).probabilities


def versions(made):
    return made.store.client.search_model_versions("name='hemacell-wbc-onnx'")


def test_the_run_says_what_was_checked(made):
    run = made.run
    assert run.info.status == "FINISHED"
    assert made.store.client.get_experiment(run.info.experiment_id).name == "hemacell-export"
    assert run.data.tags["classifier.wbc"] == "models:/hemacell-wbc/1"
    assert run.data.tags["model.data_kind"] == "sample"
    assert len(run.inputs.model_inputs) == 1 and run.inputs.dataset_inputs[0].tags[0].value == "check"
    found = run.data.metrics
    assert 0 <= found["max_difference"] <= 1e-5 and 0 <= found["max_distance_difference"] <= 1e-4
    assert found["images_per_second/torch"] > 0 and found["images_per_second/onnx"] > 0
    assert found["size_mb"] == pytest.approx(made.output.stat().st_size / 2**20)
    checked = json.loads(made.files["check.json"].read_text())
    assert checked["other_class"] == 0 and checked["images"] == 10 and checked["model"] == "models:/hemacell-wbc/1"


def test_it_is_registered_beside_the_classifier(made):
    version = made.store.client.get_model_version_by_alias("hemacell-wbc-onnx", "sample")
    assert version.version in (1, "1") and version.run_id == made.run.info.run_id
    assert version.tags["hemacell.model"] == "onnx" and version.tags["export.of"] == "models:/hemacell-wbc/1"
    assert version.tags["data.kind"] == "sample"
    assert made.run.data.tags["hemacell.registered"] == "models:/hemacell-wbc-onnx/1"
    classifier = made.store.client.get_model_version("hemacell-wbc", "1")
    assert classifier.description[:1000] in version.description and "for onnxruntime" in version.description
    assert f"of {', '.join(CLASSES)};" in version.description


def test_mlflow_loads_it_and_it_answers_as_the_classifier(made):
    import mlflow

    pixels = pixels_of(made)
    with made.store.here():
        loaded = mlflow.pyfunc.load_model("models:/hemacell-wbc-onnx@sample")
    signature = loaded.metadata.signature
    assert signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "uint8", "shape": (-1, 64, 64, 3)}
    assert signature.outputs.input_names() == ["probabilities", "distance", "none_of_these"]
    found = loaded.predict({"images": pixels})
    assert found["probabilities"] == pytest.approx(expected_of(made, pixels), abs=1e-5)
    assert found["distance"].shape == found["none_of_these"].shape == (5,)


def test_nothing_in_it_is_a_pickle(made):
    import mlflow

    with made.store.here():
        folder = mlflow.artifacts.download_artifacts("models:/hemacell-wbc-onnx/1")
    names = {path.name for path in Path(folder).rglob("*") if path.is_file()}
    assert {"model.onnx", "MLmodel", "README.md", "requirements.txt"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".data"))]
    requirements = (Path(folder) / "requirements.txt").read_text()
    assert "onnxruntime==" in requirements and "torch" not in requirements


def test_the_snippet_of_the_documentation_runs(made, tmp_path, monkeypatch):
    """As it stands there: on a picture, with the written file."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "onnx.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "cells.onnx").write_bytes(made.output.read_bytes())
    picture = Image.fromarray(pixels_of(made, 1)[0]).resize((91, 80))
    picture.save(tmp_path / "cell.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    decoded = Image.open(tmp_path / "cell.jpg")
    import hemacell

    with made.store.here():
        table = hemacell.load("models:/hemacell-wbc/1").predict(np.asarray(decoded))
    expected = table[[f"p_{name}" for name in CLASSES]].to_numpy()
    assert names["probabilities"] == pytest.approx(expected, abs=1e-5)
    assert names["best"] == CLASSES[int(expected.argmax())] and names["distance"].shape == (1,)


def test_the_same_command_does_nothing_but_write_what_is_missing(made, tmp_path, capsys):
    before = len(made.store.runs())
    again = made.store.run("export", model="hemacell-wbc", output=made.output)
    assert again.info.run_id == made.run.info.run_id and len(made.store.runs()) == before
    said = capsys.readouterr().err
    assert "has done exactly this already; type force=true" in said
    assert "models:/hemacell-wbc-onnx/1, hemacell-wbc-onnx@sample" in said
    made.store.run("export", model="models:/hemacell-wbc/1", output=tmp_path / "other.onnx")
    assert (tmp_path / "other.onnx").read_bytes() == made.output.read_bytes()
    assert len(made.store.runs()) == before and len(versions(made)) == 1
    digest = hashlib.sha256(made.output.read_bytes()).hexdigest()
    assert made.run.data.tags["onnx.sha256"] == digest


@pytest.mark.parametrize("limit", [10, 11], ids=["exported already", "not exported yet"])
def test_a_file_that_is_something_else_is_kept(refused, tmp_path, limit):
    (tmp_path / "mine.onnx").write_text("somebody's")
    line = refused(lines=None if limit == 10 else 1, output=tmp_path / "mine.onnx", limit=limit)
    assert "mine.onnx exists already and is not this export: type force=true to overwrite it" in line
    assert (tmp_path / "mine.onnx").read_text() == "somebody's"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.onnx"]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("output", "cells.txt", "expected a file that ends in .onnx, found .txt; type for example output=cells.onnx"),
        ("output", "/no/such/folder/cells.onnx", "there is no folder /no/such/folder"),
        ("model", "models:/hemacell-wbc/77", "hemacell-wbc has no version '77'"),
        ("model", "models:/hemacell-wbc-onnx/1", "is an ONNX export, which onnxruntime and mlflow.pyfunc load"),
        ("data", "/no/such/laboratory", "data=/no/such/laboratory: no such folder"),
    ],
)
def test_a_setting(refused, setting, value, words):
    assert words in refused(**{setting: value})


def test_without_the_extra_one_line_says_what_to_type(refused, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    line = refused()
    missing = "ONNX needs packages that are not installed (onnx, onnxruntime, onnxscript)"
    assert line == f'error: {missing}: type pip install -e ".[onnx]"'


@pytest.mark.parametrize("job", ["predict", "evaluate"])
def test_other_jobs_refuse_an_export(refused, job, tmp_path, sample):
    more = {"images": sample / "WBC_100", "output": tmp_path / "cells.csv"} if job == "predict" else {}
    line = refused(job, model="models:/hemacell-wbc-onnx/1", **more)
    assert "models:/hemacell-wbc-onnx/1 is an ONNX export" in line
    assert line.endswith("give the classifier that it was made from, models:/hemacell-wbc/1")


def test_an_export_that_answers_otherwise_is_not_registered(refused, made, monkeypatch):
    monkeypatch.setattr(onnx_file, "difference", lambda *_: Difference(12, 0.2, 0.0, 3))
    line = refused(lines=None, limit=12)
    assert "is not registered: it predicts otherwise; on 12 images probabilities differ by 2.0e-01 at most" in line
    failed = made.store.runs()[0]
    assert failed.info.status == "FAILED" and failed.data.metrics["max_difference"] == 0.2
    assert len(versions(made)) == 1


def test_force_overwrites_and_the_champion_s_export_is_champion(made, tmp_path):
    """Last, as it makes another version: a classifier that has become champion takes its export along."""
    client = made.store.client
    client.set_registered_model_alias("hemacell-wbc", "champion", "1")
    made.store.run("export", model="hemacell-wbc")
    assert str(client.get_model_version_by_alias("hemacell-wbc-onnx", "champion").version) == "1"
    (tmp_path / "mine.onnx").write_text("somebody's")
    run = made.store.run("export", model="models:/hemacell-wbc@champion", force=True, output=tmp_path / "mine.onnx")
    assert run.info.run_id != made.run.info.run_id and len(versions(made)) == 2
    assert hashlib.sha256((tmp_path / "mine.onnx").read_bytes()).hexdigest() == run.data.tags["onnx.sha256"]
    for alias in ("champion", "sample"):
        assert str(client.get_model_version_by_alias("hemacell-wbc-onnx", alias).version) == "2"
