"""Files and folders that `predict` writes besides its output: known again by the digests in the tags of its run."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hemacell.config.jobs import PredictSettings
from hemacell.core.files import atomic_folder, atomic_write, sha256_of
from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)


def digest_of(path: Path) -> str:
    """sha256 in hex of a file, or of the names and contents of all files of a folder."""
    if not path.is_dir():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


@dataclass(frozen=True)
class ExtraFiles:
    """One or more files, or folders, that are made of a finished output."""

    name: str
    settings: tuple[str, ...]
    """that decide what they show"""
    endings: Mapping[str, str]
    """tag with the digest of a file or folder -> what its name adds to the output's"""
    are_folders: bool = False

    def files(self, output: Path) -> dict[str, Path]:
        """Tag -> the file that belongs to an output."""
        return {tag: output.with_name(f"{output.stem}{ending}") for tag, ending in self.endings.items()}

    def is_one(self, file: Path) -> bool:
        """Whether there is something of the right kind of that name."""
        return file.is_dir() if self.are_folders else file.is_file()

    def are_there(self, asked: PredictSettings, output: Path, tags: Mapping[str, str]) -> bool:
        """Whether the run with these tags has made what is asked for, and the files are still there."""
        return self._asked(asked).items() <= tags.items() and all(
            self.is_one(file) and tags.get(tag) == digest_of(file) for tag, file in self.files(output).items()
        )

    @contextmanager
    def written(self, asked: PredictSettings, output: Path, run: Tracker) -> Iterator[list[Path]]:
        """Gives temporary files to write, or folders to fill, which then take their places.

        Files are stored with the run; a folder may be large: what of it is stored is the caller's matter.
        """
        files = self.files(output)
        with ExitStack() as stack:
            made = [stack.enter_context(self._temporary(file)) for file in files.values()]
            yield made
            # on the run before the files appear, so that it is known which run they belong to
            run.tags({**self._asked(asked), **dict(zip(files, map(digest_of, made), strict=True))})
        for file in files.values():
            if not self.are_folders:
                run.artifact(file)
            logger.info(f"predict: {file}")

    def _temporary(self, file: Path) -> AbstractContextManager[Path]:
        return atomic_folder(file, is_whole=lambda folder: False) if self.are_folders else atomic_write(file)

    def _asked(self, asked: PredictSettings) -> dict[str, str]:
        return {f"{self.name}.settings": " ".join(f"{name}={getattr(asked, name)}" for name in self.settings)}
