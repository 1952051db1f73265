"""How a run ends: FINISHED, FAILED or KILLED, and with one line that tells the user how to continue."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hemacell.core.errors import UserError
from hemacell.core.signals import Stopped
from hemacell.tracking.runs.notes import write_note
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import ERROR
from hemacell.tracking.store import as_user_error, lost_server, stop_retrying

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

_TAG_LENGTH = 5000


@dataclass
class OpenRun:
    """What is to be closed.

    Attributes:
        nested: whether another run of this process encloses it.
        outer_run: the run that `mlflow run` made for this process, '' without it.
        run_id: '' until the run is open.
        tracker: of the run, None until it is open.
        advice: how to continue a run that was stopped; '' where it cannot be continued.
    """

    nested: bool
    outer_run: str
    run_id: str = ""
    tracker: Tracker | None = None
    advice: str = ""


@contextmanager
def closed_with_status(client: MlflowClient, run: OpenRun) -> Iterator[None]:
    """Close the run according to how the block is left.

    Raises:
        UserError: in place of errors of the store or the disk that a user can correct.
        SystemExit: SIGINT or SIGTERM stopped the outermost run (130 or 143), after a line that says how to continue.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        stopped = interrupt if isinstance(interrupt, Stopped) else Stopped(signal.SIGINT)
        _close(client, run, "KILLED", f"stopped by {stopped}")
        if run.nested:
            raise
        status = f"run {run.run_id} is marked KILLED" if run.run_id else "no run was opened"
        logger.info(f"stopped by {stopped}: {'; '.join(filter(None, (status, run.advice)))}")
        raise SystemExit(128 + stopped.number) from None
    except SystemExit as leaving:
        _close(client, run, "FAILED" if leaving.code else "FINISHED")
        raise
    except BaseException as error:
        if lost_server(error):
            stop_retrying()
        as_line = error if isinstance(error, UserError) else as_user_error(error, run.advice)
        _close(client, run, "FAILED", str(as_line) if as_line else f"{type(error).__name__}: {error}")
        if as_line is None or as_line is error:
            raise
        raise as_line from error
    else:
        _close(client, run, "FINISHED")


def _close(client: MlflowClient, run: OpenRun, status: str, error: str = "") -> None:
    """End the active run. A store that is out of reach is reported, and does not hide why the run ended."""
    import mlflow
    import requests
    from mlflow.exceptions import MlflowException

    if not run.run_id:
        return
    try:
        if error:
            client.set_tag(run.run_id, ERROR, " ".join(error.split())[:_TAG_LENGTH])
        mlflow.end_run(status)
        write_note(client, run.run_id, status, run.tracker.summary if run.tracker else "")
        # If `mlflow run` was stopped too, its run would stay open; if it still runs, it writes FAILED there itself.
        if status == "KILLED" and run.outer_run:
            client.set_terminated(run.outer_run, status=status)
    except (MlflowException, requests.RequestException, OSError) as unreachable:
        if status == "FINISHED":
            raise
        logger.warning(f"run {run.run_id} could not be marked as {status}: {unreachable}")
