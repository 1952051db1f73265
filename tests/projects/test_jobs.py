"""One tiny real run of every entry point through `mlflow run`, and what it leaves behind."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hemacell.evaluation.calibration_error import expected_calibration_error
from hemacell.evaluation.metrics import classification_metrics
from hemacell.evaluation.predictions import read_predictions

pytestmark = pytest.mark.slow

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
ENCODERS = ("hemacell-prcc-encoder", "hemacell-camelyon-encoder")
PER_REPORT = {"train/loss", "val/loss", "lr", "images_per_second"}


def scores(prefix: str, classes: tuple[str, ...]) -> set[str]:
    plain = {f"{prefix}/{name}" for name in ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece")}
    return plain | {f"{prefix}/{name}/{label}" for name in ("f1", "precision", "recall") for label in classes}


def result_of(store, job: str):
    """The finished run of a job that is nobody's child."""
    (run_id,) = [
        run.info.run_id
        for run in store.runs(f"tags.`hemacell.job` = '{job}'")
        if "mlflow.parentRunId" not in run.data.tags and run.info.status == "FINISHED"
    ]
    return store.client.get_run(run_id)  # a search leaves out the models among the inputs


@pytest.mark.parametrize("job", ["prcc", "camelyon", "wbc", "wbc again", "wbc a third time", "main"])
def test_it_ends_well_and_says_so_in_clear_words(pipeline, job):
    store, printed = pipeline
    done = printed[job]
    assert done.returncode == 0, done.stderr
    assert "the built-in sample" in done.stderr
    words = done.stdout + done.stderr
    for noise in ("Traceback", "Warning:", "WARNING", "Mixed Precision", "Downloading artifacts"):
        assert noise not in words, words
    assert result_of(store, job.split()[0]).info.run_id in words


def test_the_screen_shows_the_scores_at_the_end(pipeline):
    store, printed = pipeline
    table = printed["wbc"].stdout
    assert "macro_f1" in table and "test " in table and "external/near " in table
    assert "external/far_away " in table
    end = printed["main"].stdout + printed["main"].stderr
    assert "encoders=prcc,camelyon" in end and "encoders=none" in end
    assert f"mlflow ui --backend-store-uri {store.uri}" in end
    assert "images/s" in printed["wbc"].stderr and " left" in printed["wbc"].stderr


def test_experiments_are_named_by_their_jobs(pipeline):
    store, _ = pipeline
    names = {each.experiment_id: each.name for each in store.client.search_experiments()}
    assert set(names.values()) == {"Default", "hemacell-prcc", "hemacell-camelyon", "hemacell-wbc", "hemacell-main"}
    for job in ("prcc", "camelyon", "wbc", "main"):
        assert names[result_of(store, job).info.experiment_id] == f"hemacell-{job}"
    parent = result_of(store, "main")
    children = store.runs(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert sorted(run.data.tags["hemacell.job"] for run in children) == ["camelyon", "prcc", "wbc", "wbc"]
    assert {run.info.experiment_id for run in children} == {parent.info.experiment_id}
    assert {run.info.status for run in children} == {"FINISHED"}


def test_the_runs_of_mlflow_run_point_to_the_results(pipeline):
    store, _ = pipeline
    outer = store.client.search_runs(["0"])
    assert [run.info.status for run in outer] == ["FINISHED"] * 5
    found = {run.data.tags["mlflow.project.entryPoint"]: run.data.tags["hemacell.result"] for run in outer}
    assert found == {job: result_of(store, job).info.run_id for job in ("prcc", "camelyon", "wbc", "main")}
    assert len({run.data.tags["hemacell.result"] for run in outer}) == 4


@pytest.mark.parametrize("job", ["prcc", "camelyon", "wbc", "main"])
def test_parameters_are_every_setting_in_canonical_text(pipeline, laboratories, job):
    store, _ = pipeline
    given = {"fraction": 0.5, "external": laboratories} if job == "wbc" else {}
    assert result_of(store, job).data.params == store.settings(job, **given).canonical()


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        ("prcc", {"test/ssim", "test/psnr", "val/ssim"}),
        ("camelyon", scores("test", ("normal", "tumor")) | {"val/accuracy", "val/macro_f1"}),
        (
            "wbc",
            scores("test", CLASSES)
            | scores("external/near", CLASSES)
            | scores("external/far_away", CLASSES[:2])
            | {"val/accuracy", "val/macro_f1", "test/cam_inside", "test/cam_inside_by_chance", "test/cam_images"},
        ),
    ],
)
def test_metrics(pipeline, job, wanted):
    store, _ = pipeline
    run = result_of(store, job)
    assert PER_REPORT | wanted <= set(run.data.metrics)
    assert any(name.startswith("system/") for name in run.data.metrics)
    assert all(math.isfinite(value) for value in run.data.metrics.values())
    # the other laboratory's folder has no masks, and tissue no cell
    assert {name for name in run.data.metrics if "/cam_" in name} == {name for name in wanted if "/cam_" in name}
    assert all(0 < value < 1 for name, value in run.data.metrics.items() if "/cam_inside" in name)
    for name in PER_REPORT | {"val/macro_f1"} & wanted:
        history = store.client.get_metric_history(run.info.run_id, name)
        assert len(history) == 2 and history[-1].step == int(run.data.params["steps"]), name


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        ("prcc", {"loss_curves.png", "reconstructions.png", "reconstructions/00.png", "reconstructions/01.png"}),
        ("camelyon", {"confusion_matrix.png", "roc.png", "loss_curves.png", "predictions.json"}),
        (
            "wbc",
            {"loss_curves.png", "distances.png", "skipped-external-far_away.csv"}
            | {
                folder + name
                for folder in ("", "external/near/", "external/far_away/")
                for name in (
                    *("confusion_matrix.png", "per_class.png", "reliability.png", "mistakes.png", "risk_coverage.png"),
                    "predictions.json",
                )
            },
        ),
    ],
)
def test_pictures_and_files(pipeline, job, wanted):
    store, _ = pipeline
    files = store.files(result_of(store, job).info.run_id)
    assert wanted | {"model_summary.txt"} <= set(files)
    for name, path in files.items():
        assert path.stat().st_size > 0, name
        if path.suffix == ".png":
            assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", name


