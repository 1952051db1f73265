"""Fields -> the white cells in them, as images to be classified: the stage before `classify`. Knows no MLflow.

What was found in a field is kept in the cache, a line for each: a search that was cut short goes on where it was, and
the same fields are not searched again.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from hemacell.core.errors import UserError
from hemacell.core.files import disk_error
from hemacell.core.memory import hand_back
from hemacell.core.provenance import library_versions, sources_digest
from hemacell.data.boxes import Box, split_box, with_box
from hemacell.data.whole_pictures import about_pixels
from hemacell.fields.finder import find_cells, typical_cell_diameter
from hemacell.fields.found_cells import FoundCells, SearchedField
from hemacell.prediction.inputs import CellsInFields, Inputs
from hemacell.prediction.read_ahead import read_ahead, read_image

_FOLDER = "fields"  # of the cache
_RULER = 9  # fields of a smear that its scale is measured in, evenly spread
_FEW = 3  # fields of a smear, below which the scale is that of all such smears together
_AT_ONCE = 2**23  # pixels that are searched at a time: a slide alone, several small fields side by side


@dataclass(frozen=True, eq=False)
class Found:
    """The white cells of some fields."""

    inputs: Inputs
    """their cells, a row each, and a row for each field that cannot be read"""
    cells: FoundCells
    """all that was found"""


def search_fields(
    fields: Inputs, cache: Path, threads: int = 1, progress: Callable[[int, int], None] | None = None
) -> Found:
    """Find the white cells of fields.

    Args:
        fields: K whole fields, their smears named: fields of one smear are of one magnification.
        cache: what is found is kept in a folder of it.
        threads: fields that are searched side by side, where they are small.
        progress: called with (fields done, K).

    Raises:
        UserError: the fields are boxes, none can be read, nothing is found in any, or the cache cannot be written.
    """
    if any(split_box(place)[1] for place in fields.places):
        raise UserError(
            f"{fields.source}: find_cells=true finds the cells itself, and this table has a box for each; leave "
            "find_cells out to classify these, or name the folder of the fields"
        )
    key = f"{fields.digest()} {sources_digest(__name__)} {library_versions()}"
    log = _Log(cache / _FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.jsonl")
    try:
        searched = _search(fields, log, threads, progress)
    except OSError as error:
        raise disk_error(error, f"cannot store the cells of the fields in {log.file}") from error
    hand_back()  # the network needs room
    cells = FoundCells.of([searched[field] for field in range(len(fields))])
    _require_some(fields, cells)
    return Found(_inputs(fields, cells, _known_diameters(fields, log)), cells)


def _search(
    fields: Inputs, log: _Log, threads: int, progress: Callable[[int, int], None] | None
) -> dict[int, SearchedField]:
    """What is found in each field; what is not in the log is searched, and logged where it can be read."""
    known_fields = (field for field in range(len(fields)) if str(field) in log.texts)
    searched = {field: SearchedField.from_json(log.texts[str(field)]) for field in known_fields}
    missing = [field for field in range(len(fields)) if field not in searched]
    for smear, diameter in _diameters(fields, log).items():
        log.add(f"smear {smear}", repr(diameter))
    known = _known_diameters(fields, log)

    def search(field: int) -> str:
        picture = read_image(fields.path(field), fields.bits)
        if isinstance(picture, str):
            return SearchedField([], picture).to_json()
        return SearchedField(find_cells(np.asarray(picture), known.get(fields.smears[field]))).to_json()

    for group in _groups(fields, missing):
        with closing(read_ahead(group, search, len(group), min(threads, len(group)))) as texts:
            for field, text in zip(group, texts, strict=True):
                searched[field] = SearchedField.from_json(text)
                if not searched[field].reason:  # which may be a fault of the disk or the network
                    log.add(str(field), text)
                if progress:
                    progress(len(searched), len(fields))
    return searched


def _known_diameters(fields: Inputs, log: _Log) -> dict[str, float]:
    return {smear: float(text) for smear in set(fields.smears) if (text := log.texts.get(f"smear {smear}"))}


def _diameters(fields: Inputs, log: _Log) -> dict[str, float]:
    """The usual diameter of a cell in each smear that is not known yet, in pixels."""
    of_smear: dict[str, list[int]] = defaultdict(list)
    for field, smear in enumerate(fields.smears):
        of_smear[smear].append(field)
    few = [smear for smear, own in of_smear.items() if len(own) < _FEW]
    together = [[smear] for smear in of_smear if smear not in few]
    found: dict[str, float] = {}
    for smears in [*together, few]:
        unknown = [smear for smear in smears if f"smear {smear}" not in log.texts]
        numbers = sorted(chain.from_iterable(of_smear[smear] for smear in smears))
        if unknown and (diameter := _diameter(fields, numbers)):
            found |= dict.fromkeys(unknown, diameter)
    return found


def _diameter(fields: Inputs, numbers: Sequence[int]) -> float:
    """The median over fields that are evenly spread; 0 where none of these can be read."""
    chosen = [numbers[at] for at in np.unique(np.linspace(0, len(numbers) - 1, _RULER).round().astype(int))]
    pictures = (read_image(fields.path(field), fields.bits) for field in chosen)
    found = [typical_cell_diameter([np.asarray(each)]) for each in pictures if not isinstance(each, str)]
    return float(np.median(found)) if found else 0.0


def _groups(fields: Inputs, numbers: Sequence[int]) -> Iterator[list[int]]:
    """Fields that are held at once: as many as have `_AT_ONCE` pixels together, or one that has more."""
    group: list[int] = []
    pixels = 0
    for number in numbers:
        path = fields.path(number)
        own = about_pixels(path) if path else 0
        if group and pixels + own > _AT_ONCE:
            yield group
            group, pixels = [], 0
        group.append(number)
        pixels += own
    if group:
        yield group


def _require_some(fields: Inputs, cells: FoundCells) -> None:
    unreadable = [number for number, reason in enumerate(cells.reasons) if reason]
    if len(unreadable) == len(fields):
        raise UserError(
            f"{fields.source}: none of the {len(fields)} fields can be read, such as {fields.names[0]}, which "
            f"{cells.reasons[0]}; name a folder of pictures"
        )
    if not cells.is_white_cell.any():
        others = ", ".join(f"{count} {why}" for why, count in cells.counted().items())
        raise UserError(
            f"{fields.source}: no white cell is found in any of the {len(fields) - len(unreadable)} fields"
            f"{f' (found: {others})' if others else ''}; expected pictures of stained smears: look at some, and leave "
            "find_cells out if each shows one cell"
        )


def _inputs(fields: Inputs, cells: FoundCells, diameters: dict[str, float]) -> Inputs:
    """A row for each white cell, field after field from the left, and for each field that cannot be read."""
    white = np.flatnonzero(cells.is_white_cell)
    unread = np.flatnonzero([bool(reason) for reason in cells.reasons])
    # by field, then from the left
    rows = [(int(cells.fields[n]), float(cells.boxes[n, 0]), float(cells.boxes[n, 1]), int(n)) for n in white]
    rows = sorted([*rows, *((int(field), 0.0, 0.0, -1) for field in unread)])
    names, places, smears = [], [], []
    for field, _, _, number in rows:
        names.append(fields.names[field])
        smears.append(fields.smears[field])
        place = fields.places[field]
        places.append(place if number < 0 else with_box(place, _cut(cells, number, diameters.get(smears[-1]))))
    numbers = np.array([number for *_, number in rows], np.int64)
    boxes = np.where((numbers >= 0)[:, None], cells.boxes[numbers], np.nan)
    whys = ["" if number < 0 else cells.why(number) for number in numbers]
    found = CellsInFields(fields, np.array([field for field, *_ in rows], np.int64), numbers, boxes, whys)
    return replace(fields, names=names, places=places, smears=smears, cells=found)


def _cut(cells: FoundCells, number: int, diameter: float | None) -> Box:
    """What is cut out for a cell: of one size in a smear, so that the scale of one cell is that of all."""
    x, y = cells.centers[number]
    x0, y0, x1, y1 = cells.boxes[number]
    side = max(1, round(diameter or max(x1 - x0, y1 - y0)))
    return Box(round(x - side / 2), round(y - side / 2), side, side)


class _Log:
    """Pairs of texts in a file, a line of JSON for each, appended one by one; those of an earlier process are read.

    Attributes:
        file: the log.
        texts: key -> text.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.texts: dict[str, str] = {}
        if file.exists():
            *lines, cut = file.read_text(encoding="utf-8").split("\n")
            self.texts = dict(filter(None, map(_pair, lines)))
            if cut:  # short, by a process that was killed
                self._write("")

    def add(self, key: str, text: str) -> None:
        """Append a line."""
        self._write(json.dumps([key, text]))
        self.texts[key] = text

    def _write(self, line: str) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.file, "a", encoding="utf-8", newline="\n") as stream:
            stream.write(f"{line}\n")


def _pair(line: str) -> tuple[str, str] | None:
    """What a line says; None for one that was cut short."""
    try:
        key, text = json.loads(line)
    except ValueError:
        return None
    return str(key), str(text)
