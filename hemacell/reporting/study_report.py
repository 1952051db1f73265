"""`Comparison` -> report.html, report.md, figures/*.png and results.csv in a folder."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup, escape
from PIL import Image

from hemacell.evaluation.comparison.records import Comparison, RunRecord
from hemacell.reporting.pages import embedded_png, template_environment
from hemacell.reporting.study_answer import answer
from hemacell.reporting.study_elements import FigureInReport
from hemacell.reporting.study_sections import sections

if TYPE_CHECKING:
    import pandas as pd

_DPI = 200  # sharp on paper and on dense screens
_CSS_DPI = 140  # at which a figure fills the page's column


@dataclass(frozen=True)
class _Drawn:
    """A figure's file, and its size on the page."""

    path: Path
    width: int
    height: int

    @property
    def embedded(self) -> str:
        """The file as an address that needs no file."""
        return embedded_png(self.path)


def write_report(
    folder: Path,
    comparisons: Sequence[Comparison],
    runs: Sequence[RunRecord],
    facts: Mapping[str, str],
    table: pd.DataFrame,
) -> list[Path]:
    """Write what a comparison says, for people: a page that needs no other file, and the same as Markdown.

    Args:
        folder: made where it is missing; files of the same names are replaced.
        comparisons: on the test images, and after it on those of each other laboratory.
        runs: the runs, for the training curves and the list of runs.
        facts: label -> text, shown near the end. `data.kind` with `sample` in it puts a banner on top.
        table: a row a run, for results.csv.

    Returns:
        The files that were written: report.html, report.md, results.csv and figures/*.png.

    Raises:
        ValueError: no comparison.
        OSError: the folder cannot be written.
    """
    if not comparisons:
        raise ValueError("a report needs at least one comparison")
    parts = sections(comparisons, runs, facts)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    drawn = {
        picture.name: _draw(picture, folder / "figures" / f"{picture.name}.png")
        for part in parts
        for picture in part.figures
    }
    view = {
        "title": _title(comparisons[0], runs),
        "answer": answer(comparisons[0]),
        "sample": "sample" in facts.get("data.kind", ""),
        "warnings": comparisons[0].warnings,
        "sections": parts,
        "drawn": drawn,
    }
    written = []
    for environment, name in ((_html(), "report.html"), (_markdown(), "report.md")):
        text = environment.get_template(f"{name}.j2").render(view)
        written.append(folder / name)
        written[-1].write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")
    written.append(folder / "results.csv")
    table.to_csv(written[-1], index=False, lineterminator="\n", encoding="utf-8")  # floats as repr: none loses a digit
    return [*written, *(each.path for each in drawn.values())]


def _title(comparison: Comparison, runs: Sequence[RunRecord]) -> str:
    def number(count: int, thing: str) -> str:
        return f"{count} {thing}{'' if count == 1 else 's'}"

    arms, amounts = len(comparison.arms), len(comparison.amounts)
    labels = "1 amount of labels" if amounts == 1 else f"{amounts} amounts of labels"
    return f"{number(arms, 'arm')}, {labels}: {number(len(runs), 'run')} compared"


def _draw(picture: FigureInReport, path: Path) -> _Drawn:
    figure = picture.draw()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, pil_kwargs={"compress_level": 1})
    # Lines and letters need few colours: a palette makes the file three times smaller, and keeps rare colours.
    few = Image.open(buffer).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, dpi=(_DPI, _DPI), optimize=True)
    width, height = figure.get_size_inches()
    return _Drawn(path, round(width * _CSS_DPI), round(height * _CSS_DPI))


def _html() -> jinja2.Environment:
    environment = template_environment()
    environment.filters["with_interval"] = _with_interval
    return environment


def _with_interval(text: str) -> Markup:
    """A table's cell whose interval is set apart from its number."""
    number, bracket, rest = text.partition(" [")
    return escape(number) + Markup(' <span class="interval">[{}</span>').format(rest) if bracket else escape(number)


def _markdown() -> jinja2.Environment:
    # Every value is escaped unless it is Markup, which is what macros return: none can be forgotten.
    return template_environment(finalize=_in_markdown)


def _in_markdown(value: Any) -> Markup:
    """A value as plain words in Markdown, also within a table: nothing in it is taken for markup."""
    if isinstance(value, Markup):
        return value
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*|~])", r"\\\1", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)  # within a word it means nothing
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)  # what makes a link of a bracket
    return Markup(re.sub(r"^(#|[-+](?= )|\d+(?=[.)] ))", r"\\\1", text))
