"""Studies in MLflow: which runs belong to one, reading them back as cells, and logging the comparison."""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemacell.core.errors import UserError, in_one_line
from hemacell.core.text import slug
from hemacell.tracking.runs.artifacts import files_of
from hemacell.tracking.runs.existing import existing_run
from hemacell.tracking.runs.links import ui_hint
from hemacell.tracking.runs.process import mark_stale_runs
from hemacell.tracking.schema import DATA_KIND, HISTORY, JOB, KEY, PARENT, PREDICTIONS
from hemacell.tracking.store import experiment_ids, get_client

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from hemacell.evaluation.comparison.records import Comparison, RunRecord
    from hemacell.tracking.runs.tracker import Tracker

#: On a study's run: the runs of its cells, also of those that another study has computed.
CELLS = "cells.json"
#: What a comparison says, in words.
ANSWER = "answer.txt"
_CURVES = ("train/loss", "val/loss", "val/accuracy", "val/macro_f1", "lr")
_IS_CELL = f"tags.`{JOB}` = 'wbc'"
_READERS = 8
_MOST = 5000


# --- which runs


def children(parent: str, status: str = "FINISHED") -> list[Run]:
    """The cells under a study that have this status, the newest first."""
    return _search(f"attributes.status = '{status}' and {_IS_CELL} and tags.`{PARENT}` = '{parent}'")


def stopped_run(job: str, key: str) -> str:
    """Id of the newest run of `job` with this key that did not end well and can be resumed, or ''."""
    mark_stale_runs(get_client())  # of a study that was killed nobody has said so yet
    found = _search(f"attributes.status != 'FINISHED' and tags.`{JOB}` = '{job}' and tags.`{KEY}` = '{key}'")
    return next((run.info.run_id for run in found if run.info.status != "RUNNING"), "")


def stopped_children(parent: str) -> dict[str, str]:
    """Key -> id of the cells under a study that were killed and can go on (not those that failed)."""
    return {run.data.tags.get(KEY, ""): run.info.run_id for run in reversed(children(parent, "KILLED"))}


def finished_runs_of_keys(keys: Sequence[str], under: str = "") -> dict[str, str]:
    """Key -> id of the finished run of each of these cells that has been computed and still has its files.

    Args:
        keys: of the cells.
        under: the study that must have computed them; '' for any.
    """
    wanted, found = set(keys), {}
    client = get_client()
    for run in reversed(children(under) if under else _search(f"attributes.status = 'FINISHED' and {_IS_CELL}")):
        key = run.data.tags.get(KEY, "")
        if key in wanted:
            found[key] = run.info.run_id
    return {
        key: run_id
        for key, run_id in found.items()
        if any(file.path == PREDICTIONS for file in client.list_artifacts(run_id))
    }


def seconds_of_runs(threads: int) -> dict[tuple[str, str], float]:
    """(steps, image_size), as logged -> median seconds of such a cell with this number of threads."""
    taken: dict[tuple[str, str], list[float]] = {}
    for run in _search(f"attributes.status = 'FINISHED' and {_IS_CELL} and tags.threads = '{threads}'"):
        if run.info.end_time and "train_seconds" in run.data.metrics:
            seconds = (run.info.end_time - run.info.start_time) / 1000
            size = run.data.params.get("steps", ""), run.data.params.get("image_size", "")
            taken.setdefault(size, []).append(seconds)
    return {size: statistics.median(values) for size, values in taken.items()}


def newest_study() -> str:
    """Id of the newest finished study of the store in use.

    Raises:
        UserError: there is none.
    """
    found = _search(f"attributes.status = 'FINISHED' and tags.`{JOB}` = 'study'")
    if not found:
        raise UserError("there is no finished study in this store. Make one: mlflow run . -e study")
    return found[0].info.run_id


def runs_of_study(run_id: str) -> list[Run]:
    """The finished cells of a study, also of one that is not finished.

    Raises:
        UserError: there is no such run, it is no study, or it has no finished cell.
    """
    study = existing_run(get_client(), run_id)
    if study.data.tags.get(JOB) != "study":
        raise UserError(
            f"study={run_id}: expected a run of study, found one of {study.data.tags.get(JOB) or 'no job of ours'}; "
            "for single runs type runs=A,B"
        )
    client = get_client()
    if any(file.path == CELLS for file in client.list_artifacts(run_id)):
        return runs_with([cell["run_id"] for cell in _json(run_id, CELLS)])
    found = children(run_id)
    if not found:
        raise UserError(f"study={run_id}: it has no finished cell yet; type the study's command again to go on")
    return found


def runs_with(run_ids: Sequence[str]) -> list[Run]:
    """The runs with these ids, in this order.

    Raises:
        UserError: there is no such run, or one is named twice.
    """
    client = get_client()
    if twice := [run_id for run_id, count in Counter(run_ids).items() if count > 1]:
        raise UserError(f"run {twice[0]} is named twice: give each run once")
    return [existing_run(client, run_id) for run_id in run_ids]


