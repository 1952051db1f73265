"""Files that `predict` writes besides its output: known again by their digests, which its run notes in tags."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hemacell.config.jobs import PredictSettings
from hemacell.core.files import atomic_write, sha256_of
from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExtraFiles:
    """One or more files that are made of a finished output."""

    name: str
    settings: tuple[str, ...]
    """that decide what they show"""
    endings: Mapping[str, str]
    """tag with the sha256 of a file -> what its name adds to the output's"""

    def files(self, output: Path) -> dict[str, Path]:
        """Tag -> the file that belongs to an output."""
        return {tag: output.with_name(f"{output.stem}{ending}") for tag, ending in self.endings.items()}

    def are_there(self, asked: PredictSettings, output: Path, tags: Mapping[str, str]) -> bool:
        """Whether the run with these tags has made what is asked for, and the files are still there."""
        return self._asked(asked).items() <= tags.items() and all(
            file.is_file() and tags.get(tag) == sha256_of(file) for tag, file in self.files(output).items()
        )

    @contextmanager
    def written(self, asked: PredictSettings, output: Path, run: Tracker) -> Iterator[list[Path]]:
        """Gives temporary files to write; they then take their places, and are stored with the run."""
        files = self.files(output)
        with ExitStack() as stack:
            made = [stack.enter_context(atomic_write(file)) for file in files.values()]
            yield made
            # on the run before the files appear, so that it is known which run they belong to
            run.tags({**self._asked(asked), **dict(zip(files, map(sha256_of, made), strict=True))})
        for file in files.values():
            run.artifact(file)
            logger.info(f"predict: {file}")

    def _asked(self, asked: PredictSettings) -> dict[str, str]:
        return {f"{self.name}.settings": " ".join(f"{name}={getattr(asked, name)}" for name in self.settings)}
