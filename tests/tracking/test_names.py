"""Runs are named after what they are; a name that the user gave stays."""

import os

import pytest

from hemacell.config import run_names as names
from hemacell.tracking.runs import lifecycle, mlflow_environment


@pytest.mark.parametrize(
    ("job", "settings", "expected"),
    [
        ("wbc", {"encoders": "prcc,camelyon", "fraction": "0.5"}, "prcc,camelyon 50 % draw 0"),
        ("wbc", {"encoders": "none", "fraction": "0.005", "draw": "3", "seed": "3"}, "none 0.5 % draw 3"),
        (
            "wbc",
            {"encoders": "none", "fraction": "", "labels_per_class": "5", "seed": "7"},
            "none 5 per class draw 0 seed 7",
        ),
        ("wbc", {"encoders": "imagenet", "method": "knn", "limit": "200"}, "knn: imagenet 100 % draw 0 limit 200"),
        ("prcc", {"steps": "60"}, "prcc 60 steps"),
        ("camelyon", {"steps": "0", "seed": "2"}, "camelyon seed 2"),
        ("main", {"fraction": "0.5"}, "demo 50 %"),
        (
            "study",
            {"arms": "none;  prcc,camelyon", "fractions": "0.01,0.5", "draws": "5"},
            "none; prcc,camelyon at 1, 50 %, 5 draws",
        ),
        (
            "evaluate",
            {"model": "models:/hemacell-wbc@champion", "data": "/home/me/lisc/"},
            "hemacell-wbc@champion on lisc",
        ),
        ("evaluate", {"model": "models:/hemacell-wbc/3", "data": ""}, "hemacell-wbc/3 on the sample"),
        (
            "predict",
            {"model": "models:/hemacell-wbc/3", "images": "a/cells.parquet"},
            "hemacell-wbc/3 on cells.parquet",
        ),
        ("export", {"model": "models:/hemacell-wbc/3"}, "hemacell-wbc/3 as ONNX"),
        ("a job of tomorrow", {"steps": "3"}, "a job of tomorrow"),
    ],
)
def test_a_run_is_named_after_what_it_is(job, settings, expected):
    assert names.run_name(job, settings) == expected


def test_a_comparison_is_named_after_its_arms():
    assert names.comparison(["none", "prcc", "none"]) == "none and prcc: comparison"
    assert names.comparison(["none", "prcc", "imagenet"]) == "none; prcc; imagenet: comparison"


def test_a_long_name_is_cut():
    assert (
        len(names.run_name("study", {"arms": ";".join(["prcc,camelyon"] * 20), "fractions": "1", "draws": "1"})) == 120
    )


@pytest.fixture
def launched(store, monkeypatch):
    """Pretend that `mlflow run` started this process; gives the id of the run that it made."""
    import mlflow

    def launch(name: str) -> str:
        outer = mlflow.MlflowClient().create_run("0", run_name=name)
        monkeypatch.setitem(os.environ, "MLFLOW_RUN_ID", outer.info.run_id)
        return outer.info.run_id

    return launch


def name_of(run_id: str) -> str:
    import mlflow

    return mlflow.MlflowClient().get_run(run_id).info.run_name


def test_the_run_of_mlflow_run_is_named_after_the_job_and_leads_to_the_result(launched):
    import mlflow

    outer = launched("defiant-auk-500")
    with lifecycle.track("wbc", {"encoders": ("none",), "fraction": 0.1}) as run:
        assert name_of(run.run_id) == "none 10 % draw 0"
    assert name_of(outer) == "wbc -> none 10 % draw 0"
    tags = mlflow.MlflowClient().get_run(outer).data.tags
    assert tags["hemacell.result"] == run.run_id
    assert f"(#/experiments/{run.experiment_id}/runs/{run.run_id})" in tags[mlflow_environment.NOTE]


def test_names_of_the_user_win(launched):
    outer = launched("mine")
    with lifecycle.track("study", {"arms": "none"}) as run:
        assert name_of(run.run_id) == name_of(outer) == "mine"
        with lifecycle.track("wbc", {"encoders": "none"}) as child:
            assert name_of(child.run_id) == "none 100 % draw 0"
        with lifecycle.track("wbc", {}, run_name="theirs") as child:
            assert name_of(child.run_id) == "theirs"
