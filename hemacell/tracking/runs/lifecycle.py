"""The life of a run: opened, filled, and closed with the right status whatever happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import hemacell
from hemacell.config.groups import StepSettings
from hemacell.config.roles import Role
from hemacell.config.run_names import run_name as name_of_run
from hemacell.core.git import checkout_state
from hemacell.core.logging import configure_logging
from hemacell.core.signals import stopped_by_signals
from hemacell.tracking.runs.closing import OpenRun, closed_with_status
from hemacell.tracking.runs.existing import check_resumable, existing_run
from hemacell.tracking.runs.experiments import experiment_for
from hemacell.tracking.runs.mlflow_environment import point_to_result, read_mlflow_environment
from hemacell.tracking.runs.process import mark_stale_runs, process_tags
from hemacell.tracking.runs.tracker import Tracker, canonical, log_settings
from hemacell.tracking.schema import ERROR, GIT_COMMIT, GIT_DIRTY, JOB
from hemacell.tracking.store import check_server, get_client

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_EXECUTION = StepSettings.names(Role.EXECUTION)


@contextmanager
def track(
    job: str,
    settings: Mapping[str, object],
    *,
    experiment: str = "",
    run_name: str = "",
    tags: Mapping[str, object] | None = None,
    parent: str = "",
    resume: str = "",
    may_change: frozenset[str] = _EXECUTION,
    advice: str = "",
) -> Iterator[Tracker]:
    """Open a run of `job`, log its settings, and close it as FINISHED, FAILED or KILLED.

    A name that the user gave (`experiment`, MLFLOW_EXPERIMENT_NAME or _ID, `mlflow run --experiment-name`) wins over
    `hemacell-<job>`; a child stays in its parent's experiment. Inside another `track` of this process, the run is a
    child of that one. The run which `mlflow run` made gets the tag `hemacell.result`, the id of the run opened here.

    Args:
        job: `prcc`, `camelyon`, `wbc`, …
        settings: every setting of the job, logged as parameters in canonical text.
        experiment: experiment name given by the user, '' for the rules above.
        run_name: given by the user; '' names the run after its settings (see `hemacell.config.run_names`).
        tags: further tags, such as `data.kind` and `threads`.
        parent: id of the parent run, '' for the enclosing run, if any.
        resume: id of a run to reopen, '' for a new one.
        may_change: settings that need not be what they were when a run is resumed.
        advice: how to continue a run that was stopped; '' where that is `resume=`, for a job with that setting.

    Raises:
        UserError: the server is down or goes away, the disk is full, or the run cannot be resumed.
        SystemExit: SIGINT or SIGTERM stopped the outermost run (130 or 143), after a line that says how to continue.
    """
    from hemacell.tracking.runs.system_metrics import system_metrics

    configure_logging()
    client = _ready_client()
    launch = read_mlflow_environment(client)
    enclosing = _active_run_id()
    outer_run = "" if enclosing else launch.outer_run
    all_tags = {JOB: job, **process_tags(), **_git_tags()}
    all_tags |= {key: canonical(value) for key, value in (tags or {}).items()}
    texts = {key: canonical(value) for key, value in settings.items()}
    parent = parent or enclosing or launch.parent
    experiment_id = ""
    if resume:
        check_resumable(resume, job)
    elif parent:
        experiment_id = existing_run(parent).info.experiment_id
    else:
        experiment_id = experiment_for(client, job, experiment, launch)
    name = run_name or ("" if enclosing else launch.run_name) or name_of_run(job, texts)
    ours = OpenRun(nested=bool(enclosing), outer_run=outer_run, advice=advice)
    with stopped_by_signals(outermost=not enclosing), closed_with_status(client, ours):
        run = _start(resume, experiment_id, name, parent, all_tags)
        ours.run_id = run.info.run_id
        if "resume" in settings and not advice:
            ours.advice = f"go on with resume={ours.run_id}"
        if ERROR in run.data.tags:
            client.delete_tag(ours.run_id, ERROR)
        if outer_run:
            _own_outer_run(client, outer_run, ours.run_id)
        log_settings(client, ours.run_id, texts, may_change)
        ours.tracker = Tracker(client, ours.run_id, run.info.experiment_id)
        with system_metrics(ours.run_id, resumed=bool(resume)):
            yield ours.tracker


def has_open_run() -> bool:
    """Whether a job of this process has a run open: another job that starts now becomes its child."""
    return bool(_active_run_id())


def _ready_client() -> MlflowClient:
    """A client of a store that answers now, in which no run is RUNNING whose process has ended."""
    import mlflow

    client = get_client()
    if mlflow.get_tracking_uri().startswith(("http://", "https://")):
        check_server(mlflow.get_tracking_uri())
    mark_stale_runs()
    return client


def _git_tags() -> dict[str, str]:
    state = checkout_state(Path(hemacell.__file__).resolve().parent)
    return {GIT_COMMIT: state[0], GIT_DIRTY: canonical(state[1])} if state else {}


def _active_run_id() -> str:
    import mlflow

    active = mlflow.active_run()
    return active.info.run_id if active else ""


def _start(resume: str, experiment_id: str, run_name: str, parent: str, tags: dict[str, str]) -> Run:
    """Start a run, or reopen one; it becomes MLflow's active run."""
    import mlflow

    if resume:
        return mlflow.start_run(run_id=resume, nested=True, tags=tags, log_system_metrics=False)
    return mlflow.start_run(
        experiment_id=experiment_id,
        run_name=run_name,
        nested=True,
        parent_run_id=parent or None,
        tags=tags,
        log_system_metrics=False,  # ours is another
    )


def _own_outer_run(client: MlflowClient, outer_run: str, run_id: str) -> None:
    """Tag the run of `mlflow run` with this process, which may be killed, and with the run that has the result."""
    for key, value in process_tags().items():
        client.set_tag(outer_run, key, value)
    point_to_result(client, run_id)
