"""Where the tasks of a study run: one protocol, and the loop that all executors share.

An executor is one module of this package with a class named `Executor` (see `local.py`): it says how a worker is
started. Retries, the order of tasks, progress and stopping are the same for all and are written here.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hemacell.core.errors import UserError

#: Seconds between two calls of `on_wait`.
_TICK_S = 1.0


@dataclass(frozen=True)
class Task:
    """One call of the function that is mapped: a name for messages, and the argument."""

    name: str
    argument: Any
    """Can be pickled."""


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a task ended."""

    task: Task
    attempt: int
    """1 for the first attempt."""
    seconds: float
    result: Any = None
    error: str = ""
    """Why it failed, in one line; '' for a success."""


class Worker(Protocol):
    """Does one task at a time."""

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Future[tuple[Any, str]]:
        """Start a task; the future holds (result, error) as in `Outcome`, and never an exception.

        Where the worker died in an earlier task, another one takes its place first.
        """

    def stop(self) -> None:
        """Send SIGTERM to a task in progress, wait until it has saved its state, and end the worker."""


OnOutcome = Callable[[Outcome, Sequence[str]], None]
OnWait = Callable[[Sequence[str]], None]


class BaseExecutor(ABC):
    """Calls a function for every task, on several workers at once.

    Args:
        workers: number of workers, at least 1.
        environment: variables that are set in a worker before anything heavy is imported, such as OMP_NUM_THREADS.
        logs: folder for what the workers print.
    """

    def __init__(self, workers: int, environment: Mapping[str, str], logs: Path) -> None:
        self.workers, self.environment, self.logs = workers, dict(environment), logs

    @abstractmethod
    def start_worker(self, number: int) -> Worker:
        """Start a worker; `number` counts from 0."""

    def map(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Task],
        *,
        attempts: int = 2,
        on_outcome: OnOutcome | None = None,
        on_wait: OnWait | None = None,
    ) -> list[Outcome]:
        """Call `function(task.argument)` for every task, in the order given.

        A worker that dies fails its own task only. A failed task is tried again after all others.

        Args:
            function: a function of a module, or a `functools.partial` of one: the workers import it.
            tasks: with different names.
            attempts: how often a task is tried.
            on_outcome: called in this thread with the outcome of each attempt and the names of the tasks in progress.
            on_wait: called in this thread every second without an outcome, with the names of the tasks in progress.

        Returns:
            The last outcome of every task, in the order of `tasks`.

        Raises:
            Whatever a callback or a signal handler (Ctrl-C) raises, after the workers have been stopped.
        """
        queue = deque((task, 1) for task in tasks)
        last: dict[str, Outcome] = {}
        running: dict[Future[tuple[Any, str]], tuple[Worker, Task, int, float]] = {}
        started: list[Worker] = []
        try:
            for number in range(min(self.workers, len(tasks))):
                started.append(self.start_worker(number))
            free = deque(started)
            while queue or running:
                while queue and free:
                    worker, (task, attempt) = free.popleft(), queue.popleft()
                    running[worker.submit(function, task.argument)] = (worker, task, attempt, time.monotonic())
                done, _ = wait(running, timeout=_TICK_S, return_when=FIRST_COMPLETED)
                for future in done:
                    worker, task, attempt, start = running.pop(future)
                    free.append(worker)
                    outcome = Outcome(task, attempt, time.monotonic() - start, *future.result())
                    if outcome.error and attempt < attempts:
                        queue.append((task, attempt + 1))
                    else:
                        last[task.name] = outcome
                    if on_outcome is not None:
                        on_outcome(outcome, _names(running.values()))
                if not done and on_wait is not None:
                    on_wait(_names(running.values()))
        finally:
            if started:
                with ThreadPoolExecutor(len(started)) as together:
                    list(together.map(lambda worker: worker.stop(), started))
        return [last[task.name] for task in tasks]


def _names(running: Any) -> list[str]:
    return [task.name for _, task, _, _ in running]


def executor_names() -> list[str]:
    """The executors of this package, such as `local`."""
    import hemacell.execution as package

    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name != "executor")


def get_executor(name: str) -> type[BaseExecutor]:
    """The executor with this name.

    Raises:
        UserError: there is no such executor.
    """
    if name not in (known := executor_names()):
        raise UserError(f"executor={name}: expected one of {', '.join(known)}; type for example executor=local")
    found: type[BaseExecutor] = importlib.import_module(f"hemacell.execution.{name}").Executor
    return found
