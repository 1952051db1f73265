"""Progress of long work on the screen: one line that is rewritten on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import TextIO


class Progress:
    """Shows how far something is, how fast it goes and how long it will take.

    On a terminal the line is rewritten a few times a second; where the output is a file or a pipe, a line is written
    every `seconds` seconds, so that a log stays short.

    Args:
        what: what is being done, such as `training`.
        unit: what is counted, such as `images`.
        seconds: between two lines of a log.
        stream: where to write; standard error without it.
    """

    def __init__(self, what: str, unit: str = "images", seconds: float = 15.0, stream: TextIO | None = None) -> None:
        self.what, self.unit = what, unit
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.interval = 0.2 if self.live else seconds
        self.started = self.shown = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, total: int, note: str = "", per_item: int = 1) -> None:
        """Say that `done` of `total` items are done; `per_item` units belong to an item (images to a step)."""
        now = time.monotonic()
        if self.first is None:
            self.first = done - 1  # a resumed training does not start at 0, and its speed is that of now
        if done < total and now - self.shown < self.interval:
            return
        self.shown = now
        rate = (done - self.first) / max(now - self.started, 1e-9)
        left = (total - done) / max(rate, 1e-9)
        line = f"{self.what}: {done}/{total}, {rate * per_item:.0f} {self.unit}/s"
        line += f", {_clock(left)} left" if done < total else f", took {_clock(now - self.started)}"
        line += f", {note}" if note else ""
        if self.live:
            self.stream.write(f"\r\x1b[K{line}" + ("\n" if done >= total else ""))
        else:
            self.stream.write(line + "\n")
        self.stream.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
