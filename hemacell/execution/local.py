"""Tasks side by side, in processes that are started once and given one task after the other.

A worker is any command that reads one JSON object a line from its standard input and answers each with one line on its
standard output: `{"result": ...}` or `{"error": "one line"}` (`answer_tasks` is that loop). It may die: the task is
then reported as failed, and the next one gets a new process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A worker that is told to stop writes a checkpoint and closes its run.
_PATIENCE_S = 40.0


@dataclass(frozen=True)
class Task:
    """One thing to do: a name for people, and what the worker is told."""

    name: str
    message: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How one try at a task ended."""

    task: Task
    attempt: int
    """1 for the first try."""
    seconds: float
    result: Any = None
    error: str = ""
    """Why it failed, in one line; '' where it did not."""


def run_tasks(
    tasks: Sequence[Task],
    command: Sequence[str],
    *,
    workers: int,
    environment: Mapping[str, str],
    logs: Path,
    tries: int = 2,
    report: Callable[[Outcome, Sequence[str]], None] | None = None,
    waiting: Callable[[Sequence[str]], None] | None = None,
) -> list[Outcome]:
    """Work through tasks with several processes at once, in the order given.

    Args:
        tasks: what is to be done; one that fails is tried again after all others.
        command: starts a worker.
        workers: how many at once, at most.
        environment: of the workers.
        logs: folder for what they write to standard error, `worker-<number>.log`.
        tries: how often a task is tried.
        report: called in this thread with each outcome, a failed try included, and the names of the tasks at work.
        waiting: called in this thread every second while there is no outcome, with the names of the tasks at work.

    Returns:
        The last outcome of every task, in the order of `tasks`.

    Raises:
        Whatever `report`, `waiting` or a signal handler (Ctrl-C) raises: the workers are told to stop first, and waited
        for.
    """
    pool = _Pool(tasks, command, environment, logs, tries)
    threads = [threading.Thread(target=pool.serve, args=(number,), daemon=True) for number in range(workers)]
    for thread in threads:
        thread.start()
    last: dict[str, Outcome] = {}
    try:
        while len(last) < len(tasks):
            try:
                outcome = pool.outcomes.get(timeout=1.0)
            except queue.Empty:
                if waiting is not None:
                    waiting(pool.at_work())
                continue
            if not outcome.error or outcome.attempt >= tries:
                last[outcome.task.name] = outcome
            if report is not None:
                report(outcome, pool.at_work())
    finally:
        pool.stop()
        for thread in threads:
            thread.join()
    return [last[task.name] for task in tasks]


class _Pool:
    def __init__(
        self, tasks: Sequence[Task], command: Sequence[str], environment: Mapping[str, str], logs: Path, tries: int
    ) -> None:
        self.waiting = deque((task, 1) for task in tasks)
        self.command, self.environment, self.logs, self.tries = list(command), dict(environment), logs, tries
        self.outcomes: queue.Queue[Outcome] = queue.Queue()
        self.changed = threading.Condition()
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.current: dict[int, str] = {}
        self.stopping = False

    def serve(self, number: int) -> None:
        """What one thread does: hand tasks to its process, and start another where that has died."""
        while (claimed := self._claim(number)) is not None:
            task, attempt = claimed
            started = time.monotonic()
            result, error = self._try(number, task)
            seconds = time.monotonic() - started
            with self.changed:
                del self.current[number]
                if self.stopping:
                    return
                if error and attempt < self.tries:
                    self.waiting.append((task, attempt + 1))
                self.changed.notify_all()
            self.outcomes.put(Outcome(task, attempt, seconds, result, error))

    def _claim(self, number: int) -> tuple[Task, int] | None:
        """The next task; None where there is none, and none can come back from another worker either."""
        with self.changed:
            while not self.waiting and self.current and not self.stopping:
                self.changed.wait()
            if self.stopping or not self.waiting:
                return None
            task, attempt = self.waiting.popleft()
            self.current[number] = task.name
            return task, attempt

    def _try(self, number: int, task: Task) -> tuple[Any, str]:
        process = self._process(number)
        if process is None:
            return None, "stopped"
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(task.message) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return None, f"its process {_how(process.wait())}; see {self._log(number)}"
        answer = json.loads(line)
        return answer.get("result"), answer.get("error", "")

    def _process(self, number: int) -> subprocess.Popen[str] | None:
        with self.changed:  # or a process could be started behind the back of `stop`
            if self.stopping:
                return None
            process = self.processes.get(number)
            if process is None or process.poll() is not None:
                self.logs.mkdir(parents=True, exist_ok=True)
                with self._log(number).open("a") as log:
                    # In a session of its own: Ctrl-C on the terminal reaches the study alone, which tells its workers.
                    process = subprocess.Popen(
                        self.command,
                        env=self.environment,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        text=True,
                        start_new_session=True,
                    )
                self.processes[number] = process
            return process

    def _log(self, number: int) -> Path:
        return self.logs / f"worker-{number}.log"

    def at_work(self) -> list[str]:
        """Names of the tasks that are being worked on."""
        with self.changed:
            return [self.current[number] for number in sorted(self.current)]

    def stop(self) -> None:
        """End all processes: those without a task by closing their input, those at work by SIGTERM."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()
            busy = set(self.current)
            processes = dict(self.processes)
        for number, process in processes.items():
            if number in busy:
                process.terminate()
            else:
                with contextlib.suppress(BrokenPipeError):
                    assert process.stdin is not None
                    process.stdin.close()
        until = time.monotonic() + _PATIENCE_S
        for process in processes.values():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def answer_tasks(do: Callable[[dict[str, Any]], Any], lines: Iterable[str] | None = None) -> None:
    """The loop of a worker: read a task, do it, answer; until the input ends, or the process that started this is gone.

    What `do` prints goes to standard error, and so does the traceback of what it raises, whose last line is the answer.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # and not what a test put there
                stream.reconfigure(line_buffering=True)  # what a worker said last is in the log, however it ends
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
        for line in sys.stdin if lines is None else lines:
            try:
                answer = {"result": do(json.loads(line))}
            except Exception as error:
                traceback.print_exc()
                text = " ".join(str(error).split())
                answer = {"error": text or type(error).__name__}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def _end_with_parent(parent: int) -> None:
    """After a SIGKILL of the study nobody would wait for the answer: end as if told to."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
