"""Progress of long work on the screen, by tqdm: one line, rewritten on a terminal, a line now and then in a log."""

import sys
from typing import TextIO

from tqdm import tqdm

_open: set[tqdm] = set()
_FORMAT = "{desc}: {n_fmt}/{total_fmt}, {rate_fmt}, {elapsed} gone, {remaining} left{postfix}"


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
        self.bar: tqdm | None = None

    def __call__(self, done: int, total: int, note: str = "", per_item: int = 1) -> None:
        """Show that `done` of `total` items are done; `per_item` units belong to an item (images to a step).

        Called again with the same `done`, it updates the time only.
        """
        if self.bar is None:
            self.bar = tqdm(
                total=total * per_item,
                # a resumed training does not start at 0, and its speed is that of this process
                initial=max(0, done - 1) * per_item,
                desc=self.what,
                unit=f" {self.unit}",
                mininterval=self.interval,
                maxinterval=self.interval,
                bar_format=_FORMAT,
                file=self.stream if self.live else _Lines(self.stream),
                smoothing=0.1,
            )
            _open.add(self.bar)
        if note:
            self.bar.set_postfix_str(note, refresh=False)
        if done * per_item > self.bar.n:
            self.bar.update(done * per_item - self.bar.n)
        else:  # nothing new but the time
            now = self.bar.start_t + self.bar.format_dict["elapsed"]
            if now - self.bar.last_print_t >= self.interval:
                self.bar.refresh()
                self.bar.last_print_t = now
        if done >= total:
            self.bar.close()
            _open.discard(self.bar)


def end_lines() -> None:
    """End the lines of work that was cut short, so that the next message begins on a line of its own."""
    while _open:
        _open.pop().close()


class _Lines:
    """A stream for tqdm that ends each state of the line with a line break instead of going back to its start."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line and "?" not in line:  # tqdm's first line, which knows neither speed nor time left
            self.stream.write(line + "\n")

    def flush(self) -> None:
        self.stream.flush()
