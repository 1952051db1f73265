"""Addresses within MLflow's pages."""

import json
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote

import mlflow
import pytest

from hemacell.tracking.runs import links


def run(run_id: str = "a" * 32, experiment: str = "7", uri: str = "") -> SimpleNamespace:
    return SimpleNamespace(info=SimpleNamespace(run_id=run_id, experiment_id=experiment, artifact_uri=uri))


def query(link: str) -> dict[str, str]:
    return {key: value for key, (value,) in parse_qs(link.partition("?")[2]).items()}


def test_a_comparison_names_its_runs_and_each_experiment_once():
    found = query(links.compare_link([run("a", "10"), run("b", "9"), run("c", "10")]))
    assert json.loads(found["runs"]) == ["a", "b", "c"]
    assert json.loads(found["experiments"]) == ["9", "10"]


def test_a_list_of_runs_can_be_sorted_and_filtered():
    assert links.experiment_link("7") == "#/experiments/7/runs"
    found = query(links.children_link(run("a", "7"), sort_by="test/macro_f1"))
    assert found == {
        "searchFilter": "tags.`mlflow.parentRunId` = 'a'",
        "orderByKey": "metrics.`test/macro_f1`",
        "orderByAsc": "false",
    }


def test_a_model_has_a_page():
    assert unquote(links.model_link("models:/my model/3")) == "#/models/my model/versions/3"


@pytest.mark.parametrize(
    ("store", "address"),
    [
        ("http://tracking.example:5000/", "http://tracking.example:5000/#/experiments/7/runs"),
        ("sqlite:///mlflow.db", "http://127.0.0.1:5000/#/experiments/7/runs"),
    ],
)
def test_an_address_is_on_the_server_in_use(store, address, monkeypatch):
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: store)
    assert links.full_address(links.experiment_link("7")) == address


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("file:///data/my%20runs/1/artifacts", "/data/my runs/1/artifacts"),
        ("mlflow-artifacts:/1/a/artifacts", "mlflow-artifacts:/1/a/artifacts"),
    ],
)
def test_files_of_this_machine_are_named_by_their_path(uri, place):
    assert links.files_location(run(uri=uri)) == place