def runs_by_filter(text: str) -> list[Run]:
    """The finished runs of wbc that a search finds, as MLflow's pages understand it.

    Raises:
        UserError: MLflow does not understand it, or it finds nothing.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = _search(f"attributes.status = 'FINISHED' and {_IS_CELL} and {text}")
    except MlflowException as error:
        raise UserError(
            f"filter={text}: MLflow does not understand it ({in_one_line(error)[:200]}); type for example "
            "filter=\"params.fraction = '0.1' and params.encoders = 'none'\""
        ) from error
    if not found:
        raise UserError(f"filter={text}: expected finished runs of wbc, found none; try it in MLflow's search box")
    return found


def _search(text: str) -> list[Run]:
    client = get_client()
    found: list[Run] = []
    token = None
    experiments = experiment_ids(client)
    while True:
        page = client.search_runs(
            experiments, text, max_results=1000, order_by=["attributes.start_time DESC"], page_token=token
        )
        found += page
        token = page.token
        if not token or len(found) >= _MOST:
            return found


# --- runs -> cells


def read_runs(runs: Sequence[Run]) -> list[RunRecord]:
    """Read runs of `wbc` back, in the order given.

    Raises:
        UserError: a run is none of wbc, is not finished, or its files are gone.
    """
    client = get_client()
    for run in runs:
        if run.data.tags.get(JOB) != "wbc" or run.info.status != "FINISHED":
            raise UserError(
                f"run {run.info.run_id}: expected a finished run of wbc, found a run of "
                f"{run.data.tags.get(JOB) or 'no job of ours'} that is {run.info.status}; leave it out"
            )
    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(lambda run: _cell(client, run), runs))


def two_runs(cells: Sequence[RunRecord]) -> list[RunRecord]:
    """Two runs as two arms of one draw and amount, whatever they were: one paired answer on the images that both saw.

    Their names say what differs: the encoders, else the amount of labels, else the runs' names or ids.
    """
    ways = (
        lambda cell: cell.arm,
        lambda cell: f"{cell.arm} {cell.amount}",
        lambda cell: cell.name,
        lambda cell: cell.run_id,
    )
    names = next(names for way in ways if len(set(names := [way(cell) for cell in cells])) == len(cells))
    amounts = {cell.amount for cell in cells}
    amount = amounts.pop() if len(amounts) == 1 else "as given"
    return [replace(cell, arm=name, draw=0, seed=0, amount=amount) for cell, name in zip(cells, names, strict=True)]


def _cell(client: MlflowClient, run: Run) -> RunRecord:
    from mlflow.exceptions import MlflowException

    from hemacell.evaluation.comparison.records import RunRecord
    from hemacell.evaluation.predictions import read_predictions

    params, tags, metrics = run.data.params, run.data.tags, run.data.metrics
    with files_of(run) as fetched:
        try:
            predictions = read_predictions(fetched(PREDICTIONS))
            external = None
            if any(name.startswith("external/") for name in metrics):
                external = read_predictions(fetched(f"external/{PREDICTIONS}"))
        except (MlflowException, OSError) as error:
            raise UserError(
                f"run {run.info.run_id} ({run.info.run_name}): its predictions cannot be read "
                f"({in_one_line(error)[:200]}); leave it out, or compute it again"
            ) from error
        try:
            history = json.loads(fetched(HISTORY).read_text(encoding="utf-8"))
        except (MlflowException, OSError):
            history = _history(client, run.info.run_id)  # of a run that has no such file
    fraction, per_class = params.get("fraction", ""), params.get("labels_per_class", "")
    counts = _profile(run)
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name or run.info.run_id,
        arm=params.get("encoders", "none"),
        amount=fraction or f"{per_class} per class",
        draw=int(params["draw"]) if params.get("draw", "").isdigit() else 0,
        seed=int(params.get("seed", "0")),
        labels=int(tags.get("draw.labels") or metrics.get("train_images") or counts.get("train_images", 0)),
        train_digest=tags.get("draw.digest", ""),
        predictions=predictions,
        external=external,
        metrics=dict(metrics),
        history=tuple(history),
        settings=dict(params),
        tags=dict(tags),
        val_images=counts.get("val_images", 0),
    )


def _profile(run: Run) -> dict[str, Any]:
    """Sizes of the splits, from the data set that the run has as input."""
    profiles = [entry.dataset.profile for entry in run.inputs.dataset_inputs] if run.inputs else []
    return json.loads(profiles[0]) if profiles and profiles[0] else {}


def _history(client: MlflowClient, run_id: str) -> list[dict[str, float]]:
    rows: dict[int, dict[str, float]] = {}
    for name in _CURVES:
        for each in client.get_metric_history(run_id, name):
            rows.setdefault(each.step, {"step": each.step})[name] = each.value
    return [rows[step] for step in sorted(rows)]


def _json(run_id: str, name: str) -> Any:
    with files_of(existing_run(get_client(), run_id)) as fetched:
        return json.loads(fetched(name).read_text(encoding="utf-8"))


# --- cells -> a report on a run


def log_comparison(
    run: Tracker,
    cells: Sequence[RunRecord],
    facts: Mapping[str, str],
    *,
    baseline: str = "",
    resamples: int = 2000,
    permutations: int = 5000,
    output: str = "",
) -> list[Comparison]:
    """Compare cells, and log report, figures, table and the mean of every cell of the grid to a run.

    Args:
        run: the open run.
        cells: what is compared.
        facts: shown at the end of the report.
        baseline: the arm that the others are compared with; '' for `none`, or the first arm where there is no `none`.
        resamples, permutations: of the bootstrap and of the permutation test.
        output: a folder that the report is written to as well.

    Returns:
        The comparison on the test images, and the one on the other laboratory's images where all cells have it.

    Raises:
        UserError: the cells cannot be compared, or the folder cannot be written.
    """
    from hemacell.evaluation.comparison.compare import Split, compare
    from hemacell.evaluation.comparison.table import results_table
    from hemacell.evaluation.metrics import study_metrics
    from hemacell.reporting.study_report import write_report

    arms = list(dict.fromkeys(cell.arm for cell in cells))
    chosen = baseline or ("none" if "none" in arms else arms[0])
    if chosen not in arms:
        raise UserError(f"baseline={chosen}: expected one of the arms ({'; '.join(arms)})")
    splits: list[Split] = ["test", "external"] if all(cell.external for cell in cells) else ["test"]
    comparisons = [
        compare(
            cells,
            baseline=chosen,
            split=split,
            resamples=resamples,
            permutations=permutations,
        )
        for split in splits
    ]
    table = results_table(cells)
    with tempfile.TemporaryDirectory() as scratch:
        write_report(Path(scratch), comparisons, cells, facts, table)
        run.artifacts(Path(scratch))
        if output:
            _copy(Path(scratch), Path(output).expanduser())
    run.text(_answer(comparisons[0]), ANSWER)
    run.metrics(
        {
            f"{score.metric}/{slug(score.arm)}/{slug(score.amount)}": score.mean
            for score in comparisons[0].scores
            if score.metric in study_metrics()
        }
    )
    return comparisons


def _answer(comparison: Comparison) -> str:
    from hemacell.reporting.study_sections import answer

    return "\n".join([*answer(comparison), *(f"warning: {line}" for line in comparison.warnings)])


def facts_of(run_id: str, cells: Sequence[RunRecord]) -> dict[str, str]:
    """What a reader of the report must know to find the runs again, and to judge the figures: label -> text."""

    def all_of(name: str) -> str:
        return ", ".join(sorted({cell.tags[name] for cell in cells if cell.tags.get(name)}))

    def folders(name: str) -> str:
        return ", ".join(sorted({Path(cell.settings[name]).name for cell in cells if cell.settings.get(name)}))

    seconds = sum(cell.metrics.get("train_seconds", 0.0) for cell in cells)
    encoders = {
        name.removeprefix("encoder."): uri
        for cell in cells
        for name, uri in cell.tags.items()
        if name.startswith("encoder.") and uri.startswith("models:")
    }
    facts = {
        "data.kind": all_of("data.kind"),
        "data": folders("data"),
        "external": folders("external"),
        "training images": f"{len({cell.train_digest for cell in cells})} different sets",
        "encoders": ", ".join(f"{name}: {uri}" for name, uri in sorted(encoders.items())),
        "sources": all_of("git.commit") + (" (with changes)" if "true" in all_of("git.dirty") else ""),
        "threads a cell": all_of("threads"),
        "training time of all cells": f"{seconds / 3600:.1f} hours",
        "MLflow run": run_id,
    }
    return {name: text for name, text in facts.items() if text}


def common_tags(cells: Sequence[RunRecord]) -> dict[str, str]:
    """Tags that a comparison takes over from its cells: the kind of data (the sample, as soon as one cell has it)."""
    kinds = {cell.tags.get(DATA_KIND, "") for cell in cells}
    return {DATA_KIND: "sample" if "sample" in kinds else ",".join(sorted(kinds))}


def shown(run_id: str) -> str:
    """For the screen: the answer in words that a study or a comparison has left, and where the report is."""
    with files_of(existing_run(get_client(), run_id)) as fetched:
        answer = fetched(ANSWER).read_text(encoding="utf-8").strip()
    return f"\n{answer}\n\nreport.html and report.md are among the files of run {run_id}\n{ui_hint()}"


def _copy(folder: Path, target: Path) -> None:
    try:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            copy = target / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)  # not the modes: those of a temporary folder are for its owner alone
    except OSError as error:
        raise UserError(f"output={target}: cannot be written ({error.strerror or in_one_line(error)})") from error
