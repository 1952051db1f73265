"""Files that appear whole or not at all, their digests, and the error line for a full disk.

Imports neither numpy nor torch.
"""

import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hemacell.core.errors import UserError, in_one_line, no_text
from hemacell.core.threads import map_in_threads

TEMPORARY = ".tmp-"
"""What the name of every unfinished file and folder begins with."""
_STALE_SECONDS = 24 * 3600
_BLOCK = 1 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_write(target: Path, folder: Path | None = None) -> Iterator[Path]:
    """A temporary file to write, which becomes `target` once its content is on the disk.

    Where the body raises, the temporary file is removed and `target` stays as it was. The temporary name ends like
    `target`, for libraries that choose the format by the ending.

    Args:
        target: the file; replaced where it exists.
        folder: where the temporary file lies, on the same disk; the folder of `target` by default.

    Raises:
        OSError: the disk is full or cannot be written (see `disk_error`).

    Example:
        >>> import tempfile
        >>> note = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_write(note) as file:
        ...     _ = file.write_text("whole")
        >>> note.read_text()
        'whole'
    """
    temporary = (folder or target.parent) / f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{target.name}"
    try:
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(target: Path, is_whole: Callable[[Path], bool] = Path.is_dir) -> Iterator[Path]:
    """A temporary folder to fill, which becomes `target` in one step; several processes may do so at once.

    The first process wins; what a later one has made is removed. Parents are made, and temporary folders next to
    `target` that killed processes left more than a day ago are removed.

    Args:
        target: the folder.
        is_whole: whether an existing folder is complete and kept; a damaged one is replaced.

    Raises:
        OSError: the disk is full or cannot be written (see `disk_error`).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target.parent)
    temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{target.name}"
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not is_whole(target):
                shutil.rmtree(target, ignore_errors=True)
                temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_stale(parent: Path) -> None:
    for left in parent.glob(f"{TEMPORARY}*"):
        try:
            old = time.time() - left.stat().st_mtime > _STALE_SECONDS
        except FileNotFoundError:  # its owner has just finished
            continue
        if old and left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


def sha256_of(file: Path | str) -> str:
    """sha256 of a file, in hex. Raises OSError where it cannot be read."""
    digest = hashlib.sha256()
    with open(file, "rb", buffering=0) as stream:  # `hashlib.file_digest` takes twice as long for a small file
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digests_of_files(files: Iterable[Path | str]) -> list[str]:
    """sha256 of each file, in hex, read by a few threads; of a file that cannot be read, that of its name.

    So one broken link among thousands of files is dealt with where the images are decoded, as any bad image.

    Raises:
        UserError: a name is not valid UTF-8.
    """
    files = list(files)
    if shown := next(filter(None, (no_text(str(file)) for file in files)), ""):
        raise UserError(f"{shown}: expected a file name in UTF-8, found other bytes; rename the file")
    return list(map_in_threads(_sha256_or_of_name, files))


def _sha256_or_of_name(file: Path | str) -> str:
    try:
        return sha256_of(file)
    except OSError:
        return hashlib.sha256(f"unreadable {os.path.basename(file)}".encode()).hexdigest()


def is_disk_full(error: BaseException) -> bool:
    """Whether an error (of the system or of SQLite) means that the disk or the quota is full."""
    return (isinstance(error, OSError) and error.errno in _DISK_FULL) or "disk is full" in str(error)


def disk_error(error: Exception, task: str, remedy: str = "set HEMACELL_CACHE to another folder") -> UserError:
    """The one line for something that could not be written.

    Args:
        error: what was raised.
        task: what could not be done, such as `cannot store decoded images in DIR`.
        remedy: what to do, other than freeing space.
    """
    reason = getattr(error, "strerror", None) or in_one_line(error)
    if is_disk_full(error):
        detail = f" ({reason})" if "needed" in reason else ""
        return UserError(f"the disk is full{detail}: {task}; free some space, or {remedy}")
    return UserError(f"{task}: {reason}; make it writable, or {remedy}")


def require_space(folder: Path, size: int) -> None:
    """Raise OSError (disk full) at once where a folder's disk has less than `size` bytes left."""
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, f"{size / 2**20:.0f} MiB are needed")
