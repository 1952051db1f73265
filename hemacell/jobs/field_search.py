"""The white cells of whole fields, for a job that takes pictures of single cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.core.progress import Progress, end_lines
from hemacell.prediction.inputs import Inputs

if TYPE_CHECKING:
    from hemacell.prediction.search_fields import Found


def cells_of_fields(fields: Inputs, cache: Path, threads: int) -> Found:
    """`prediction.search_fields.search_fields` with progress; raises the same."""
    from hemacell.prediction.search_fields import search_fields

    try:
        return search_fields(fields, cache, threads, Progress("finding cells", "fields"))
    finally:
        end_lines()
