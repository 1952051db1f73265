"""Differential counts for people: a table (.csv), and a page (.html) to read and print that needs no other file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hemacell.prediction.differential.identifiability import doubts, notes
from hemacell.prediction.differential.shares import Differential, Limits
from hemacell.prediction.inputs import Inputs
from hemacell.prediction.read_ahead import read_ahead, read_square
from hemacell.prediction.summary import Tally
from hemacell.reporting.pages import embedded_thumbnail, template_environment

_SIDE = 88  # of a thumbnail, in pixels
_FEW = 100  # cells of a smear below which its shares say little

#: What a reader must know about corrected shares, wherever they are shown.
PRIOR_SHIFT = (
    "The classifier was trained on cells in other proportions than those of a smear, and is biased to these: of two "
    "similar classes it prefers the one that was more common in training. The corrected shares account for its errors "
    "on its own test images. They assume that it confuses the classes here as it did there, so with the same stain, "
    "scanner and crop. A cell of any other class that is not found to be one is assigned to one of these classes."
)
#: The name of cells that are like none of the classes, and what must be known about their share.
OTHER = "other / not classified"
OTHER_NOTE = (
    "cells that are like none of the classes: what was called so, a few cells of the classes included; cells of other "
    "kinds that were not found are counted among the classes, so that this share may be too small as well as too large"
)


#: What to do where most cells are unlike the known ones.
REMEDY = "For another laboratory adapt the classifier by some of its pictures; whole fields need find_cells=true."


@dataclass(frozen=True)
class Origin:
    """Where counts come from."""

    model: str
    source: str
    output: str
    run: str
    sample: bool
    """whether the classifier was trained on drawn images"""
    confusion: NDArray[np.int64] | None
    """of the classifier's own test, int [C, C]: rows true, columns predicted"""
    crop: str
    own_crop: str
    """the crop of these images, and that of the classifier's test"""
    confidence_threshold: float
    open_set: str = ""
    """what is known of cells that are called none of the classes"""
    calibration: str = ""
    """what val could not show about the threshold, '' where it did"""


def table_of(counted: Sequence[Differential], confusion: NDArray[np.int64] | None) -> pd.DataFrame:
    """One row per smear and class: counts, shares and limits in 0 to 1 (NaN where undefined), and `note`.

    `share` and `corrected` are shares of the cells that are called by a class, `of_all` those of all readable cells.
    Where the classifier tells cells that are like none of its classes, a row `other / not classified` follows.

    Args:
        counted: the smears, in order.
        confusion: of the classifier's own test, int [C, C]; None where it is not known.
    """
    rows = [
        {
            "smear": each.smear,
            "class": name,
            "count": count,
            "cells": each.cells,
            **_columns("share", each.raw, i),
            **_columns("corrected", each.corrected, i),
            **_columns("of_all", each.of_all, i),
            "needs_review": review,
            "unreadable": each.unreadable,
            "note": f"no shares: {each.withheld}" if each.withheld else note,
        }
        for each in counted
        for i, (name, count, review, note) in enumerate(_lines(each, confusion))
    ]
    return pd.DataFrame(rows)


def _lines(each: Differential, confusion: NDArray[np.int64] | None) -> list[tuple[str, int, int, str]]:
    """(name, cells, of these to review, note) of each class, and of the cells of none where these are told."""
    texts = notes(each, confusion)
    lines = list(zip(each.classes, map(int, each.counts), map(int, each.needs_review), texts, strict=True))
    return [*lines, *([(OTHER, each.others, each.others, OTHER_NOTE)] if each.other is not None else [])]


def write_table(file: Path, counted: Sequence[Differential], confusion: NDArray[np.int64] | None) -> None:
    """Write `table_of` as a .csv file; a value that is undefined is empty."""
    table = table_of(counted, confusion)
    table.to_csv(file, index=False, lineterminator="\n", encoding="utf-8", float_format="%.6f")


def write_page(file: Path, counted: Sequence[Differential], tally: Tally, inputs: Inputs, origin: Origin) -> None:
    """Write the page: for each smear its counts and a gallery by class, the cells that need review first.

    Args:
        file: overwritten if it exists.
        counted: the smears, in order.
        tally: has the cells to show.
        inputs: the images of `tally`; one that no longer exists is left out.
        origin: where the counts come from.
    """
    pictures = _thumbnails(counted, tally, inputs)
    view = {
        "title": f"Differential count: {origin.source}",
        "sample": origin.sample,
        "origin": origin,
        "warnings": _warnings(counted, origin),
        "smears": [
            {
                "name": each.smear,
                "cells": each.cells,
                "unreadable": each.unreadable,
                "review": int(each.needs_review.sum()) + each.others,
                "others": each.others,
                "of_all": each.of_all is not None,
                "corrected": each.corrected is not None,
                "withheld": each.withheld,
                "rows": _rows(each, origin.confusion),
                "notes": _notes(each, origin.confusion),
                "galleries": [
                    {"name": name, "count": count, "cells": pictures.get((each.smear, name), [])}
                    for name, count in zip(each.classes, _called(each), strict=True)
                    if count
                ],
            }
            for each in counted
        ],
        "classes": counted[0].classes if counted else (),
        "confusion": None if origin.confusion is None else origin.confusion.tolist(),
    }
    file.write_text(
        template_environment().get_template("differential.html.j2").render(view), encoding="utf-8", newline="\n"
    )


def _called(each: Differential) -> list[int]:
    """Cells whose nearest class is each of the C, those of none included: [C]."""
    return (each.counts + (0 if each.other is None else each.other)).tolist()


