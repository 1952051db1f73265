"""Any registered classifier on any labelled folder: what is scored, compared, logged, and refused."""

import importlib
import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hemacell.cli import main
from hemacell.config.jobs import JOBS
from hemacell.evaluation.metrics import classification_metrics
from hemacell.evaluation.predictions import read_predictions
from tests.projects.conftest import bomb
from tests.reading import without_account

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
PICTURES = {f"{name}.png" for name in ("confusion_matrix", "per_class", "reliability", "mistakes", "comparison")}
OWN = {"accuracy": 0.99, "balanced_accuracy": 0.985, "macro_f1": 0.98, "f1/Basophil": 0.97, "f1/Eosinophil": 0.0}
QUICK = {"threads": 1, "resamples": 200}


def sha256s(folder: Path) -> list[str]:
    from hemacell.data.sources.labelled import labelled_images

    return labelled_images(folder, CLASSES, split="all").table["sha256"].tolist()


def register(
    own, name="hemacell-wbc", *, own_scores=OWN, trained_on=(), kind="folder", classes=CLASSES, encoder=True, **config
):
    """Register an untrained classifier under a run that claims these test scores; returns (version, folder)."""
    from hemacell.classifiers.folder import save_folder
    from hemacell.classifiers.model import ClassifierModel
    from hemacell.classifiers.ood import MahalanobisDetector
    from hemacell.encoders.frozen import create_encoder
    from hemacell.tracking import registry
    from hemacell.tracking.runs.lifecycle import track
    from tests.small_classifiers import small_autoencoder, small_config, small_network

    encoders = [create_encoder(small_autoencoder(crop=0.6))] if encoder else []
    described = small_config(
        classes=classes,
        decoded_size=48,
        size=32,
        crop=0.6,
        temperature=0.7,
        confidence_threshold=0.5,
        encoders=("prcc",) if encoder else (),
        **config,
    )
    with own.here(), registry.scratch() as folder, track("wbc", {}) as run:
        run.metrics({f"test/{metric}": value for metric, value in own_scores.items()})
        model = ClassifierModel(described, small_network(described, encoders), encoders)
        pixels = np.random.default_rng(0).integers(0, 256, (9, 48, 48, 3), dtype=np.uint8)
        features = model.features(pixels, np.arange(len(pixels)))
        detector = MahalanobisDetector.fit(features, np.arange(9) % 2).with_false_positive_rate(features, 0)
        save_folder(folder, model.calibrated(detector), sorted(trained_on))
        version = registry.register(
            folder,
            name,
            run=run,
            model="classifier",
            kind=kind,
            val_score=0.5,
            val_images={},
            cache=own.cache,
        )
    with own.here():
        return version, registry.fetch(version, own.cache)


@pytest.fixture(scope="module")
def made(new_store, other_laboratory, tmp_path_factory):
    """A store with a champion that has seen four of the other laboratory's images, and one run on that folder."""
    own = new_store("evaluate")
    version, folder = register(own, trained_on=[*sha256s(other_laboratory)[:4], "0" * 64])
    run = own.run("evaluate", data=other_laboratory, **QUICK)
    return SimpleNamespace(store=own, version=version, folder=folder, run=run, files=own.files(run.info.run_id))


def test_the_run_is_tagged_and_has_the_model_and_the_images_as_inputs(made, other_laboratory):
    run = made.run
    assert run.info.status == "FINISHED"
    assert made.store.client.get_experiment(run.info.experiment_id).name == "hemacell-evaluate"
    tags = run.data.tags
    assert tags["hemacell.job"] == "evaluate" and tags["data.kind"] == "folder"
    assert tags["classifier.wbc"] == made.version.uri == "models:/hemacell-wbc/1"
    assert not [name for name in tags if name.startswith("encoder.")]
    assert [each.model_id for each in run.inputs.model_inputs] == [made.version.model_id]
    (images,) = run.inputs.dataset_inputs
    assert images.tags[0].value == "evaluation" and json.loads(images.dataset.profile)["test_images"] == 15
    assert images.dataset.digest == tags["data.digest"][:32]
    assert run.data.params == made.store.settings("evaluate", data=other_laboratory, **QUICK).canonical()


