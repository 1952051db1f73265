"""Runs of `wbc` and of studies in MLflow: finding them, and reading them back as records for a comparison."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from hemacell.core.errors import UserError, in_one_line
from hemacell.tracking.runs.existing import existing_run, files_of, image_counts, read_file
from hemacell.tracking.runs.process import mark_stale_runs
from hemacell.tracking.schema import HISTORY, JOB, KEY, PARENT, PREDICTIONS, STUDY_RUNS, THREADS
from hemacell.tracking.store import get_client, search_runs

if TYPE_CHECKING:
    from mlflow.entities import Run

    from hemacell.evaluation.comparison.records import RunRecord

_IS_WBC = f"tags.`{JOB}` = 'wbc'"
_READERS = 8


def children(parent: str, status: str = "FINISHED") -> list[Run]:
    """The runs of wbc under a study that have this status, the newest first."""
    return search_runs(f"attributes.status = '{status}' and {_IS_WBC} and tags.`{PARENT}` = '{parent}'")


def stopped_run(job: str, key: str) -> str:
    """Id of the newest run of `job` with this key that did not end well and can be resumed, or ''."""
    mark_stale_runs()  # a study that was killed may still be RUNNING there
    found = search_runs(f"attributes.status != 'FINISHED' and tags.`{JOB}` = '{job}' and tags.`{KEY}` = '{key}'")
    return next((run.info.run_id for run in found if run.info.status != "RUNNING"), "")


def stopped_children(parent: str) -> dict[str, str]:
    """Key -> id of the runs under a study that were stopped and can be resumed (not those that failed)."""
    return {run.data.tags.get(KEY, ""): run.info.run_id for run in reversed(children(parent, "KILLED"))}


def finished_runs_of_keys(keys: Sequence[str], under: str = "") -> dict[str, str]:
    """Key -> id of the finished run with this key, where there is one that still has its files.

    Args:
        keys: of runs of wbc.
        under: the study that must have computed them; '' for any.
    """
    wanted, found = set(keys), {}
    client = get_client()
    for run in reversed(children(under) if under else search_runs(f"attributes.status = 'FINISHED' and {_IS_WBC}")):
        key = run.data.tags.get(KEY, "")
        if key in wanted:
            found[key] = run.info.run_id
    return {
        key: run_id
        for key, run_id in found.items()
        if any(file.path == PREDICTIONS for file in client.list_artifacts(run_id))
    }


def seconds_of_runs(threads: int) -> dict[tuple[str, str], float]:
    """(steps, image_size), as logged -> median seconds of such a run with this number of threads."""
    taken: dict[tuple[str, str], list[float]] = {}
    for run in search_runs(f"attributes.status = 'FINISHED' and {_IS_WBC} and tags.`{THREADS}` = '{threads}'"):
        if run.info.end_time and "train_seconds" in run.data.metrics:
            seconds = (run.info.end_time - run.info.start_time) / 1000
            size = run.data.params.get("steps", ""), run.data.params.get("image_size", "")
            taken.setdefault(size, []).append(seconds)
    return {size: statistics.median(values) for size, values in taken.items()}


def newest_study() -> str:
    """Id of the newest finished study of the store in use.

    Raises:
        UserError: no study has finished.
    """
    found = search_runs(f"attributes.status = 'FINISHED' and tags.`{JOB}` = 'study'")
    if not found:
        raise UserError("there is no finished study in this store. Make one: mlflow run . -e study")
    return found[0].info.run_id


def records_of_study(run_id: str) -> list[RunRecord]:
    """The finished runs of a study, also of one that is not finished; their arms are named as in the study.

    Raises:
        UserError: there is no such run, it is no study, or it has no finished run.
    """
    from mlflow.exceptions import MlflowException

    study = existing_run(run_id)
    if study.data.tags.get(JOB) != "study":
        raise UserError(
            f"study={run_id}: expected a run of study, found one of {study.data.tags.get(JOB) or 'another program'}; "
            "for single runs type runs=A,B"
        )
    try:
        listed = json.loads(read_file(run_id, STUDY_RUNS))
    except (MlflowException, OSError):
        listed = []
    if not listed:
        raise UserError(f"study={run_id}: it has no finished run yet; type the study's command again to continue")
    records = read_runs(runs_with([entry["run_id"] for entry in listed]))
    return [
        replace(record, arm=entry["arm"], arm_settings=tuple(entry["settings"]))
        for record, entry in zip(records, listed, strict=True)
    ]


def runs_with(run_ids: Sequence[str]) -> list[Run]:
    """The runs with these ids, in this order.

    Raises:
        UserError: there is no such run, or one is named twice.
    """
    if twice := [run_id for run_id, count in Counter(run_ids).items() if count > 1]:
        raise UserError(f"run {twice[0]} is named twice: give each run once")
    return [existing_run(run_id) for run_id in run_ids]


def runs_by_filter(text: str) -> list[Run]:
    """The finished runs of wbc that a search finds, as MLflow's pages understand it.

    Raises:
        UserError: MLflow does not understand it, or it finds nothing.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = search_runs(f"attributes.status = 'FINISHED' and {_IS_WBC} and {text}")
    except MlflowException as error:
        raise UserError(
            f"filter={text}: MLflow does not understand it ({in_one_line(error)[:200]}); type for example "
            "filter=\"params.fraction = '0.1' and params.encoders = 'none'\""
        ) from error
    if not found:
        raise UserError(f"filter={text}: expected finished runs of wbc, found none; try it in MLflow's search box")
    return found


def read_runs(runs: Sequence[Run]) -> list[RunRecord]:
    """Read runs of `wbc` back, in the order given.

    Raises:
        UserError: a run is not a finished run of wbc, or its files were deleted.
    """
    for run in runs:
        if run.data.tags.get(JOB) != "wbc" or run.info.status != "FINISHED":
            raise UserError(
                f"run {run.info.run_id}: expected a finished run of wbc, found a run of "
                f"{run.data.tags.get(JOB) or 'another program'} that is {run.info.status}; leave it out"
            )
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(_read_run, runs))


def _read_run(run: Run) -> RunRecord:
    from mlflow.exceptions import MlflowException

    from hemacell.evaluation.comparison.logged import run_record
    from hemacell.evaluation.laboratories import splits_elsewhere
    from hemacell.evaluation.predictions import read_predictions

    metrics = run.data.metrics
    with files_of(run) as fetched:
        try:
            predictions = read_predictions(fetched(PREDICTIONS))
            external = {
                split: read_predictions(fetched(f"{split}/{PREDICTIONS}")) for split in splits_elsewhere(metrics)
            }
            history = json.loads(fetched(HISTORY).read_text(encoding="utf-8"))
        except (MlflowException, OSError) as error:
            raise UserError(
                f"run {run.info.run_id} ({run.info.run_name}): its predictions cannot be read "
                f"({in_one_line(error)[:200]}); leave it out, or compute it again"
            ) from error
    return run_record(
        run_id=run.info.run_id,
        name=run.info.run_name or run.info.run_id,
        params=run.data.params,
        tags=run.data.tags,
        metrics=metrics,
        sizes=image_counts(run),
        predictions=predictions,
        external=external,
        history=history,
    )
