"""The life of a run: opened, filled, and closed with the right status whatever happens."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from hemacell.config.groups import StepSettings
from hemacell.config.roles import Role
from hemacell.core.errors import UserError
from hemacell.tracking.runs.git import git_tags
from hemacell.tracking.runs.mlflow_environment import JOB, Launch, point_to_result, read_mlflow_environment
from hemacell.tracking.runs.names import run_name as name_of_run
from hemacell.tracking.runs.process import is_alive, mark_stale_runs, process_tags, this_host
from hemacell.tracking.runs.tracker import Tracker, canonical, log_settings
from hemacell.tracking.store import (
    artifact_location,
    as_user_error,
    check_server,
    get_client,
    lost_server,
    stop_retrying,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = [
    "Stopped",
    "Tracker",
    "check_server",
    "encoders_of",
    "get_client",
    "has_open_run",
    "mark_stale_runs",
    "params_of",
    "point_to_result",
    "scores_of",
    "track",
]

ERROR = "hemacell.error"

_TAG_LENGTH = 5000
_EXECUTION = StepSettings.names(Role.EXECUTION)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM arrived while a run was open. Catch it only to save what a resumed run needs."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def track(
    job: str,
    settings: Mapping[str, object],
    *,
    experiment: str = "",
    run_name: str = "",
    tags: Mapping[str, object] | None = None,
    parent: str | None = None,
    resume: str = "",
    may_change: frozenset[str] = _EXECUTION,
    go_on: str = "",
) -> Iterator[Tracker]:
    """Open a run of `job`, log its settings, and close it as FINISHED, FAILED or KILLED.

    A name that the user gave (`experiment`, MLFLOW_EXPERIMENT_NAME or _ID, `mlflow run --experiment-name`) wins over
    `hemacell-<job>`; a child stays in its parent's experiment. Inside another `track` of this process, the run is a
    child of that one. The run which `mlflow run` made is left alone but for tags: `hemacell.result` holds the id of
    the run opened here. Runs of this host whose process is gone are marked as KILLED first.

    Args:
        job: `prcc`, `camelyon`, `wbc`, …
        settings: every setting of the job, logged as parameters in canonical text.
        experiment: experiment name given by the user, '' for the rules above.
        run_name: given by the user; '' names the run after its settings (see `hemacell.tracking.runs.names`).
        tags: further tags, such as `data.kind` and `threads`.
        parent: id of the parent run, None for the enclosing run, if any.
        resume: id of a run to reopen, '' for a new one.
        may_change: settings that need not be what they were when a run is resumed.
        go_on: how to go on with a run that was stopped; '' where that is `resume=`, for a job with that setting.

    Raises:
        UserError: the server is down or goes away, the disk is full, there is no run to resume, it belongs to another
            job or is still running, or its settings were others.
        SystemExit: SIGINT or SIGTERM stopped the outermost run (130 or 143), after a line that says how to go on.
    """
    import mlflow

    client = get_client()
    if mlflow.get_tracking_uri().startswith(("http://", "https://")):
        check_server(mlflow.get_tracking_uri())
    launch = read_mlflow_environment(client)
    mark_stale_runs(client)

    enclosing = mlflow.active_run()
    parent = parent or (enclosing.info.run_id if enclosing else "") or launch.parent
    all_tags = {JOB: job, **process_tags(), **git_tags()}
    all_tags.update({key: canonical(value) for key, value in (tags or {}).items()})
    if resume:
        _check_resumable(client, resume, job)
    else:
        experiment_id = _experiment_id(client, job, experiment, parent, launch)
    how_to_go_on = go_on
    texts = {key: canonical(value) for key, value in settings.items()}

    with _signals_raise(outermost=enclosing is None):
        tracker = None
        try:
            if resume:
                run = mlflow.start_run(run_id=resume, nested=True, tags=all_tags, log_system_metrics=_system_metrics())
            else:
                run = mlflow.start_run(
                    experiment_id=experiment_id,
                    run_name=run_name or (launch.run_name if enclosing is None else "") or name_of_run(job, texts),
                    nested=True,
                    parent_run_id=parent or None,
                    tags=all_tags,
                    log_system_metrics=_system_metrics(),
                )
            tracker = Tracker(client, run.info.run_id, run.info.experiment_id)
            if "resume" in settings and not go_on:
                how_to_go_on = f"go on with resume={tracker.run_id}"
            if ERROR in run.data.tags:
                client.delete_tag(tracker.run_id, ERROR)
            if enclosing is None and launch.outer_run:
                for key, value in process_tags().items():
                    client.set_tag(launch.outer_run, key, value)
                point_to_result(client, tracker.run_id)
            log_settings(client, tracker.run_id, settings, may_change)
            yield tracker
        except KeyboardInterrupt as interrupt:
            stopped = interrupt if isinstance(interrupt, Stopped) else Stopped(signal.SIGINT)
            outer = launch.outer_run if enclosing is None else ""
            _close(client, tracker, "KILLED", f"stopped by {stopped}", outer)
            if enclosing is not None:
                raise
            run_words = f"run {tracker.run_id} is marked KILLED" if tracker else "no run was opened"
            print(f"stopped by {stopped}: {'; '.join(filter(None, (run_words, how_to_go_on)))}", file=sys.stderr)
            raise SystemExit(128 + stopped.number) from None
        except SystemExit as leaving:
            _close(client, tracker, "FAILED" if leaving.code else "FINISHED", "")
            raise
        except BaseException as error:
            if lost_server(error):
                stop_retrying()
            as_line = error if isinstance(error, UserError) else as_user_error(error, how_to_go_on)
            _close(client, tracker, "FAILED", str(as_line) if as_line else f"{type(error).__name__}: {error}")
            if as_line is None or as_line is error:
                raise
            raise as_line from error
        else:
            _close(client, tracker, "FINISHED", "")


def params_of(run_id: str) -> dict[str, str]:
    """The settings that a run was started with, as text.

    Raises:
        UserError: there is no such run.
    """
    return dict(existing_run(get_client(), run_id).data.params)


def scores_of(run_id: str) -> dict[str, float]:
    """The last value of every metric of a run.

    Raises:
        UserError: there is no such run.
    """
    return dict(existing_run(get_client(), run_id).data.metrics)


def has_open_run() -> bool:
    """Whether a job of this process has a run open: another job that starts now becomes its child."""
    import mlflow

    return mlflow.active_run() is not None


def registered_by(run_id: str) -> str:
    """The address of the model that a run has registered, `models:/NAME/VERSION`.

    Raises:
        UserError: there is no such run.
    """
    from hemacell.tracking.registry.registration import REGISTERED

    return existing_run(get_client(), run_id).data.tags[REGISTERED]


def encoders_of(run_id: str) -> dict[str, str]:
    """The encoders that a run was started with, name -> address; empty for '' and for one that had none yet."""
    if not run_id:
        return {}
    tags = existing_run(get_client(), run_id).data.tags
    return {key.removeprefix("encoder."): uri for key, uri in tags.items() if key.startswith("encoder.")}


def _close(client: MlflowClient, tracker: Tracker | None, status: str, error: str, outer_run: str = "") -> None:
    """End the active run. A store that is out of reach is said so, and does not hide why the run ended."""
    import mlflow
    import requests
    from mlflow.exceptions import MlflowException

    if tracker is None:
        return
    try:
        if error:
            client.set_tag(tracker.run_id, ERROR, " ".join(error.split())[:_TAG_LENGTH])
        mlflow.end_run(status)
        # Where `mlflow run` was stopped with us, nobody else closes its run; where it lives on, it writes FAILED there.
        if outer_run:
            client.set_terminated(outer_run, status=status)
    except (MlflowException, requests.RequestException, OSError) as unreachable:
        if status == "FINISHED":
            raise
        print(f"run {tracker.run_id} could not be marked as {status}: {unreachable}", file=sys.stderr)


def existing_run(client: MlflowClient, run_id: str) -> Run:
    """A run by its id.

    Raises:
        UserError: there is no such run, or it was deleted.
    """
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        import mlflow

        raise UserError(
            f"there is no run {run_id!r} in {mlflow.get_tracking_uri()}: copy a run's id from the MLflow pages"
        ) from error
    if run.info.lifecycle_stage == "deleted":
        raise UserError(f"run {run_id} was deleted: type mlflow runs restore --run-id {run_id}")
    return run


def _check_resumable(client: MlflowClient, run_id: str, job: str) -> None:
    run = existing_run(client, run_id)
    was = run.data.tags.get(JOB, "")
    if was != job:
        raise UserError(f"run {run_id} is a run of {was or 'no job of ours'}, not of {job}: give a run of {job}")
    # Runs of this host whose process is gone are no longer RUNNING when this is asked.
    if run.info.status == "RUNNING":
        where = run.data.tags.get("hemacell.host", "an unknown host")
        own = where == this_host() and is_alive(run.data.tags)
        stop = f"stop it first (kill {run.data.tags['hemacell.pid']})" if own else "stop it there first"
        raise UserError(f"run {run_id} is still RUNNING on {where}: {stop}, then resume it")


def _experiment_id(client: MlflowClient, job: str, given: str, parent: str, launch: Launch) -> str:
    if parent:
        return existing_run(client, parent).info.experiment_id
    if not given and not launch.experiment_name and launch.experiment_id:
        return launch.experiment_id
    return _named_experiment(client, given or launch.experiment_name or f"hemacell-{job}")


def _named_experiment(client: MlflowClient, name: str) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location(name, mlflow.get_tracking_uri()))
        except MlflowException as error:
            # Another job may have made it in between.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise error
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"experiment {name!r} was deleted: type mlflow experiments restore --experiment-id "
            f"{found.experiment_id}, or give another name (experiment=…)"
        )
    return found.experiment_id


def _system_metrics() -> bool:
    from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING as setting

    return bool(setting.get()) if setting.is_set() else True


class _Signals:
    """The first SIGINT or SIGTERM raises `Stopped` in this process."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.before: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        for number in _SIGNALS:
            # A signal that the caller ignores (nohup, a shell's background job) stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self.before[number] = signal.signal(number, self._stop)

    def restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self.owner:
            # A forked worker inherits this handler, but the run is its parent's to close.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        # Ctrl-C under `mlflow run` arrives twice, as SIGINT and as SIGTERM: the second must not cut short the end. No
        # SIG_IGN: Python would complain of one that has arrived already.
        for own in self.before:
            signal.signal(own, _do_nothing)
        raise Stopped(number)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Handle a signal that comes while the run is being closed."""


@contextmanager
def _signals_raise(outermost: bool) -> Iterator[None]:
    """Handlers are set once, by the outermost run, and only in the main thread, where Python allows it."""
    signals = _Signals()
    if outermost and threading.current_thread() is threading.main_thread():
        signals.install()
    try:
        yield
    finally:
        signals.restore()