def test_the_answers_are_those_of_the_registered_model(made, other_laboratory):
    import hemacell

    predictions = read_predictions(made.files["predictions.json"])
    assert len(predictions) == 15 and predictions.classes == CLASSES and predictions.split == "test"
    with made.store.here():
        table = hemacell.load("models:/hemacell-wbc@champion").predict(
            [other_laboratory / name for name in predictions.images]
        )
    told = table[[f"p_{name}" for name in CLASSES]].to_numpy()
    np.testing.assert_allclose(predictions.probabilities, told, atol=1e-5)


def test_all_test_scores_and_pictures_of_wbc(made):
    predictions = read_predictions(made.files["predictions.json"])
    scores = classification_metrics(predictions.labels, predictions.probabilities, CLASSES)
    for name, value in scores.items():
        assert made.run.data.metrics[f"test/{name}"] == pytest.approx(value, abs=1e-6)
    assert PICTURES | {"comparison.md", "comparison.json"} <= set(made.files)
    for name in PICTURES:
        assert made.files[name].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_intervals_own_scores_and_differences(made):
    metrics = made.run.data.metrics
    compared = ("accuracy", "balanced_accuracy", "macro_f1", *(f"f1/{name}" for name in CLASSES))
    for name in compared:
        assert metrics[f"test/{name}_low"] <= metrics[f"test/{name}"] <= metrics[f"test/{name}_high"]
    assert metrics["test/accuracy_low"] < metrics["test/accuracy_high"]
    assert {name.removeprefix("reference/") for name in metrics if name.startswith("reference/")} == set(OWN)
    for name, value in OWN.items():
        assert metrics[f"reference/{name}"] == value
        assert metrics[f"difference/{name}"] == pytest.approx(metrics[f"test/{name}"] - value)
    assert all(math.isfinite(value) for value in metrics.values())
    records = json.loads(made.files["comparison.json"].read_text())
    assert [row["metric"] for row in records["rows"]] == ["macro_f1", "accuracy", "balanced_accuracy", *compared[3:]]
    for row in records["rows"]:
        assert row["value"] == pytest.approx(metrics[f"test/{row['metric']}"], abs=1e-6)
        assert row["reference"] == OWN.get(row["metric"])
        assert (row["metric"] in made.run.data.tags["below_reference"].split(",")) == row["below_reference"]
    assert records["facts"]["its own test scores"] == f"run {made.version.run_id}"


def test_a_drop_and_images_seen_in_training_are_said_on_the_page(made):
    page = made.files["comparison.md"].read_text()
    assert "- warning: a drop of " in page and "these images differ from its training images" in page
    assert "- warning: 4 of 15 images are among its training images" in page
    assert made.run.data.tags["data.seen_in_training"] == "4"


def test_the_same_command_does_nothing_and_shows_the_table_again(made, other_laboratory, capsys):
    before = len(made.store.runs())
    again = made.store.run("evaluate", data=other_laboratory, **QUICK)
    assert again.info.run_id == made.run.info.run_id and len(made.store.runs()) == before
    printed = capsys.readouterr()
    assert "has done exactly this already; type force=true" in printed.err
    assert "own test" in printed.out and "macro_f1" in printed.out and "a drop of" in printed.err
    for change in ({"crop": 0.9}, {"force": True}):
        other = made.store.run("evaluate", data=other_laboratory, **QUICK, **change)
        assert other.info.run_id != made.run.info.run_id
    # looked at another part of the picture, the answers are others
    found = [read_predictions(made.store.files(r.info.run_id)["predictions.json"]) for r in made.store.runs()[:2]]
    same, wider = (np.abs(each.probabilities - read(made).probabilities).max() for each in found)
    assert same == 0 and wider > 1e-6


