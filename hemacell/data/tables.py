"""Tables of images as people have them: the one reader for training and for `predict`.

CSV files in the encodings and with the separators of Excel and Windows, or Parquet; columns by their usual names, case
and signs aside (`Image_Path` is `imagepath`).
"""

from __future__ import annotations

import codecs
import csv
import os
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hemacell.core.errors import UserError, in_one_line
from hemacell.data.class_names import normal_form

TABLES = (".csv", ".tsv", ".parquet")

_FILE_WORDS = ("path", "name", "file", "id")
#: What a column holds -> its usual names, as `normal_form` gives them; of several in a table, the first named here.
COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "image": (
        *("image", "path", "file", "filename", "filepath", "img", "picture", "pathtoimage"),
        *(f"{noun}{word}" for noun in ("image", "img", "images", "picture") for word in _FILE_WORDS),
        *("images", "files", "filenames", "paths"),
    ),
    "label": (
        *("label", "class", "celltype", "labels", "classes", "classname", "classlabel", "labelname", "category"),
        *("cellclass", "celllabel"),
    ),
    "split": ("split", "set", "subset", "partition", "datasplit", "dataset"),
    "group": (
        *("group", "patient", "patientid", "patientname", "subject", "subjectid", "case", "caseid"),
        *("slide", "slideid", "slidename", "smear", "smearid"),
    ),
    "smear": ("smear", "smearid", "smearname", "slide", "slideid", "slidename"),
    "digest": ("sha256", "digest", "hash"),
    "mask": ("mask", "maskpath", "maskfile", "maskfilename", "maskname", "maskimage"),
}

#: The four columns of a box: left, top and the lower right corner, or left, top, width and height.
_CORNERS = (
    *(("xmin", "ymin", "xmax", "ymax"), ("x0", "y0", "x1", "y1"), ("x1", "y1", "x2", "y2")),
    *(("left", "top", "right", "bottom"), ("minx", "miny", "maxx", "maxy")),
)
_SIZES = tuple(
    (*corner, *size)
    for corner in (("x", "y"), ("left", "top"), ("xmin", "ymin"), ("bboxx", "bboxy"), ("boxx", "boxy"))
    for size in (("w", "h"), ("width", "height"), ("bboxw", "bboxh"), ("bboxwidth", "bboxheight"), ("boxw", "boxh"))
)


@dataclass(frozen=True)
class Table:
    """A table that is open: its columns are known, its rows are not read yet."""

    file: Path
    columns: list[str]
    _read: Callable[[list[int]], pd.DataFrame]

    def find(self, what: str) -> list[str]:
        """The columns whose name usually means `what` (a key of `COLUMN_NAMES`), the most usual first."""
        forms = [normal_form(name) for name in self.columns]
        return [self.columns[at] for name in COLUMN_NAMES[what] for at, form in enumerate(forms) if form == name]

    def image_column(self) -> str:
        """The column with the paths. Raises UserError where there is none."""
        if found := self.find("image"):
            return found[0]
        raise UserError(
            f"{self.file}: expected a column image or path with the paths of the images, found {self.shown()}; "
            "rename the column that has them"
        )

    def box_columns(self) -> tuple[list[str], bool]:
        """The four columns of boxes, and whether the last two are the lower right corner; none without boxes."""
        forms = {normal_form(name): name for name in reversed(self.columns)}
        for usual in (*_CORNERS, *_SIZES):
            if all(name in forms for name in usual):
                return [forms[name] for name in usual], usual in _CORNERS
        return [], False

    def shown(self) -> str:
        """The first columns, for messages."""
        return ", ".join(self.columns[:8]) or "no columns"

    def texts(self, names: Sequence[str]) -> list[list[str]]:
        """The columns of these names as texts, '' for what is missing; for the name '' a column of ''.

        Raises:
            UserError: the table has no rows, or cannot be read.
        """
        wanted = sorted({self.columns.index(name) for name in names if name})
        try:
            table = self._read(wanted)
        except (OSError, ValueError) as error:  # pandas' and pyarrow's errors are ValueErrors
            raise _unreadable(self.file, error) from error
        if len(table) == 0:
            raise UserError(f"{self.file}: the table has no rows; add one per image")
        texts = {self.columns[at]: self._as_texts(table.iloc[:, number]) for number, at in enumerate(wanted)}
        return [texts[name] if name else [""] * len(table) for name in names]

    def _as_texts(self, column: pd.Series) -> list[str]:
        if column.map(lambda value: isinstance(value, (bytes, dict, list))).any():
            raise UserError(
                f"{self.file}: expected text in the column {column.name}, found something else; write the files out"
            )
        return ["" if value is None or value != value else str(value).strip() for value in column]


def open_table(file: Path) -> Table:
    """Open a table and read its column names.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error


def place_of(folder: Path, path: str) -> str:
    """The path of a file that a table names, as it is written on this disk.

    A table written on Windows has backslashes, and one from another system composes letters such as `é` otherwise.
    """
    if path.isascii() and "\\" not in path:
        return path
    slashes = path.replace("\\", "/")
    candidates = [path, *(unicodedata.normalize(form, slashes) for form in ("NFC", "NFD"))]
    return next((each for each in candidates if os.path.exists(folder / each)), slashes)


def require_some_file(table: Path, folder: Path, places: Iterable[str]) -> None:
    """Raise UserError where none of the files that a table names is there."""
    named = [place for place in places if place]
    if named and not any("\0" not in place and os.path.lexists(folder / place) for place in named):
        raise UserError(
            f"{table}: expected paths that are absolute or relative to {folder}, but none of the {len(named)} files is "
            f"there, such as {named[0]}; move the table to its images or correct the paths"
        )


def _csv(file: Path) -> Table:
    encoding = _encoding(file)
    with open(file, encoding=encoding, errors="replace", newline="") as stream:
        head = stream.readline()
        says = head.strip().lower().startswith("sep=")  # Excel's way to name the separator
        separator = head.strip()[4:] or "," if says else ""
        head = stream.readline() if says else head
    separator = separator or max(",;\t", key=head.count)  # a comma without any of them
    columns = [name.strip() for name in next(csv.reader([head.rstrip("\r\n")], delimiter=separator), [])]
    while columns and not columns[-1]:  # a separator at the end of every line
        columns.pop()

    def read(wanted: list[int]) -> pd.DataFrame:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # separators at the ends of lines
            return pd.read_csv(
                file,
                sep=separator,
                encoding=encoding,
                encoding_errors="replace",
                dtype=str,
                keep_default_na=False,
                index_col=False,
                usecols=wanted,
                skiprows=1 if says else 0,
            )

    return Table(file, columns, read)


def _encoding(file: Path) -> str:
    """The encoding of a text file: by its mark, else UTF-8 where all of it is, else that of Windows in the West."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open(file, "rb") as stream:
        head = stream.read(4)
        if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        if len(head) == 4 and (head[1] == head[3] == 0 or head[0] == head[2] == 0):
            return "utf-16-le" if head[1] == 0 else "utf-16-be"
        stream.seek(0)
        try:
            while block := stream.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _parquet(file: Path) -> Table:
    import pyarrow.parquet as pq

    columns = pq.read_schema(file).names

    def read(wanted: list[int]) -> pd.DataFrame:
        return pd.read_parquet(file, columns=[columns[at] for at in wanted])

    return Table(file, columns, read)


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = in_one_line(error)[:200]
    return UserError(f"{file}: cannot be read as a {file.suffix.lower()} table ({reason}); save it again")
