"""Addresses within MLflow's pages: relative (`#/…`) for notes, which a browser opens on whatever server shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlparse

from hemacell.tracking.schema import PARENT

if TYPE_CHECKING:
    from mlflow.entities import Run

#: Where `mlflow ui` shows a store that has no server of its own.
LOCAL_SERVER = "http://127.0.0.1:5000"


def run_link(run: Run) -> str:
    """The page of a run."""
    return f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def experiment_link(experiment_id: str, *, sort_by: str = "", search: str = "") -> str:
    """The list of an experiment's runs.

    Args:
        experiment_id: of the experiment.
        sort_by: metric, best value first. MLflow shows a list that is sorted or filtered flat, child runs included.
        search: filter in MLflow's search syntax, such as ``tags.`mlflow.parentRunId` = '…'``.
    """
    query = {"searchFilter": search, "orderByKey": f"metrics.`{sort_by}`" if sort_by else ""}
    query |= {"orderByAsc": "false"} if sort_by else {}
    text = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items() if value)
    return f"#/experiments/{experiment_id}/runs" + (f"?{text}" if text else "")


def view_link(experiment_id: str, key: str) -> str:
    """The list of an experiment's runs in a saved view."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={key}"


def children_link(parent: Run, sort_by: str = "") -> str:
    """The runs under a run, as a flat list."""
    search = f"tags.`{PARENT}` = '{parent.info.run_id}'"
    return experiment_link(parent.info.experiment_id, sort_by=sort_by, search=search)


def model_link(uri: str) -> str:
    """The page of a registered model version.

    Args:
        uri: `models:/<name>/<version>`.
    """
    name, _, version = uri.removeprefix("models:/").rpartition("/")
    return f"#/models/{quote(name, safe='')}/versions/{version}"


def compare_link(runs: Sequence[Run]) -> str:
    """The page that compares runs side by side."""
    experiments = sorted({run.info.experiment_id for run in runs}, key=int)
    runs_text = json.dumps([run.info.run_id for run in runs], separators=(",", ":"))
    return f"#/compare-runs?runs={quote(runs_text)}&experiments={quote(json.dumps(experiments, separators=(',', ':')))}"


def full_address(link: str) -> str:
    """A link as an address to paste into a browser: on the tracking server, else on a local `mlflow ui`."""
    import mlflow

    uri = mlflow.get_tracking_uri()
    return f"{uri.rstrip('/') if uri.startswith(('http://', 'https://')) else LOCAL_SERVER}/{link}"


def ui_hint() -> str:
    """How to open the MLflow pages of the store in use, in one line."""
    import mlflow

    uri = mlflow.get_tracking_uri()
    if uri.startswith(("http://", "https://")):
        return f"the MLflow pages: {uri} (choose Model training)"
    return f"to open the MLflow pages: mlflow ui --backend-store-uri {uri} (then {LOCAL_SERVER}, Model training)"


def files_location(run: Run) -> str:
    """Where the files of a run are: a folder of this machine as a path, anything else as MLflow's address."""
    uri = urlparse(run.info.artifact_uri)
    return unquote(uri.path) if uri.scheme in ("", "file") else run.info.artifact_uri
