"""Runs that exist already: found by id, key or digest, read back, and checked before they are resumed.

Imports MLflow and nothing heavier: a command with nothing to do ends at once.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.core.errors import UserError
from hemacell.evaluation.laboratories import TEST, is_elsewhere
from hemacell.tracking.registry.lookup import exists, resolve
from hemacell.tracking.runs.process import is_alive, this_host
from hemacell.tracking.schema import DATA_CONTEXT, ENCODER, HOST, JOB, KEY, PID, REGISTERED
from hemacell.tracking.store import get_client, search_runs

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


def image_counts(run: Run, split: str = TEST) -> dict[str, int]:
    """Number of images of a run, such as `val_images`; empty where it is not known.

    Args:
        run: the run.
        split: `external/<name>` for those of another laboratory; else those that the run is about.
    """
    for entry in run.inputs.dataset_inputs if run.inputs else []:
        context = next((tag.value for tag in entry.tags if tag.key == DATA_CONTEXT), "")
        if context == split or not (is_elsewhere(context) or is_elsewhere(split)):
            profile = json.loads(entry.dataset.profile or "{}")
            return {name: count for name, count in profile.items() if name.endswith("_images")}
    return {}


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


def finished_run(job: str, key: str) -> str | None:
    """Id of the newest FINISHED run of `job` with this key whose results are still there, or None.

    Still there means: the run has files, and the model that it registered, if it did, is in the registry and has its
    files.

    Args:
        job: `prcc`, `camelyon`, `wbc`, …
        key: what the job set as tag `hemacell.key`: a digest of inputs, settings and sources.
    """
    found = search_runs(f"attributes.status = 'FINISHED' and tags.`{JOB}` = '{job}' and tags.`{KEY}` = '{key}'")
    return next((run.info.run_id for run in found if _is_whole(run)), None)


def _is_whole(run: Run) -> bool:
    if not get_client().list_artifacts(run.info.run_id):
        return False
    registered = run.data.tags.get(REGISTERED)
    if not registered:
        return True
    try:
        return exists(resolve(registered))
    except UserError:  # the version was deleted
        return False


def writers_of(job: str, tag: str, digest: str) -> list[Run]:
    """The runs of a job that have a file's digest under this tag, the newest first."""
    return search_runs(f"tags.`{JOB}` = '{job}' and tags.`{tag}` = '{digest}'")


def can_continue(job: str, run_id: str, key: str) -> bool:
    """Whether a run is of this job and key, and was stopped or failed; False for one that is not known here."""
    if not run_id:
        return False
    try:
        run = existing_run(run_id)
    except UserError:  # of another store, or deleted
        return False
    same = run.data.tags.get(JOB) == job and run.data.tags.get(KEY) == key
    return same and run.info.status in ("KILLED", "FAILED")


@contextmanager
def files_of(run: Run) -> Iterator[Callable[[str], Path]]:
    """Fetch files of a run by their names; those in a folder of this machine are read where they are.

    MLflow's client asks the store for the run before each file, which takes longer than reading it.

    Raises:
        MlflowException, OSError: by what is yielded, where there is no such file.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    files = get_artifact_repository(run.info.artifact_uri)
    with tempfile.TemporaryDirectory() as scratch:
        target = None if isinstance(files, LocalArtifactRepository) else scratch
        yield lambda name: Path(files.download_artifacts(name, target))


def read_file(run_id: str, name: str) -> str:
    """A text file of a run.

    Raises:
        UserError: there is no such run.
        MlflowException, OSError: it has no such file.
    """
    with files_of(existing_run(run_id)) as fetched:
        return fetched(name).read_text(encoding="utf-8")
