"""Archives: a `.zip` is unpacked once into the cache, and what it holds is then any other source.

An archive may come from anywhere, so all names and sizes are checked before anything is written.
"""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from hemacell.core.cache import cache_dir
from hemacell.core.errors import UserError, in_one_line
from hemacell.core.files import atomic_folder, disk_error, require_space, sha256_of
from hemacell.data.sources.kept_digests import kept_digests
from hemacell.data.walk import SYSTEM_FOLDERS

ARCHIVE = ".zip"
MOST_BYTES = 256 * 2**30
"""Of all files of an archive together, unpacked."""
MOST_RATIO = 100
"""How many times larger than the archive its files may be; pictures hardly shrink, a bomb does a thousandfold."""
_SMALL = 64 * 2**20  # unpacked size up to which the ratio does not matter
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
# What `zipfile` raises for damaged and encrypted content, and (NotImplementedError) for unknown compression.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def is_archive(path: Path) -> bool:
    """Whether a path names an archive that `unpacked` reads."""
    return path.suffix.lower() == ARCHIVE and path.is_file()


def opened(root: Path) -> Path:
    """The folder of an archive's content; any other file or folder as it is."""
    return unpacked(root) if is_archive(root) else root


def unpacked(archive: Path) -> Path:
    """The folder with the content of an archive, in the cache; where that is a single folder, this folder.

    Raises:
        UserError: damaged, encrypted, an archive in it, names that lead elsewhere, too large, or the disk is full.
    """
    try:
        known = archive.stat()
        digest = kept_digests(archive, "archive", 1, lambda: [sha256_of(archive)])[0]
        folder = cache_dir() / "unpacked" / digest[:40]
        if not folder.is_dir():
            with zipfile.ZipFile(archive) as content, atomic_folder(folder) as temporary:
                files = _checked(archive, content, known.st_size)
                require_space(temporary, sum(info.file_size for info in files.values()))
                for path, info in files.items():  # below its own name, as sources show the name of their folder
                    _write(content, info, temporary / archive.stem / path)
        return _single_folder(next(folder.iterdir()))
    except OSError as error:
        raise disk_error(error, f"cannot unpack {archive} into {cache_dir()}") from error
    except _DAMAGED as error:
        raise UserError(f"{archive}: cannot be unpacked ({in_one_line(error)}); download or make it again") from error


def _checked(archive: Path, content: zipfile.ZipFile, size: int) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Path below the folder -> entry, of all files."""
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in content.infolist():
        name = info.filename.replace("\\", "/")  # as some programs on Windows write it
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or ":" in name.split("/")[0] or "\0" in name:
            raise UserError(f"{archive}: holds {name!r}, which would be written elsewhere; it is not unpacked")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UserError(f"{archive}: holds the link {name!r}; zip the files themselves")
        if name.endswith("/"):
            continue
        if info.flag_bits & 1:
            raise UserError(f"{archive}: is encrypted ({name!r}); unpack it and name the folder")
        if path.suffix.lower() in _ARCHIVES and path.parts[0].lower() not in SYSTEM_FOLDERS:
            raise UserError(f"{archive}: holds another archive, {name!r}; unpack both and name the folder")
        if path in files:
            raise UserError(f"{archive}: holds {name!r} twice; unpack it and name the folder")
        files[path] = info
    total = sum(info.file_size for info in files.values())
    if total > MOST_BYTES or (total > _SMALL and total > MOST_RATIO * size):
        raise UserError(
            f"{archive}: {size} bytes would become {total}, more than is expected of images ({MOST_RATIO} times "
            f"as many and {MOST_BYTES >> 30} GiB at most); if you trust it, unpack it and name the folder"
        )
    if not files:
        raise UserError(f"{archive}: holds no files")
    return files


def _write(content: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with content.open(info) as source, open(target, "xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)  # no more than the stated size, and its checksum is compared


def _single_folder(folder: Path) -> Path:
    """The folder itself, or the one folder that is all it holds."""
    inside = [
        entry for entry in os.scandir(folder) if entry.name[0] != "." and entry.name.lower() not in SYSTEM_FOLDERS
    ]
    return Path(inside[0].path) if len(inside) == 1 and inside[0].is_dir() else folder
