"""The fields of `predict` with `find_cells`: counts, a table, and copies with boxes drawn, in a folder beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hemacell.core.memory import hand_back
from hemacell.data.boxes import WHOLE_PICTURES, split_box
from hemacell.data.images import UnreadableImage, image_size
from hemacell.fields.reasons import CUT_OFF, DIRT, PLATELET, REASONS, SMUDGE, TOUCHES
from hemacell.jobs.extra_files import ExtraFiles
from hemacell.prediction.output import read_output
from hemacell.prediction.read_ahead import read_image
from hemacell.tracking.runs.tracker import Tracker

if TYPE_CHECKING:
    from hemacell.fields.drawing import DrawnBox
    from hemacell.fields.found_cells import FoundCells
    from hemacell.jobs.predict import PredictJob
    from hemacell.prediction.inputs import Inputs

logger = logging.getLogger(__name__)

FILES = ExtraFiles("fields", ("drawn_fields",), {"fields.sha256": ".fields"}, are_folders=True)
TABLE = "fields.csv"
#: Drawn fields that are stored with the run.
MOST_STORED = 24
_QUALITY = 85  # of JPEG
_NAMES = {TOUCHES: "touching", CUT_OFF: "cut_off", SMUDGE: "smudge", PLATELET: "platelet", DIRT: "stain_dirt"}
# In shorter sides of the picture; cells of PBC and LISC: boxes of 0.42 in the median. In fields the median is 0.38 off.
_LARGE, _MIDDLE = 0.3, 0.15
_LOOKED_AT = 20  # pictures of which this is asked


def log_fields(job: PredictJob, run: Tracker, found: FoundCells) -> None:
    """Log what was found in the fields; write their table and drawn copies beside the output.

    The folder `cells.fields` has `fields.csv`, a row for each field, and at most `drawn_fields` pictures. The table and
    `MOST_STORED` of the pictures are stored with the run.
    """
    from hemacell.core.progress import Progress

    inputs = job.inputs
    assert inputs.cells is not None  # of a job with `find_cells`
    table = field_table(inputs.cells.fields, found)
    run.metrics(_metrics(table))
    for line in notes(table, inputs):
        logger.info(line)
    WHOLE_PICTURES.forget()
    hand_back()
    chosen = _spread(np.flatnonzero(table["why"] == ""), job.settings.drawn_fields)
    names = _file_names([inputs.cells.fields.names[field] for field in chosen])
    progress = Progress("drawing", "fields")
    with FILES.written(job.settings, job.output, run) as (folder,):
        table.to_csv(folder / TABLE, index=False, lineterminator="\n")
        for done, (field, boxes) in enumerate(_boxes(job, found, chosen), start=1):
            _draw(inputs.cells.fields, field, boxes, job.config.classes, folder / names[done - 1])
            progress(done, len(chosen))
    target = next(iter(FILES.files(job.output).values()))
    run.artifact(target / TABLE)
    for name in np.array(names)[_spread(np.arange(len(names)), MOST_STORED)]:
        if (file := target / name).is_file():
            run.artifact(file, f"fields/{name}")


def field_table(fields: Inputs, found: FoundCells) -> pd.DataFrame:
    """A row for each field: `image`, `smear`, `cells`, a column for each reason, and `why` it cannot be read."""
    columns: dict[str, object] = {"image": fields.names, "smear": fields.smears, "cells": found.cells_of_fields()}
    for number, why in enumerate(REASONS, start=1):
        columns[_NAMES[why]] = np.bincount(found.fields[found.kinds == number], minlength=len(fields))
    return pd.DataFrame({**columns, "why": list(found.reasons)})


def notes(table: pd.DataFrame, inputs: Inputs) -> Iterator[str]:
    """What is to be said of fields that were searched, a line each."""
    read = table[table["why"] == ""]
    counted = ", ".join(f"{count} {why}" for why in REASONS if (count := int(table[_NAMES[why]].sum())))
    yield f"found: {table['cells'].sum()} white cells in {len(read)} fields{f' ({counted})' if counted else ''}"
    if len(empty := read.loc[read["cells"] == 0, "image"]):
        shown = ", ".join(empty[:3]) + (", …" if len(empty) > 3 else "")
        yield f"no white cell is found in {len(empty)} of {len(read)} fields, which have no row: {shown}"
    if share := _share_of_picture(inputs):
        yield (
            f"the cells are {share:.0%} as wide as their pictures: where each picture shows one cell, leave "
            "find_cells out"
        )


def _share_of_picture(inputs: Inputs) -> float:
    """Median side of the boxes in sides of their pictures, where these look like pictures of one cell each; else 0.

    Single cells are large in their pictures, as they are in small fields, and lie in the middle.
    """
    if inputs.cells is None:
        return 0.0
    rows = np.flatnonzero(inputs.cells.number >= 0)
    found = []
    for row in rows[_spread(np.arange(len(rows)), _LOOKED_AT)]:
        path = inputs.path(int(row))
        low, high = inputs.cells.boxes[row].reshape(2, 2)
        try:
            size = image_size(Path(split_box(str(path))[0]))
        except UnreadableImage:
            continue
        off = np.hypot(*((low + high) / 2 - np.divide(size, 2)))
        found.append((max(high - low) / min(size), off / min(size)))
    share, off = np.median(found, axis=0) if found else (0.0, 1.0)
    return float(share) if share > _LARGE and off < _MIDDLE else 0.0


def _metrics(table: pd.DataFrame) -> dict[str, float]:
    read = table[table["why"] == ""]
    counts = {f"fields/{name}": float(table[name].sum()) for name in _NAMES.values()}
    return {
        "fields/searched": float(len(read)),
        "fields/unreadable": float(len(table) - len(read)),
        "fields/without_cells": float((read["cells"] == 0).sum()),
        "fields/cells_per_field": float(read["cells"].mean()),
        **counts,
    }


def _boxes(job: PredictJob, found: FoundCells, chosen: Sequence[int]) -> Iterator[tuple[int, list[DrawnBox]]]:
    """The boxes to draw in each chosen field, white cells with their classes."""
    from hemacell.fields.drawing import DrawnBox

    cells = job.inputs.cells
    assert cells is not None
    wanted = set(chosen)
    labels: dict[int, str] = {}
    row = 0
    for table in read_output(job.output):
        for label in table["class"]:
            if cells.field[row] in wanted:
                labels[int(cells.number[row])] = label
            row += 1
    for field in chosen:
        yield (
            field,
            [
                DrawnBox(
                    tuple(found.boxes[number]), labels.get(number, ""), "" if number in labels else found.why(number)
                )
                for number in found.of_field(field)
            ],
        )


def _draw(fields: Inputs, field: int, boxes: Sequence[DrawnBox], classes: Sequence[str], file: Path) -> None:
    from hemacell.fields.drawing import draw_boxes, shrunk

    picture = read_image(fields.path(field), fields.bits)
    if isinstance(picture, str):
        logger.warning(f"{fields.names[field]} {picture}: it is not drawn")
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    picture, scale = shrunk(picture)
    small = [each._replace(box=tuple(scale * np.array(each.box))) for each in boxes]
    draw_boxes(np.asarray(picture), small, classes).save(file, quality=_QUALITY)


def _spread(numbers: np.ndarray, most: int) -> list[int]:
    """At most so many of them, evenly spread."""
    if not len(numbers) or not most:
        return []
    places = np.unique(np.linspace(0, len(numbers) - 1, min(most, len(numbers))).round().astype(int))
    return numbers[places].tolist()


def _file_names(names: Sequence[str]) -> list[str]:
    """Where the copies of fields lie in their folder: as the fields do, each name once."""
    found: dict[str, None] = {}
    for name in names:
        parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..")]
        base = str(PurePosixPath(*parts[:-1], PurePosixPath(parts[-1]).stem))
        free = (f"{base}{f' {number}' if number else ''}.jpg" for number in range(len(names)))
        found[next(each for each in free if each not in found)] = None
    return list(found)
