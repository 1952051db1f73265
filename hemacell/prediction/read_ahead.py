"""Images read ahead by a few threads while the network works; memory stays bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL.Image import Image

from hemacell.data.boxes import read_path, split_box
from hemacell.data.images import UnreadableImage, to_square

READERS = 4  # threads; Pillow decodes without the interpreter's lock, and a network drive serves several at once
MOST_BYTES = 2**30  # of a file: more than an image of the largest allowed size can have

Source = TypeVar("Source")
Result = TypeVar("Result")


def read_ahead(
    sources: Iterable[Source],
    read: Callable[[Source], Result],
    ahead: int,
    readers: int = READERS,
    prepare: Callable[[], object] | None = None,
) -> Generator[Result, None, None]:
    """What `map(read, sources)` gives, in that order, read by threads in advance.

    Args:
        sources: taken one by one, only as far as is read ahead.
        read: called in the threads; what it raises is raised here, in its turn.
        ahead: results that are held at most.
        readers: threads.
        prepare: called once in each thread before it reads.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(readers, "reader", prepare) as pool:
        try:
            for source in sources:
                waiting.append(pool.submit(read, source))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the rest is not wanted: an error, an interruption
            for future in waiting:
                future.cancel()


def read_image(path: Path | None, bits: int | None = None, note: Callable[[str], object] | None = None) -> Image | str:
    """An image file, or a box in one (see `boxes`), as an RGB image; or the reason why it cannot be read.

    `note` is called with what is to be said of one that can (see `Picture`).
    """
    if path is None:
        return "no path is given"
    file = Path(split_box(str(path))[0])
    try:
        # Anything but a file is not opened, such as a folder, or a pipe, which would block.
        if file.exists():
            if not file.is_file():
                return "is not a file"
            if file.stat().st_size > MOST_BYTES:
                return f"has more than {MOST_BYTES // 2**30} GiB"
        picture = read_path(str(path), bits)
    except UnreadableImage as error:
        return str(error)
    except (OSError, ValueError) as error:  # an impossible name, a folder without permission
        return f"cannot be opened: {getattr(error, 'strerror', None) or error}"
    if note and picture.note:
        note(picture.note)
    return picture.image


def read_square(path: Path | None, size: int, bits: int | None = None) -> np.ndarray | str:
    """The central square of an image file, or of a box in one, as uint8 [size, size, 3]; or why it cannot be read."""
    image = read_image(path, bits)
    return image if isinstance(image, str) else to_square(image, size)
