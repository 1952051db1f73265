"""Whole pictures that several boxes are cut from: each is read once, and few are held."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from threading import Lock

from hemacell.data.images import Picture, UnreadableImage, image_size, read_picture

MOST, MOST_PIXELS = 8, 2**26
"""Pictures that are held, and their pixels together (192 MiB); the last one is held whatever its size."""
LARGE = 2**23
"""Pixels of a picture from which on one is read at a time: a reader needs several copies for a moment."""

_Key = tuple[str, int | None]


class WholePictures:
    """Reads pictures and holds the last ones. Threads that ask for the same one wait for one reader."""

    def __init__(self, most: int = MOST, most_pixels: int = MOST_PIXELS) -> None:
        self._most, self._most_pixels = most, most_pixels
        self._held: OrderedDict[_Key, Future[Picture]] = OrderedDict()
        self._lock, self._large = Lock(), Lock()

    def read(self, file: str, bits: int | None) -> Picture:
        """A picture; arguments and errors as for `images.read_picture`."""
        key = file, bits
        with self._lock:
            mine = key not in self._held
            picture = self._held.setdefault(key, Future())
            self._held.move_to_end(key)
        if mine:
            self._fill(key, picture)
        return picture.result()

    def forget(self) -> None:
        """Let go of all pictures that are held."""
        with self._lock:
            for key in [key for key, each in self._held.items() if each.done()]:
                del self._held[key]

    def _fill(self, key: _Key, picture: Future[Picture]) -> None:
        file, bits = Path(key[0]), key[1]
        try:
            with self._large if about_pixels(file) > LARGE else nullcontext():
                picture.set_result(read_picture(file, bits=bits))
        except BaseException as error:
            with self._lock:
                del self._held[key]
            picture.set_exception(error)
        else:
            self._let_go()

    def _let_go(self) -> None:
        """Drop the pictures that were asked for longest ago; those that are being read stay."""
        with self._lock:
            sizes = {key: _pixels(each.result()) for key, each in self._held.items() if each.done()}
            for key in list(sizes)[:-1]:
                if len(sizes) <= self._most and sum(sizes.values()) <= self._most_pixels:
                    break
                del self._held[key], sizes[key]


def about_pixels(file: Path) -> int:
    """The pixels of a picture, by its header, or by the size of a file with an unknown header; 0 without one."""
    try:
        width, height = image_size(file)
    except UnreadableImage:
        return file.stat().st_size // 3 if file.is_file() else 0
    except (OSError, ValueError):  # a name that no file can have; its reader says so
        return 0
    return width * height


def _pixels(picture: Picture) -> int:
    return picture.image.width * picture.image.height
