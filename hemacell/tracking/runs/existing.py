"""Runs that exist already: read by their id, and checked before they are resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hemacell.core.errors import UserError
from hemacell.tracking.runs.process import is_alive, this_host
from hemacell.tracking.schema import ENCODER, HOST, JOB, PID
from hemacell.tracking.store import get_client

if TYPE_CHECKING:
    from mlflow.entities import Run


def existing_run(run_id: str) -> Run:
    """A run by its id.

    Raises:
        UserError: there is no such run, or it was deleted.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        run = get_client().get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(
            f"there is no run {run_id!r} in {mlflow.get_tracking_uri()}: copy a run's id from the MLflow pages"
        ) from error
    if run.info.lifecycle_stage == "deleted":
        raise UserError(f"run {run_id} was deleted: type mlflow runs restore --run-id {run_id}")
    return run


def encoders_of(run_id: str) -> dict[str, str]:
    """The encoders that a run was started with, slug -> address; empty for '' and for one that had none yet."""
    if not run_id:
        return {}
    tags = existing_run(run_id).data.tags
    return {key.removeprefix(ENCODER): uri for key, uri in tags.items() if key.startswith(ENCODER)}


def check_resumable(run_id: str, job: str) -> None:
    """Check that a run of this job can be resumed.

    Raises:
        UserError: there is no such run, it belongs to another job, or it is still running.
    """
    run = existing_run(run_id)
    found = run.data.tags.get(JOB, "")
    if found != job:
        raise UserError(f"run {run_id} is a run of {found or 'another program'}, not of {job}: give a run of {job}")
    # Runs of this host whose process is gone are no longer RUNNING when this is asked.
    if run.info.status == "RUNNING":
        where = run.data.tags.get(HOST, "an unknown host")
        own = where == this_host() and is_alive(run.data.tags)
        stop = f"stop it first (kill {run.data.tags[PID]})" if own else "stop it there first"
        raise UserError(f"run {run_id} is still RUNNING on {where}: {stop}, then resume it")