def read(made):
    return read_predictions(made.files["predictions.json"])


def test_an_answer_with_nothing_to_do_imports_no_torch(made, other_laboratory, tmp_path):
    command = made.store.command("evaluate", "-X", "importtime", data=other_laboratory, **QUICK)
    done = subprocess.run(command, env=made.store.environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "has done exactly this already" in done.stderr, done.stderr[-2000:]
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "mlflow" in imported
    assert not imported & {"torch", "torchvision", "timm", "sklearn", "matplotlib", "torchmetrics"}


def test_another_version_is_another_result(made, other_laboratory):
    """The same address can mean another model tomorrow."""
    from hemacell.tracking import registry

    register(made.store, "hemacell-moved", encoder=False)
    first = made.store.run("evaluate", model="models:/hemacell-moved@champion", data=other_laboratory, **QUICK)
    second, _ = register(made.store, "hemacell-moved", own_scores={})
    made.store.client.set_registered_model_alias("hemacell-moved", "champion", second.version)
    with made.store.here():
        assert registry.resolve("models:/hemacell-moved@champion").version == second.version
    run = made.store.run("evaluate", model="models:/hemacell-moved@champion", data=other_laboratory, **QUICK)
    assert run.info.run_id != first.info.run_id and run.data.tags["classifier.moved"] == second.uri
    # and this one has no scores to compare with
    assert not [name for name in run.data.metrics if name.startswith(("reference/", "difference/"))]
    records = json.loads(made.store.files(run.info.run_id)["comparison.json"].read_text())
    assert f"run {second.run_id}, which trained {second.uri}, has no test scores" in records["warnings"]


def test_a_training_run_that_is_gone_is_said(made, other_laboratory, capsys):
    version, _ = register(made.store, "hemacell-orphan", encoder=False)
    made.store.client.delete_run(version.run_id)
    run = made.store.run("evaluate", model=version.uri, data=other_laboratory, **QUICK)
    assert "its own test scores are not known" in capsys.readouterr().err
    assert "test/macro_f1_low" in run.data.metrics and "reference/macro_f1" not in run.data.metrics
    assert run.data.tags["below_reference"] == ""


def test_a_score_as_good_as_the_own_one_is_no_drop(made, other_laboratory, capsys):
    version, _ = register(made.store, "hemacell-weak", own_scores={"accuracy": 0.0, "macro_f1": 0.0}, encoder=False)
    run = made.store.run("evaluate", model=version.uri, data=other_laboratory, **QUICK)
    assert "a drop of" not in capsys.readouterr().err and run.data.tags["below_reference"] == ""
    assert run.data.tags["data.seen_in_training"] == "0"


def test_a_folder_with_a_class_missing_in_another_order_of_classes(made, other_laboratory, tmp_path):
    folder = tmp_path / "few"
    shutil.copytree(other_laboratory, folder)
    shutil.rmtree(folder / "Monocyte")
    version, _ = register(made.store, "hemacell-backwards", classes=CLASSES[::-1], encoder=False)
    run = made.store.run("evaluate", model=version.uri, data=folder, **QUICK)
    assert "test/recall/Monocyte" not in run.data.metrics and "test/f1/Monocyte_low" not in run.data.metrics
    predictions = read_predictions(made.store.files(run.info.run_id)["predictions.json"])
    assert predictions.classes == CLASSES[::-1]
    assert [Path(name).parts[0] for name in predictions.images] == [predictions.classes[y] for y in predictions.labels]
    page = made.store.files(run.info.run_id)["comparison.md"].read_text()
    assert "no image of Monocyte" in page


def test_unreadable_images_are_listed_and_left_out(made, other_laboratory, tmp_path, capsys):
    folder = tmp_path / "spoiled"
    shutil.copytree(other_laboratory, folder)
    spoiled = sorted((folder / "Basophil").iterdir())[0]
    spoiled.write_text("no image")
    run = made.store.run("evaluate", data=folder, max_bad=0.1, **QUICK)
    assert "1 images could not be read" in capsys.readouterr().err
    files = made.store.files(run.info.run_id)
    assert len(read_predictions(files["predictions.json"])) == 14
    assert spoiled.name in files["bad_images.txt"].read_text()


def test_the_share_of_the_heat_that_lies_inside_the_cells(made, other_laboratory, sample, tmp_path, capsys):
    from PIL import Image

    from hemacell.classifiers.folder import load_folder
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.data.images import inside, read_mask, read_rgb, to_square

    folder = tmp_path / "masked"
    shutil.copytree(other_laboratory, folder / "data")
    masks = [path for path in (sample / "WBC_100" / "test" / "mask").rglob("*.png")]
    here = {(path.parent.name, path.name) for path in (folder / "data").rglob("*.png")}
    masks = [path for path in masks if (path.parent.name, path.name) in here]
    for mask in masks:
        (folder / "mask" / mask.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(mask, folder / "mask" / mask.parent.name)
    run = made.store.run("evaluate", data=folder, **QUICK)
    assert "masks cannot be used" not in capsys.readouterr().err

    predictor = load_folder(made.folder)
    explain = GradCAM.of(predictor)
    shares, by_chance = [], []
    for mask in masks:
        image = read_rgb(folder / "data" / mask.parent.name / mask.name)
        cell = Image.fromarray(inside(read_mask(mask, image.size)).astype(np.uint8) * 255).resize((48, 48))
        square = to_square(image, 48)
        heat = explain(square[None], predictor.predict_pixels(square[None]).probabilities.argmax(1))[0]
        shares.append((heat * (np.asarray(cell) > 127)).sum() / heat.sum())
        seen = np.abs((np.arange(48) + 0.5) / 24 - 1) <= 0.6
        by_chance.append((np.asarray(cell) > 127)[np.ix_(seen, seen)].mean())
    assert len(masks) == run.data.metrics["test/cam_images"] == 15
    assert run.data.metrics["test/cam_inside"] == pytest.approx(np.mean(shares), abs=0.02)
    assert run.data.metrics["test/cam_inside_by_chance"] == pytest.approx(np.mean(by_chance), abs=0.02)

    # masks that are of no use are said and left out
    (folder / "mask" / "Monocyte" / masks[0].name).with_name("mon_test_000.png").write_text("no image")
    Image.new("L", (5, 5), 255).save(folder / "mask" / "Basophil" / "bas_test_000.png")
    other = made.store.run("evaluate", data=folder, **QUICK)  # which is another result
    assert "warning: 2 masks cannot be used to measure the saliency; the first: " in capsys.readouterr().err
    assert other.data.metrics["test/cam_inside"] != run.data.metrics["test/cam_inside"]
    assert not [name for name in made.run.data.metrics if "/cam_" in name]  # of a folder without masks


def test_the_sample_takes_the_model_of_the_sample_and_its_test_split(made, sample):
    version, _ = register(made.store, kind="sample", encoder=False)
    run = made.store.run("evaluate", limit=20, **QUICK)
    assert run.data.tags["data.kind"] == "sample" and run.data.tags["classifier.wbc"] == version.uri
    predictions = read_predictions(made.store.files(run.info.run_id)["predictions.json"])
    assert 18 <= len(predictions) <= 22
    assert all(name.startswith("WBC_100/test/data/") for name in predictions.images)


def test_a_model_of_the_sample_is_refused_for_real_images(made, refused, other_laboratory, sample):
    version, _ = register(made.store, "hemacell-drawn", kind="sample", encoder=False)
    for model in (version.uri, "models:/hemacell-drawn@sample", f"models:/{version.model_id}"):
        line = refused(model=model)
        assert f"{model if '/m-' in model else version.uri} was trained on the built-in sample of drawn images" in line
        assert "these images are not of it: give a model of real data, such as models:/" in line
    part = sample / "WBC_100" / "val" / "data"
    run = made.store.run("evaluate", model=version.uri, data=part, limit=20, **QUICK)
    assert run.data.tags["data.kind"] == run.data.tags["model.data_kind"] == "sample"


# --- refused


@pytest.fixture
def refused(made, other_laboratory, capsys):
    """Start the job as a command line that cannot work; returns its error line."""

    def start(lines: int | None = 1, environment=None, **given: object) -> str:
        values = {"data": other_laboratory, **QUICK, **given}
        arguments = [word for name, value in values.items() for word in (f"--{name}", str(value))]
        before = len(made.store.runs())
        capsys.readouterr()  # what was said before
        with made.store.here(**(environment or {})), pytest.raises(SystemExit) as end:
            main(JOBS["evaluate"], importlib.import_module("projects.evaluate").run, arguments)
        assert end.value.code == 2
        printed = capsys.readouterr().err.splitlines()
        assert [line for line in printed if line.startswith("error: ")] == printed[-1:], printed
        assert lines is None or (len(without_account(printed)) == lines and len(made.store.runs()) == before), printed
        assert not made.store.runs("attributes.status = 'RUNNING'")
        return printed[-1]

    return start


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("model", "models:/hemacell-wbcc@champion", "there is no model 'hemacell-wbcc'"),
        ("model", "models:/hemacell-wbc/77", "hemacell-wbc has no version '77': type one of models:/hemacell-wbc@ch"),
        ("model", "models:/hemacell-wbc@best", "hemacell-wbc has no alias 'best': type one of models:/hemacell-wbc@"),
        ("model", "hemacell-wbc/1", "expected models:/NAME/VERSION or models:/NAME@ALIAS; did you mean models:/hem"),
        ("model", "hemacell-wbc@champion", "did you mean models:/hemacell-wbc@champion?"),
        ("data", "/no/such/laboratory", "data=/no/such/laboratory: no such folder"),
        ("split", "tests", "split: expected one of test, val, train, all, found 'tests'; did you mean test?"),
        ("split", "val", "is not divided; leave split out"),
        ("wbc_folder", "WBC_10", "is read as class folders, which has no such parts"),
        ("crop", "4", "crop: expected auto or a number, above 0 and at most 3, found '4'"),
        ("resume", "1", "there is no run '1'"),
    ],
)
def test_a_setting(refused, setting, value, words):
    assert words in refused(**{setting: value})


