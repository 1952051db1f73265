"""What a report is made of, whatever file it is written to: sections of paragraphs, figures and tables."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Group:
    """Rows of a table that belong together."""

    name: str
    """Words for what they have in common; '' for a table with a single group."""
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Table:
    """A table of words; the first cell of a row names the row."""

    title: str
    head: tuple[str, ...]
    groups: tuple[Group, ...]
    group_head: str = ""
    """What the groups' names are, for a format in which they become a column; '' where there are none."""
    note: str = ""


@dataclass(frozen=True)
class FigureInReport:
    """A figure, not yet drawn."""

    name: str
    """of its file, without an ending"""
    draw: Callable[[], Figure]
    alt: str
    """what it shows, for readers who do not see it"""
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading with what is under it, in this order: paragraphs, figures, tables."""

    slug: str
    heading: str
    paragraphs: tuple[str, ...] = ()
    figures: tuple[FigureInReport, ...] = ()
    tables: tuple[Table, ...] = ()