@pytest.mark.parametrize("prefix", ["test", "external/near"])
def test_how_far_answers_can_be_relied_on_is_logged(pipeline, prefix):
    """From the probabilities as they were logged, and the limits as they were registered."""
    store, _ = pipeline
    run = result_of(store, "wbc")
    found, files = run.data.metrics, store.files(run.info.run_id)
    predictions = read_predictions(files["predictions.json" if prefix == "test" else f"{prefix}/predictions.json"])
    config = json.loads(files["classifier.json"].read_text())
    temperature, threshold = found["calibration/temperature"], found["calibration/confidence_threshold"]
    assert (config["temperature"], config["confidence_threshold"]) == pytest.approx((temperature, threshold))
    before = predictions.probabilities.astype(float) ** temperature
    before /= before.sum(1, keepdims=True)
    expected = expected_calibration_error(predictions.labels, before)
    assert found[f"{prefix}/ece_uncalibrated"] == pytest.approx(expected, abs=1e-4)
    low, error, high = (found[f"{prefix}/accepted_error{end}"] for end in ("_low", "", "_high"))
    assert 0 <= low <= error <= high <= 1
    sure = predictions.probabilities.max(1) >= threshold
    assert found[f"{prefix}/accepted_share"] <= sure.mean() + 1e-9
    assert sure.mean() - found[f"{prefix}/accepted_share"] <= found[f"{prefix}/ood_share"] + 1e-9
    for metric in ("macro_f1", "accuracy"):
        assert found[f"test/{metric}_low"] <= found[f"test/{metric}"] <= found[f"test/{metric}_high"]


def test_the_card_says_how_good_it_is_and_what_it_is_not_for(pipeline):
    from hemacell.tracking import registry

    store, _ = pipeline
    run = result_of(store, "wbc")
    with store.here():
        card = registry.card_of(registry.resolve(run.data.tags["hemacell.registered"]))
    for text in (
        "**Not for clinical use.**",
        "built-in sample",
        "sha256 of the manifest",
        "| test/macro_f1 | 0.",
        "expected calibration error on test",
        "on the other half of val",
        "(false alarms)",
        "out of focus",
        "models:/hemacell-prcc-encoder/",
        "Apache-2.0",
        "training images: drawn by this package",
    ):
        assert text in card, text
    assert {f"ood_images/{kind}" for kind in ("noise", "other_stain", "photograph")} <= set(run.data.metrics)


@pytest.mark.parametrize("prefix", ["test", "external/near"])
def test_the_predictions_are_those_of_the_metrics(pipeline, prefix, other_laboratory):
    store, _ = pipeline
    run = result_of(store, "wbc")
    file = store.files(run.info.run_id)["predictions.json" if prefix == "test" else f"{prefix}/predictions.json"]
    predictions = read_predictions(file)
    assert predictions.classes == CLASSES and predictions.split == prefix
    again = classification_metrics(predictions.labels, predictions.probabilities, CLASSES)
    for name, value in again.items():
        assert run.data.metrics[f"{prefix}/{name}"] == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(predictions.probabilities.sum(1), 1, atol=1e-5)
    if prefix == "external/near":
        assert len(predictions) == 15 and all((other_laboratory / name).is_file() for name in predictions.images)


