"""The figures of a study's report: each is declared in the file that draws it, together with its caption.

A figure is added by one file that calls `add_study_figure`: in this folder and in `MODULES`, in an installed package
that names it under the entry-point group `hemacell.figures`, or in a script before the report is written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from hemacell.core.registry import Registry
from hemacell.evaluation.comparison.records import Comparison, RunRecord

#: In the order in which they appear within a section.
MODULES = ("label_efficiency", "paired_differences", "class_gains", "confusion_matrices", "training_curves")


@dataclass(frozen=True)
class StudyFigure:
    """A figure of the report of a study."""

    name: str
    """of its file, without an ending"""
    draw: Callable[[Comparison, Sequence[RunRecord]], Figure]
    caption: Callable[[Comparison], str]
    alt: Callable[[Comparison], str]
    """what it shows, for readers who do not see it"""
    section: str
    """slug of the section in which it stands; a section that does not exist yet is made"""
    heading: str
    """of a section that is made for it; without one, its name"""
    external: bool
    """whether it is drawn for another laboratory's images as well"""
    applies: Callable[[Comparison], bool]
    """whether there is anything to draw"""


STUDY_FIGURES: Registry[StudyFigure] = Registry(
    "figure", "hemacell.figures", [f"hemacell.reporting.figures.{name}" for name in MODULES]
)


def add_study_figure(
    name: str,
    draw: Callable[[Comparison, Sequence[RunRecord]], Figure],
    caption: Callable[[Comparison], str],
    alt: Callable[[Comparison], str],
    *,
    section: str,
    heading: str = "",
    external: bool = False,
    applies: Callable[[Comparison], bool] = lambda comparison: True,
) -> None:
    """Register a figure of the report; see `StudyFigure` for the arguments.

    Raises:
        ValueError: another figure has that name.
    """
    STUDY_FIGURES.add(name, StudyFigure(name, draw, caption, alt, section, heading, external, applies))
