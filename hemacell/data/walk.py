"""The one way to find image files in a folder: at any depth, by content, with links followed and the rest counted.

Training, `evaluate`, `predict` and `audit` all read folders through here, so that all of them see the same images.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.core.text import did_you_mean
from hemacell.core.threads import map_in_threads
from hemacell.data.manifest import Skipped

#: What operating systems, network drives and archives leave in folders. Compared in lower case.
SYSTEM_FOLDERS = frozenset(
    ("@eadir", "$recycle.bin", "lost+found", "__macosx", "system volume information", "#recycle", "#snapshot")
)
SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"))

#: Endings of image files. A damaged file with one of them counts as an image that cannot be read.
IMAGE_ENDINGS = frozenset(
    (
        *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"),
        *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"),
    )
)

HEAD_BYTES = 32
"""How much of a file tells its kind, and of a PNG its depth."""
MOST_FOLDERS = 50_000
"""Folders directly in what `data` names: far more than any set has classes, patients or slides."""
_NO_IMAGE = "no image: "
_STRONG = ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "JPEG2000")  # kinds whose first bytes are hardly met by chance
_MAX_DEPTH = 64  # folders in folders; a laboratory has five


@dataclass
class Found:
    """The image files of a folder and what else lies in it."""

    root: Path
    images: list[str]
    """Paths relative to `root`, with `/`, sorted by their parts."""
    skipped: list[Skipped] = field(default_factory=list)

    def other_files(self) -> str:
        """What lies there besides images, in a few words, such as `2 .pdf, 1 hidden`."""
        reasons = Counter(skipped.reason.removeprefix(_NO_IMAGE) for skipped in self.skipped)
        return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(4)) or "no files"


def walk(root: Path) -> Found:
    """Look at every file below a folder.

    Links to files and folders are followed; a folder that was seen already (a loop of links) is passed over. Hidden
    names, what systems leave in folders, and files that are no images are passed over, with the reason. A file with an
    image's ending that is damaged or empty counts as an image, so that `max_bad` decides about it later.

    Raises:
        UserError: there is no such folder, or it cannot be read.
    """
    found = Found(existing_folder(root), [])
    files = sorted(_files(root, found), key=lambda path: path.split("/"))
    for path, reason in zip(files, map_in_threads(partial(_no_image, root), files), strict=True):
        if reason:
            found.skipped.append(Skipped(path, reason))
        else:
            found.images.append(path)
    return found


def existing_folder(folder: Path) -> Path:
    """The folder itself, or a UserError that names the nearest existing one."""
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{folder} is a file: expected a folder with images")
    above = folder.parent
    if not above.is_dir():
        raise UserError(f"no such folder: {folder}; {above} does not exist either")
    near = [path.name for path in above.iterdir() if path.is_dir()]
    raise UserError(f"no such folder: {folder}{did_you_mean(folder.name, near)}")


def require_few_folders(root: Path) -> None:
    """Raise UserError where a folder holds more than `MOST_FOLDERS` folders; looks no further and into none of them.

    Every source looks at what a folder holds, which would take minutes here.
    """
    try:
        with os.scandir(root) as entries:
            beyond = next(islice((entry for entry in entries if entry.is_dir()), MOST_FOLDERS, None), None)
    except OSError as error:
        raise UserError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error
    if beyond is not None:
        raise UserError(
            f"{root}: holds more than {MOST_FOLDERS} folders; expected one for each class, patient or slide: name the "
            "folder with the images"
        )


def is_image_file(path: Path) -> bool:
    """Whether one file is an image by its first bytes, or should be one by its ending."""
    return not _no_image(path.parent, path.name)


def image_kind(head: bytes) -> str:
    """The kind of an image file by its first bytes, such as 'PNG'; '' for other files."""
    if head[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[:2] == b"BM":
        return "BMP"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if head[:12] == b"\0\0\0\x0cjP  \r\n\x87\n" or head[:4] == b"\xff\x4f\xff\x51":
        return "JPEG2000"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    return ""


def _files(root: Path, found: Found) -> Iterator[str]:
    """Relative paths of all files, without those of systems and hidden ones, which are noted in `found`."""
    seen: set[tuple[int, int]] = set()
    folders: list[tuple[str, int]] = [("", 0)]
    while folders:
        folder, depth = folders.pop()
        try:
            stat = os.stat(root / folder)
            entries = (
                [] if (stat.st_dev, stat.st_ino) in seen or depth > _MAX_DEPTH else list(os.scandir(root / folder))
            )
        except OSError as error:
            if not folder:
                raise UserError(f"{root}: cannot be read ({error.strerror}); check its permissions") from error
            found.skipped.append(Skipped(folder, f"folder cannot be read: {error.strerror}"))
            continue
        if (stat.st_dev, stat.st_ino) in seen or depth > _MAX_DEPTH:
            found.skipped.append(Skipped(folder, "folder was read already under another name (link)"))
            continue
        seen.add((stat.st_dev, stat.st_ino))
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            is_folder = entry.is_dir()
            lower = entry.name.lower()
            if is_folder and lower in SYSTEM_FOLDERS:
                found.skipped.append(Skipped(path, "folder of the operating system or of an archive"))
            elif not is_folder and lower in SYSTEM_FILES:
                found.skipped.append(Skipped(path, "file of the operating system"))
            elif entry.name.startswith("."):
                found.skipped.append(Skipped(path, "hidden"))
            elif not is_folder and not entry.is_file() and not entry.is_symlink():
                found.skipped.append(Skipped(path, "pipe, socket or device"))  # to open it might block
            elif is_folder:
                folders.append((path, depth + 1))
            else:
                yield path


def _no_image(root: Path, path: str) -> str:
    """Why a file is no image; '' for one."""
    ending = os.path.splitext(path)[1].lower()
    if ending in IMAGE_ENDINGS:
        return ""
    try:
        with open(root / path, "rb") as file:
            kind = image_kind(file.read(HEAD_BYTES))
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    if kind in _STRONG or (kind and not ending):
        return ""
    return f"{_NO_IMAGE}{ending or 'without ending'}"
