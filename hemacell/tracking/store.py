"""Which MLflow store is used, and whether it can be: the one place that sets the tracking URI."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from hemacell.core.errors import UserError
from hemacell.core.files import is_disk_full

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

HEALTH_TIMEOUT_S = 3.0

# MLflow's own defaults retry for minutes; with these a server that dies while a job runs is reported after
# 0 + 2 + 4 + 8 s of waiting: long enough for it to be restarted, short enough for a person to see why nothing happens.
# The bar for every file that is copied goes too.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0.5",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

# They log each table they create and each sampling thread, between the lines that a user wants to read.
_CHATTY = ("alembic", "mlflow.system_metrics", "mlflow.pyfunc")
# Raises what it logs; the user sees it once, in the words of this package.
_REPEATING = ("mlflow.store.db.utils",)


def default_uri(start: Path | None = None) -> str:
    """SQLite in the project's folder (the nearest one upwards with an MLproject), else in `start` or here.

    A notebook in a sub-folder so sees the same runs as a command in the project's folder.
    """
    here = (start or Path.cwd()).resolve()
    folder = next((up for up in (here, *here.parents) if (up / "MLproject").is_file()), here)
    return f"sqlite:///{(folder / 'mlflow.db').as_posix()}"


def get_client() -> MlflowClient:
    """Set the tracking URI if the user has not, check that its server answers, and return a client.

    Raises:
        UserError: no server answers there, or the store cannot be written by this MLflow.
    """
    import mlflow
    from mlflow.tracking import is_tracking_uri_set

    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _REPEATING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for key, value in _DEFAULTS.items():
        os.environ.setdefault(key, value)
    if not is_tracking_uri_set():
        mlflow.set_tracking_uri(default_uri())
    uri = mlflow.get_tracking_uri()
    if uri.startswith(("http://", "https://")):
        _check_once(uri)
    elif uri.startswith("sqlite:"):
        _check_sqlite(uri)
    elif urlparse(uri).scheme in ("", "file"):
        raise UserError(
            f"MLFLOW_TRACKING_URI is the folder {uri!r}, which MLflow no longer writes runs to; "
            "type MLFLOW_TRACKING_URI=sqlite:///mlflow.db, or unset it"
        )
    return mlflow.MlflowClient()


def check_server(uri: str) -> None:
    """Ask an HTTP tracking server for its health, with a short timeout and no second try.

    Raises:
        UserError: nothing answers within `HEALTH_TIMEOUT_S`, or it is not an MLflow server.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    ways_out = "start it (mlflow server --serve-artifacts), correct MLFLOW_TRACKING_URI, or unset it to use SQLite"
    try:
        # MLflow's own request function, so that its user names, tokens and certificates apply here too.
        answer = http_request(
            get_default_host_creds(uri),
            "/health",
            "GET",
            max_retries=0,
            timeout=HEALTH_TIMEOUT_S,
            raise_on_status=False,
        )
    except MlflowException as error:
        raise UserError(f"no MLflow server answers at {uri}: {ways_out}") from error
    if answer.status_code != 200:
        raise UserError(f"{uri} is not an MLflow server (GET /health: {answer.status_code}): {ways_out}")


@functools.lru_cache
def _check_once(uri: str) -> None:
    check_server(uri)


def _check_sqlite(uri: str) -> None:
    """SQLite does not make the folder of its file, and says only `unable to open database file`."""
    path = unquote(uri.split("?")[0].removeprefix("sqlite:///"))
    folder = Path(path).resolve().parent
    if path and not folder.is_dir():
        raise UserError(f"MLFLOW_TRACKING_URI={uri}: there is no folder {folder}; make it (mkdir -p {folder})")


def experiment_ids(client: MlflowClient) -> list[str]:
    """All experiments of the store: MLflow searches runs only in those that are named."""
    found: list[str] = []
    token: str | None = None
    while True:
        page = client.search_experiments(page_token=token)
        found += [experiment.experiment_id for experiment in page]
        token = page.token
        if not token:
            return found


def search_runs(text: str, newest_first: bool = True, most: int = 5000) -> list[Run]:
    """The runs of all experiments that a search in MLflow's syntax finds."""
    client = get_client()
    experiments = experiment_ids(client)
    found: list[Run] = []
    token = None
    order = [f"attributes.start_time {'DESC' if newest_first else 'ASC'}"]
    while experiments and len(found) < most:
        page = client.search_runs(experiments, text, max_results=1000, order_by=order, page_token=token)
        found += page
        token = page.token
        if not token:
            break
    return found


def artifact_location(experiment: str, uri: str) -> str | None:
    """Where a new experiment keeps its files: next to the SQLite file; None leaves it to the server.

    MLflow's default for SQLite is ./mlruns of the current folder, wherever the database is.
    """
    if not uri.startswith("sqlite:"):
        return None
    path = Path(unquote(uri.split("?")[0].removeprefix("sqlite:///"))).resolve()
    return (path.parent / "mlruns" / experiment.replace("/", "_")).as_uri()


def as_user_error(error: BaseException, resume: str = "") -> UserError | None:
    """What a user can correct (a server that went away, a full disk) as one line; None for anything else.

    Args:
        error: what was raised; its causes count as well.
        resume: how to go on with the run, added to the line.
    """
    import mlflow

    hint = f", then {resume}" if resume else ""
    if lost_server(error):
        uri = mlflow.get_tracking_uri()
        return UserError(f"the MLflow server at {uri} stopped answering: check that it runs{hint}")
    for seen in _causes(error):
        if isinstance(seen, OSError) and is_disk_full(seen):
            where = f" (writing {seen.filename})" if seen.filename else ""
            return UserError(f"the disk is full{where}: free some space{hint}")
        if "database or disk is full" in str(seen):
            return UserError(f"the disk that holds {mlflow.get_tracking_uri()} is full: free some space{hint}")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def lost_server(error: BaseException) -> bool:
    """Whether the error, or one that it comes from, is a connection to the tracking server that failed."""
    import requests

    return any(isinstance(cause, (requests.ConnectionError, requests.Timeout)) for cause in _causes(error))


def stop_retrying() -> None:
    """From here on a request is tried once: used to leave quickly when the server is known to be gone."""
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
