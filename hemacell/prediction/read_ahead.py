"""Images read ahead by a few threads while the network works, and answered batch by batch: memory stays bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from hemacell.data.images import UnreadableImage, read_rgb, to_square
from hemacell.prediction.table import Answer

READERS = 4  # threads; Pillow decodes without the interpreter's lock, and a disk far away answers several at once
MOST_BYTES = 2**30  # of a file: what a picture of as many pixels as are allowed cannot need

Source = TypeVar("Source")
Result = TypeVar("Result")


class Network(Protocol):
    """What is needed of a classifier: `hemacell.classifiers.model.ClassifierModel`."""

    def predict_pixels(self, pixels: np.ndarray, batch: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities float32 [N, C] and distances float32 [N] of uint8 [N, S, S, 3]."""
        ...


def read_ahead(
    sources: Iterable[Source], read: Callable[[Source], Result], ahead: int, readers: int = READERS
) -> Generator[Result, None, None]:
    """What `map(read, sources)` gives, in that order, read by threads before it is asked for.

    Args:
        sources: taken one by one, only as far as is read ahead.
        read: called in the threads; what it raises is raised here, when it is its turn.
        ahead: results that are held at most.
        readers: threads.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(readers, thread_name_prefix="reader") as pool:
        try:
            for source in sources:
                waiting.append(pool.submit(read, source))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # nobody asks for the rest: an error, an interruption
            for future in waiting:
                future.cancel()


def read_square(path: Path | None, size: int) -> np.ndarray | str:
    """An image file as a classifier takes it, uint8 [size, size, 3], or the reason why it cannot be read."""
    if path is None:
        return "no path is given"
    try:
        # What is there and is no file (a folder, a pipe that nobody fills) is not opened.
        if path.exists():
            if not path.is_file():
                return "is not a file"
            if path.stat().st_size > MOST_BYTES:
                return f"has more than {MOST_BYTES // 2**30} GiB"
        return to_square(read_rgb(path), size)
    except UnreadableImage as error:
        return str(error)
    except (OSError, ValueError) as error:  # a name that no file can have, a folder that may not be entered
        return f"cannot be opened: {getattr(error, 'strerror', None) or error}"


def answer(network: Network, pictures: Sequence[np.ndarray | str]) -> list[Answer | str]:
    """The answer to each picture of one batch; a reason stays what it is."""
    readable = [picture for picture in pictures if not isinstance(picture, str)]
    answers = iter(map(Answer, *network.predict_pixels(np.stack(readable), len(readable))) if readable else ())
    return [picture if isinstance(picture, str) else next(answers) for picture in pictures]
