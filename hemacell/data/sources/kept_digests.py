"""Digests of what is in a large file, kept in the cache: PatchCamelyon would else be read whole at every start."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from hemacell.core.cache import cache_dir
from hemacell.core.files import atomic_write, disk_error

_SIZE = hashlib.sha256().digest_size


def kept_digests(file: Path, part: str, count: int, compute: Callable[[], Iterable[str]]) -> list[str]:
    """The digests of `count` things in a file, computed once for a path, a size and a time of change.

    They lie in `digests` of the cache folder as 32 bytes each, and after them the sha256 of them and of what they
    belong to. What is damaged, or belongs to something else, is computed again.

    Args:
        file: the file in which the things are.
        part: what they are, where a file has several kinds, such as `train`.
        count: how many.
        compute: gives the sha256 of each, in hex and in order.

    Raises:
        UserError: the cache cannot be written.
        OSError: there is no such file.
    """
    key = _key(file, part, count)
    kept = cache_dir() / "digests" / key.hex()[:40]
    if (known := _read(kept, key, count)) is not None:
        return known
    digests = list(compute())
    if _key(file, part, count) == key:  # not written to meanwhile
        _write(kept, key, digests)
    return digests


def _key(file: Path, part: str, count: int) -> bytes:
    known = file.stat()
    text = "\n".join([str(file.absolute()), part, *map(str, (count, known.st_size, known.st_mtime_ns))])
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()


def _read(kept: Path, key: bytes, count: int) -> list[str] | None:
    try:
        stored = kept.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise disk_error(error, f"cannot read {kept}") from error
    content, seal = stored[:-_SIZE], stored[-_SIZE:]
    if len(content) != count * _SIZE or hashlib.sha256(key + content).digest() != seal:
        return None
    return [content[start : start + _SIZE].hex() for start in range(0, len(content), _SIZE)]


def _write(kept: Path, key: bytes, digests: list[str]) -> None:
    content = b"".join(map(bytes.fromhex, digests))
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as temporary:
            temporary.write_bytes(content + hashlib.sha256(key + content).digest())
    except OSError as error:
        raise disk_error(error, f"cannot keep digests in {kept.parent}") from error
