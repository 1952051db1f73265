"""SIGINT and SIGTERM while a run is open: an exception in the process that owns it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM arrived while a run was open. Catch it only to save what a resumed run needs.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopped_by_signals(outermost: bool) -> Iterator[None]:
    """Raise `Stopped` at the first SIGINT or SIGTERM.

    Args:
        outermost: handlers are set once, by the outermost run, and only in the main thread, where Python allows it.
    """
    signals = _Signals()
    if outermost and threading.current_thread() is threading.main_thread():
        signals.install()
    try:
        yield
    finally:
        signals.restore()


class _Signals:
    """Handlers that raise `Stopped`, and those that were there before."""

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
