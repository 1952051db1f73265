"""What the caller, `mlflow run` or a person, asked for through MLflow's environment variables."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hemacell.core.errors import UserError
from hemacell.tracking.runs.links import run_link
from hemacell.tracking.schema import JOB, NOTE, PARENT, RESULT

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_EXPERIMENT_ID = "0"

#: Set by a study for its worker processes: the run that theirs are children of.
PARENT_VARIABLE = "HEMACELL_PARENT_RUN"

# The form of the names that MLflow makes up, such as `defiant-auk-500`.
_MADE_UP = re.compile(r"[a-z]+-[a-z]+-\d+")

_VARIABLES = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")


@dataclass(frozen=True)
class Launch:
    """How this process was started.

    Attributes:
        outer_run: id of the run that `mlflow run` made for this process, '' without it.
        parent: id of the parent that this process' runs get: of that run's parent, where a job started this one
            through `mlflow.projects.run`; or of the study that this process works for.
        experiment_id: experiment that the user named, '' if none.
        experiment_name: the same as a name, which need not exist yet.
        run_name: name that the user gave to that run (`mlflow run --run-name`), '' if none.
    """

    outer_run: str = ""
    parent: str = ""
    experiment_id: str = ""
    experiment_name: str = ""
    run_name: str = ""


_launch = Launch()


def read_mlflow_environment(client: MlflowClient) -> Launch:
    """Take MLflow's run and experiment variables out of the environment, and remember their values.

    Left in, `MLFLOW_RUN_ID` makes `start_run` reopen the run of `mlflow run`, whose shell-quoted parameters collide
    with ours, and children of this process would do the same. The first job of a process finds the variables; later
    jobs in it get the same.

    `mlflow run` always sets an experiment id; it is the user's choice only where it is not Default.

    Raises:
        UserError: `MLFLOW_RUN_ID` names no run of this store.
    """
    global _launch
    run_id, experiment_id, experiment_name = (os.environ.pop(name, "") for name in _VARIABLES)
    if parent := os.environ.pop(PARENT_VARIABLE, ""):
        _launch = Launch(parent=parent)
    elif run_id:
        from mlflow.exceptions import MlflowException

        try:
            outer = client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise UserError(f"MLFLOW_RUN_ID={run_id} names no run of this tracking store: unset it") from error
        chosen = outer.info.experiment_id
        _launch = Launch(
            run_id,
            outer.data.tags.get(PARENT, ""),
            "" if chosen == DEFAULT_EXPERIMENT_ID else chosen,
            run_name="" if _MADE_UP.fullmatch(outer.info.run_name or "") else outer.info.run_name,
        )
    elif experiment_id or experiment_name:
        _launch = Launch(experiment_id=experiment_id, experiment_name=experiment_name)
    return _launch


def child_environment(parent: str) -> dict[str, str]:
    """The variables of a worker process whose runs are children of the run `parent`, in the same store."""
    import mlflow

    return {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(), PARENT_VARIABLE: parent}


def point_to_result(client: MlflowClient, run_id: str) -> None:
    """Make the run of `mlflow run`, if there is one, lead to the run that holds the results: by name, note and tag."""
    launch = read_mlflow_environment(client)
    if not launch.outer_run:
        return
    result = client.get_run(run_id)
    name = result.info.run_name or run_id
    client.set_tag(launch.outer_run, RESULT, run_id)
    client.set_tag(
        launch.outer_run,
        NOTE,
        f"The command, as `mlflow run` started it. What it computed is in run [{name}]({run_link(result)}).",
    )
    if not launch.run_name:
        job = result.data.tags.get(JOB, "hemacell")
        client.update_run(launch.outer_run, name=f"{job} -> {name}")
