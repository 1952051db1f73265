"""Workers on this machine: a process each, started once, that ends with its parent.

Each worker is a pebble pool of one process, so that a process that dies fails its own task only.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pebble

from hemacell.core.errors import in_one_line
from hemacell.execution.executor import BaseExecutor, Worker

# A task that is stopped writes a checkpoint and closes its run; pebble would wait 3 s before it kills the process.
pebble.CONSTS.term_timeout = 40.0


class Executor(BaseExecutor):
    """Processes of this machine; each writes what it prints to `worker-<number>.log`."""

    def start_worker(self, number: int) -> Worker:
        """Start nothing yet: the process starts with its first task."""
        return _LocalWorker(self.environment, self.logs / f"worker-{number}.log")


class _LocalWorker:
    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.environment, self.log = environment, log
        self.pool = self._new_pool()

    def _new_pool(self) -> pebble.ProcessPool:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return pebble.ProcessPool(
            max_workers=1,
            initializer=_prepare,
            initargs=(self.environment, self.log),
            context=multiprocessing.get_context("spawn"),
        )

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Future[tuple[Any, str]]:
        if not self.pool.active:  # a process died before it took its task
            self.stop()
            self.pool = self._new_pool()
        # Unpickled by `_call`, where a module that cannot be imported is the error of this task.
        attempt = self.pool.schedule(_call, args=(pickle.dumps((function, argument)),))
        outcome: Future[tuple[Any, str]] = Future()
        attempt.add_done_callback(lambda ended: outcome.set_result(self._outcome(ended)))
        return outcome

    def _outcome(self, ended: Future[tuple[Any, str]]) -> tuple[Any, str]:
        error = ended.exception()
        if error is None:
            return ended.result()
        code = error.exitcode if isinstance(error, pebble.ProcessExpired) else None
        return None, f"its process {_cause(code)}; see {self.log}"

    def stop(self) -> None:
        self.pool.stop()
        self.pool.join()


def _cause(code: int | None) -> str:
    if code is None:
        return "ended before it took the task"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _prepare(environment: Mapping[str, str], log: Path) -> None:
    """First code of a worker: its variables, its log, and a watch on the parent."""
    os.environ.update(environment)
    os.setsid()  # Ctrl-C reaches the parent alone, which then stops its workers
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        os.dup2(descriptor, number)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # the last lines are in the log, however the process ends
    os.close(descriptor)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Stop as on SIGTERM when the parent was killed: the result is no longer needed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _call(call: bytes) -> tuple[Any, str]:
    """(result, '') or (None, the exception's text in one line), with the traceback in the log."""
    try:
        function, argument = pickle.loads(call)
        return function(argument), ""
    except SystemExit as leaving:  # of a task that was stopped: pebble would take the next one
        sys.stderr.flush()
        os._exit(leaving.code if isinstance(leaving.code, int) else 1)
    except Exception as error:
        traceback.print_exc()
        return None, in_one_line(error)