def _columns(name: str, limits: Limits | None, i: int) -> dict[str, float]:
    if limits is None or i >= len(limits.share):
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), float("nan"))
    return {name: limits.share[i], f"{name}_low": limits.low[i], f"{name}_high": limits.high[i]}


def _rows(each: Differential, confusion: NDArray[np.int64] | None) -> list[dict[str, object]]:
    lines = _lines(each, confusion)
    marked = [bool(note) and (confusion is not None or name == OTHER) for name, _, _, note in lines]
    return [_row(each, i, *line[:3], mark) for i, (line, mark) in enumerate(zip(lines, marked, strict=True))]


def _notes(each: Differential, confusion: NDArray[np.int64] | None) -> list[dict[str, str]]:
    """The notes on the rows that have a mark; classes with the same note together."""
    if not each.cells or each.withheld:  # a warning of the page covers these
        return []
    together: dict[str, list[str]] = {}
    for name, _, _, note in _lines(each, confusion):
        if note and (confusion is not None or name == OTHER):
            together.setdefault(note, []).append(name)
    return [{"classes": ", ".join(names), "text": note} for note, names in together.items()]


def _row(each: Differential, i: int, name: str, count: int, review: int, mark: bool) -> dict[str, object]:
    known = i < len(each.classes)
    shown = [(each.raw, "raw"), (each.corrected, "corrected")] if known else []
    return {
        "name": name,
        "mark": mark,
        "count": count,
        "review": review,
        "raw": _words(each.raw, i),
        "corrected": _words(each.corrected, i),
        "of_all": _words(each.of_all, i),
        "bars": [_bar(limits, i, kind) for limits, kind in shown if limits],
    }


def _words(limits: Limits | None, i: int) -> dict[str, str]:
    """What stands in a row's cells; nothing where a share has no meaning."""
    if limits is None or i >= len(limits.share):
        return {"share": "", "limits": ""}
    share = "–" if np.isnan(limits.share[i]) else f"{100 * limits.share[i]:.1f} %"
    return {"share": share, "limits": f"{100 * limits.low[i]:.1f} to {100 * limits.high[i]:.1f}"}


def _bar(limits: Limits, i: int, kind: str) -> dict[str, object]:
    """Places on a scale from 0 to 200."""
    share = 0.0 if np.isnan(limits.share[i]) else float(limits.share[i])
    low, high = float(limits.low[i]), float(limits.high[i])
    return {"kind": kind, "share": f"{200 * share:.1f}", "low": f"{200 * low:.1f}", "high": f"{200 * high:.1f}"}


def _warnings(counted: Sequence[Differential], origin: Origin) -> list[str]:
    found = []
    if origin.confusion is None:
        found.append(
            "The predictions of the classifier on its own test images are not available (the run that trained it was "
            "deleted): its errors are unknown, and the shares are as counted, uncorrected."
        )
    else:
        tested = origin.confusion.sum(1)
        classes = counted[0].classes if counted else ()
        shares = ", ".join(f"{name} {share:.0%}" for name, share in zip(classes, tested / tested.sum(), strict=True))
        found.append(f"{PRIOR_SHIFT} Its test images were {shares}.")
        found += doubts(classes, origin.confusion)
    if origin.open_set:
        found.append(f"{origin.open_set[0].upper()}{origin.open_set[1:]}.")
    if origin.crop != origin.own_crop:
        found.append(
            f"These images were cropped with crop={origin.crop}, those of the classifier's test with "
            f"{origin.own_crop}: its errors may differ."
        )
    if origin.calibration:
        found.append(f"{origin.calibration[0].upper()}{origin.calibration[1:]}.")
    if none := [each.smear for each in counted if not each.cells]:
        found.append(f"No cell could be read in {_some(none)}: the shares there are unknown.")
    if withheld := [each.smear for each in counted if each.withheld]:
        found.append(
            f"No shares are shown of {_some(withheld)}: most of its cells are unlike those that the classifier knows. "
            f"{REMEDY}"
        )
    if few := [each.smear for each in counted if 0 < each.cells < _FEW]:
        found.append(f"Fewer than {_FEW} cells were counted in {_some(few)}: their limits are wide.")
    return found


def _some(smears: Sequence[str]) -> str:
    return ", ".join(smears[:5]) + (f" and {len(smears) - 5} more" if len(smears) > 5 else "")


def _thumbnails(
    counted: Sequence[Differential], tally: Tally, inputs: Inputs
) -> dict[tuple[str, str], list[dict[str, object]]]:
    """(smear, class) -> the cells to show, each with its picture as an address that needs no file."""
    wanted = [
        (each.smear, name, cell)
        for each in counted
        for name in each.classes
        for cell in tally.to_review(each.smear, name)
    ]
    found: dict[tuple[str, str], list[dict[str, object]]] = {}
    paths: Iterator[Path | None] = (inputs.path(row) for _, _, (row, _, _) in wanted)
    with closing(read_ahead(paths, partial(_thumbnail, bits=inputs.bits), ahead=32)) as pictures:
        for (smear, name, (row, probability, doubt)), picture in zip(wanted, pictures, strict=True):
            if picture:
                place = inputs.names[row].removeprefix(f"{smear}/")  # which its heading names
                cell = {"image": picture, "name": place, "probability": probability, "doubt": doubt}
                found.setdefault((smear, name), []).append(cell)
    return found


def _thumbnail(path: Path | None, bits: int | None) -> str:
    square = read_square(path, _SIDE, bits)
    return "" if isinstance(square, str) else embedded_thumbnail(square, _SIDE)
