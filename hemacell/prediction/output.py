"""Results that are written part by part next to their file, so that interrupted work continues where it stopped.

    cells.csv.partial/job.json             what the parts belong to
    cells.csv.partial/part-000007.parquet  rows 7 n to 8 n - 1

Each part is written whole or not at all, and so is the file that is made of them in the end.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from hemacell.core.errors import UserError
from hemacell.core.files import TEMPORARY, atomic_write, sha256_of

SUFFIXES = (".csv", ".parquet")
_MARKER, _LOCK, _PARTS = "job.json", "lock", "part-*.parquet"
_READ_BACK = ["image", "class", "probability", "needs_review", "why", "none_of_these"]
_ROWS_AT_ONCE = 65_536  # of a finished file: bounds the memory, and makes a Parquet file's row groups worth reading


class Parts:
    """The parts of one output; made by `open_parts`.

    Attributes:
        output: the file that they become.
        rows: in all.
        per_part: rows per part; the last one may have fewer.
        note: what the last process that worked on them left, such as the id of its run; '' at first.
    """

    def __init__(self, output: Path, key: str, facts: Mapping[str, str], rows: int, per_part: int) -> None:
        self.output, self.rows, self.per_part = output, rows, per_part
        self.folder = folder_of(output)
        self.note = ""
        self._key, self._facts = key, dict(facts)

    def __len__(self) -> int:
        return -(-self.rows // self.per_part)

    def span(self, number: int) -> range:
        """The rows of a part."""
        return range(number * self.per_part, min((number + 1) * self.per_part, self.rows))

    def missing(self) -> list[int]:
        """The parts that do not exist, or are incomplete, as after a power cut."""
        return [number for number in range(len(self)) if not self._whole(number)]

    def any(self) -> bool:
        """Whether a part exists."""
        return next(self.folder.glob(_PARTS), None) is not None

    def write(self, number: int, table: pd.DataFrame) -> None:
        """Keep the rows of a part."""
        with atomic_write(self._file(number)) as file:
            pq.write_table(pa.Table.from_pandas(table, preserve_index=False), file)

    def keep(self, note: str = "") -> None:
        """Note what the parts belong to, and who works on them."""
        self.note = note
        text = json.dumps({"key": self._key, "facts": self._facts, "note": note}, indent=1)
        with atomic_write(self.folder / _MARKER) as file:
            file.write_text(text, encoding="utf-8")

    def publish(self, announce: Callable[[str], None]) -> None:
        """Make the output of the parts, in order; it appears whole, or not at all. The parts stay.

        Args:
            announce: called with the file's sha256 before the file exists, so that its owner is known from the start.
        """
        with atomic_write(self.output, self.folder) as file:
            if self.output.suffix.lower() == ".csv":
                self._write_csv(file)
            else:
                self._write_parquet(file)
            announce(sha256_of(file))

    def remove(self) -> None:
        """Remove the parts, when all work is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_csv(self, file: Path) -> None:
        with open(file, "w", encoding="utf-8", newline="") as stream:
            for number, table in enumerate(self._tables()):
                table.to_csv(stream, index=False, header=number == 0, lineterminator="\n")

    def _write_parquet(self, file: Path) -> None:
        writer = None
        for table in self._tables():
            arrow = pa.Table.from_pandas(table, preserve_index=False)
            writer = writer or pq.ParquetWriter(file, arrow.schema)
            writer.write_table(arrow)
        if writer:
            writer.close()

    def _tables(self) -> Iterator[pd.DataFrame]:
        step = max(1, _ROWS_AT_ONCE // self.per_part)
        for start in range(0, len(self), step):
            numbers = range(start, min(start + step, len(self)))
            yield pd.concat([pd.read_parquet(self._file(number)) for number in numbers], ignore_index=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"part-{number:06}.parquet"

    def _whole(self, number: int) -> bool:
        try:
            return pq.read_metadata(self._file(number)).num_rows == len(self.span(number))
        except (OSError, ValueError):
            return False


def folder_of(output: Path) -> Path:
    """Where the parts of an output lie until it is whole."""
    return output.with_name(f"{output.name}.partial")


def check_output(output: str, suffixes: Sequence[str] = SUFFIXES) -> Path:
    """The file that `output` names, absolute.

    Raises:
        UserError: it does not end in one of `suffixes`, is a folder, or its folder does not exist or is read-only.
    """
    file = Path(output).expanduser().absolute()
    if file.is_dir():
        raise UserError(
            f"output={output} is a folder: name a file in it, such as output={file / f'cells{suffixes[0]}'}"
        )
    if file.suffix.lower() not in suffixes:
        raise UserError(
            f"output={output}: expected a file that ends in {' or '.join(suffixes)}, found "
            f"{file.suffix or 'no ending'}; type for example output={file.with_suffix(suffixes[0]).name}"
        )
    if not file.parent.is_dir():
        raise UserError(f"output={output}: there is no folder {file.parent}; make it (mkdir -p {file.parent})")
    if not os.access(file.parent, os.W_OK):
        raise UserError(f"output={output}: {file.parent} cannot be written; name a file in another folder")
    return file


@contextmanager
def open_parts(
    output: Path, key: str, facts: Mapping[str, str], rows: int, per_part: int, force: bool = False
) -> Iterator[Parts]:
    """The parts of an output, those of an earlier process with the same key included.

    Args:
        output: from `check_output`.
        key: digest of all that decides the rows.
        facts: the same in words, to say what differs.
        rows: in all.
        per_part: rows per part, at least 1.
        force: drop parts with another key.

    Raises:
        UserError: another process works on them, they have another key, or their folder holds something else.
    """
    parts = Parts(output, key, facts, rows, per_part)
    parts.folder.mkdir(exist_ok=True)
    with _locked(parts.folder / _LOCK, output):
        before = _marker(parts.folder)
        others = [path.name for path in parts.folder.iterdir() if path.name != _LOCK]
        if before is None and not all(name.startswith(TEMPORARY) for name in others):
            raise UserError(
                f"{parts.folder} is in the way: expected the parts of an unfinished {output.name}, found something "
                "else; move it, or name another output"
            )
        if before is not None and before["key"] != key:
            if parts.any() and not force:
                raise UserError(
                    f"{parts.folder} has the parts of an unfinished {output.name} with "
                    f"{in_words(before['facts'], facts)}: type that again to finish it, force=true to drop it, or name "
                    "another output"
                )
            for path in parts.folder.glob(_PARTS):
                path.unlink()
            before = None
        parts.keep(before["note"] if before else "")
        try:
            yield parts
        finally:
            if not parts.any():  # so that nothing is in the way of other settings
                parts.remove()


def in_words(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differed: `crop=1.0 (now 0.55)`; images and program are only named."""
    changed = [name for name in now if before.get(name, "") != now[name]]
    digests = {"images": "other or changed images", "sources": "another version of this program"}
    return (
        ", ".join(digests.get(name) or f"{name}={before.get(name, '')} (now {now[name]})" for name in changed)
        or "other settings"
    )


def read_output(output: Path) -> Iterator[pd.DataFrame]:
    """`image`, `class`, `probability`, `needs_review`, `why` and `none_of_these` of a finished output, in parts.

    A part has some ten thousand rows.

    An empty text is '', not NaN.
    """
    if output.suffix.lower() == ".csv":
        yield from pd.read_csv(
            output,
            usecols=_READ_BACK,
            chunksize=_ROWS_AT_ONCE,
            dtype=dict.fromkeys(("image", "class", "why"), "str"),
            keep_default_na=False,
            na_values={"probability": [""], "none_of_these": [""]},
        )
    else:
        with pq.ParquetFile(output) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=_READ_BACK):
                yield batch.to_pandas()


def _marker(folder: Path) -> dict | None:
    try:
        found = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        return found if {"key", "facts", "note"} <= set(found) else None
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def _locked(lock: Path, output: Path) -> Iterator[None]:
    """Hold a lock, which the system releases when this process ends in any way."""
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"another process is writing {output}: wait for it, or name another output") from error