def test_an_encoder_is_no_classifier(refused, made, tmp_path):
    from hemacell.encoders.frozen import EncoderConfig, create_encoder, save_encoder
    from hemacell.tracking import registry
    from hemacell.tracking.runs.lifecycle import track

    config = EncoderConfig(kind="autoencoder", body={"widths": [8, 16], "latent_channels": 3}, input_size=32)
    folder = save_encoder(tmp_path / "encoder", config, create_encoder(config).weights())
    with made.store.here(), track("prcc", {}) as run:
        registry.register(
            folder,
            "hemacell-prcc-encoder",
            run=run,
            model="encoder",
            kind="folder",
            val_score=0.5,
            val_images={},
            cache=made.store.cache,
        )
    line = refused(model="models:/hemacell-prcc-encoder@champion")
    assert "models:/hemacell-prcc-encoder/1 is not a classifier of hemacell, but an encoder" in line
    assert "give one such as models:/hemacell-wbc@champion" in line


def test_a_folder_that_is_no_such_folder(refused, other_laboratory, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no class folders with images in" in refused(data=tmp_path / "empty")
    shutil.copytree(other_laboratory, tmp_path / "other")
    (tmp_path / "other" / "Monocyte").rename(tmp_path / "other" / "Blast")
    line = refused(data=tmp_path / "other")
    assert "does not know: Blast; the model knows Basophil, Eosinophil" in line and "type classes=Blast:-" in line
    assert "expected a folder, a table" in refused(data=next((other_laboratory / "Basophil").iterdir()))


def test_names_and_bombs(made, refused, other_laboratory, tmp_path, capsys):
    folder = tmp_path / "strange"
    shutil.copytree(other_laboratory, folder)
    good = sorted((folder / "Basophil").iterdir())[0]
    bomb(folder / "Basophil" / "bomb\n.png")
    shutil.copy(good, folder / "Basophil" / "two\nlines.png")
    run = made.store.run("evaluate", data=folder, max_bad=0.1, **QUICK)
    told = [line for line in capsys.readouterr().err.splitlines() if "1 images could not be read" in line]
    assert len(told) == 1 and "bomb .png: has more than" in told[0]
    files = made.store.files(run.info.run_id)
    assert len(read_predictions(files["predictions.json"])) == 16
    assert len(files["bad_images.txt"].read_text().splitlines()) == 1
    shutil.copy(good, os.fsencode(folder / "Basophil") + b"/caf\xe9.png")
    line = refused(data=folder)
    assert "Basophil/caf\\udce9.png: expected a file name in UTF-8, found other bytes; rename" in line


def test_nothing_that_can_be_read(refused, made, tmp_path):
    (tmp_path / "texts" / "Basophil").mkdir(parents=True)
    (tmp_path / "texts" / "Basophil" / "a.png").write_text("no image")
    line = refused(lines=None, data=tmp_path / "texts")
    assert "1 of 1 images cannot be read, more than max_bad=0.01 allows" in line
    assert "none of its 1 images can be read" in refused(lines=None, data=tmp_path / "texts", max_bad=1)
    assert [run.info.status for run in made.store.runs()[:2]] == ["FAILED", "FAILED"]


def test_no_gpu(refused):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert "device=cuda: this machine has no GPU" in refused(lines=None, device="cuda")


# --- as it is typed


@pytest.mark.slow
def test_by_mlflow_run_after_a_training(new_store, other_laboratory):
    """On the sample it takes what the sample trained, and its test split; no champion is there to be named."""
    own = new_store("evaluate by mlflow run")
    trained = own.run("wbc", encoders=("none",))
    done = own.mlflow_run("evaluate", **QUICK)
    assert done.returncode == 0, done.stderr
    for noise in ("Traceback", "Warning:", "WARNING", "Mixed Precision", "Downloading artifacts"):
        assert noise not in done.stdout + done.stderr
    (run,) = own.runs("tags.`hemacell.job` = 'evaluate'")
    assert run.info.run_id in done.stderr and "macro_f1" in done.stdout
    (outer,) = own.client.search_runs(["0"])
    assert outer.data.tags["hemacell.result"] == run.info.run_id and outer.info.status == "FINISHED"
    assert run.data.metrics["reference/accuracy"] == trained.data.metrics["test/accuracy"]
    assert run.data.tags["data.seen_in_training"] == "0"
    refused = own.mlflow_run("evaluate", **QUICK, model="models:/hemacell-wbc@champion")
    assert refused.returncode == 1 and "error: hemacell-wbc has no alias 'champion'" in refused.stderr
    assert {each.info.status for each in own.client.search_runs(["0"])} == {"FINISHED", "FAILED"}


@pytest.mark.slow
def test_the_own_test_images_give_the_own_test_scores(new_store):
    """Whole, in the precision of the training: nothing is lost on the way through the registry."""
    own = new_store("own test")
    trained = own.run("wbc", encoders=("none",), limit=0, precision="float32")
    run = own.run("evaluate", **QUICK)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert run.data.metrics[f"difference/{name}"] == pytest.approx(0, abs=1e-9)
    assert run.data.metrics["test/nll"] == pytest.approx(trained.data.metrics["test/nll"], abs=1e-4)
    assert run.data.tags["below_reference"] == ""
    everything = own.run("evaluate", split="all", **QUICK)
    assert int(everything.data.tags["data.seen_in_training"]) == 300  # without the masked copies