@pytest.mark.parametrize("job", ["prcc", "camelyon", "wbc"])
def test_tags_and_data_inputs(pipeline, job):
    store, _ = pipeline
    run = result_of(store, job)
    tags = run.data.tags
    assert tags["data.kind"] == "sample" and tags["threads"] == "1" and tags["hemacell.job"] == job
    assert len(tags["data.digest"]) == 64
    if (Path(__file__).parents[2] / ".git").exists():
        assert len(tags["git.commit"]) == 40 and tags["git.dirty"] in ("true", "false")
    inputs = {each.tags[0].value: each.dataset for each in run.inputs.dataset_inputs}
    assert set(inputs) == ({"training", "external/near", "external/far_away"} if job == "wbc" else {"training"})
    assert inputs["training"].digest == tags["data.digest"][:32]
    sizes = json.loads(inputs["training"].profile)
    assert all(sizes[f"{split}_images"] > 0 for split in ("train", "val", "test"))


def test_the_encoder_versions_are_inputs_of_the_classifier(pipeline):
    store, _ = pipeline
    run = result_of(store, "wbc")
    versions = [store.client.get_model_version(name, "1") for name in ENCODERS]
    assert {each.model_id for each in run.inputs.model_inputs} == {
        version.source.removeprefix("models:/") for version in versions
    }
    assert run.data.tags["encoder.prcc"] == "models:/hemacell-prcc-encoder/1"
    assert run.data.tags["encoder.camelyon"] == "models:/hemacell-camelyon-encoder/1"


def test_models_are_registered_as_of_the_sample_and_hold_no_pickle(pipeline):
    import mlflow

    store, _ = pipeline
    models = {model.name: model for model in store.client.search_registered_models()}
    # the jobs alone registered one each, and those of main the others
    assert {name: set(model.aliases) for name, model in models.items()} == {
        name: {"sample"} for name in (*ENCODERS, "hemacell-wbc")
    }
    newest = [str(store.client.get_model_version_by_alias(name, "sample").version) for name in models]
    assert sorted(newest) == ["2", "2", "3"]
    for name in models:
        version = store.client.get_model_version(name, "1")
        assert "a demonstration, not a result" in version.description
        with store.here():
            folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/1"))
            model = mlflow.models.Model.load(folder)
        assert model.signature is not None and model.saved_input_example_info is not None
        assert (folder / "README.md").read_text() == version.description
        found = {path.suffix for path in folder.rglob("*") if path.is_file()}
        assert ".safetensors" in found and not found & {".pkl", ".pickle", ".pt", ".pth", ".ckpt"}


def test_a_second_identical_command_does_nothing(pipeline):
    store, printed = pipeline
    run = result_of(store, "wbc")  # of which there is but one
    for job in ("wbc again", "wbc a third time"):
        assert f"run {run.info.run_id} has done exactly this already; type force=true" in printed[job].stderr
    imported = {line.split("|")[-1].strip().split(".")[0] for line in printed["wbc a third time"].stderr.splitlines()}
    assert "mlflow" in imported
    assert not imported & {"torch", "torchvision", "timm", "sklearn", "matplotlib", "torchmetrics"}


def test_main_with_nothing_to_do_shows_its_table_again(pipeline, capsys):
    store, _ = pipeline
    before = len(store.runs())
    parent = result_of(store, "main")
    assert store.run("main").info.run_id == parent.info.run_id
    assert len(store.runs()) == before
    assert "encoders=prcc,camelyon" in capsys.readouterr().out


def test_a_child_with_nothing_to_do_leaves_the_run_of_mlflow_run_to_its_parent(pipeline, monkeypatch):
    from hemacell.tracking.runs.lifecycle import track
    from projects import prcc

    store, _ = pipeline
    pointed = []
    monkeypatch.setattr("hemacell.jobs.context.point_to_result", lambda _, run_id: pointed.append(run_id))
    with store.here(), track("parent", {"resume": ""}):
        assert prcc.run(store.settings("prcc")) == result_of(store, "prcc").info.run_id
    assert pointed == []


def test_encoders_that_are_missing_are_pretrained_as_children(store, monkeypatch, capsys):
    given = {"encoders": ("camelyon", "prcc"), "register_model": False, "pretrain_steps": 2, "limit": 0}
    run = store.run("wbc", **given)
    assert "the encoder prcc is not registered yet; pretraining it first" in capsys.readouterr().err
    children = store.runs(f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert sorted(child.data.tags["hemacell.job"] for child in children) == ["camelyon", "prcc"]
    assert {child.info.experiment_id for child in children} == {run.info.experiment_id}
    versions = [store.client.get_model_version_by_alias(name, "sample") for name in reversed(ENCODERS)]
    assert {each.model_id for each in run.inputs.model_inputs} == {
        version.source.removeprefix("models:/") for version in versions
    }
    # and now there is nothing left to do
    again = store.run("wbc", **given)
    assert again.info.run_id == run.info.run_id and len(store.runs()) == 3
