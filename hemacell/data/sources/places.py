"""Where a public set lies below the folder that a user names, and short tables that come with such sets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from hemacell.core.errors import UserError
from hemacell.data.class_names import normal_form
from hemacell.data.tables import open_table

_LOOKED_AT = 64  # folders of each level: what is unpacked from an archive lies in few


def folder_with(root: Path, *names: str, depth: int = 2) -> Path | None:
    """The folder that holds entries of all these names, itself or up to `depth` below it; None where none does.

    Archives are often unpacked into a folder of their own, or two. Only names are read. They are compared as
    `class_names.normal_form` gives them, so without case and separators.
    """
    wanted = {normal_form(name) for name in names}
    level = [root]
    for _ in range(depth + 1):
        below: list[Path] = []
        for folder in level[:_LOOKED_AT]:
            entries = list(_entries(folder))
            if wanted <= {normal_form(entry.name) for entry in entries}:
                return folder
            below += sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
        level = below
    return None


def entry_of(folder: Path, name: str) -> Path:
    """The entry of a folder that has this name, whatever its case and separators.

    Raises:
        UserError: there is none.
    """
    form = normal_form(name)
    found = next((entry for entry in _entries(folder) if normal_form(entry.name) == form), None)
    if found is None:
        raise UserError(f"expected {name} in {folder}, found none; unpack the set again")
    return Path(found.path)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:  # a file, or a folder that may not be read
        return


def columns_of(file: Path, *numbers: int) -> list[list[str]]:
    """Columns of a table that comes with a public set, by their numbers from 0, as texts.

    Raises:
        UserError: it cannot be read, or has fewer columns.
    """
    table = open_table(file)
    if len(table.columns) <= max(numbers):
        raise UserError(f"{file}: expected {max(numbers) + 1} columns, found {table.shown()}; unpack the set again")
    return table.texts([table.columns[number] for number in numbers])
