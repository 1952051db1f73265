"""Other laboratories by name: `external=lisc:DIR,jtsc:DIR`.

The name stands in metrics and in names of files. A bare folder is named after its last part, in lower case.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from hemacell.core.text import slug

#: A name before the colon. A path in front of a colon has a slash, and so is a folder whose name has a colon.
_NAMED = re.compile(r"(?P<name>[^:/\\]*):(?P<folder>.*)", re.DOTALL)
#: What metrics, tags and names of files take, whatever the store and the disk.
_NAME = re.compile(r"\w[\w.-]{0,39}")


#: A site's name, which becomes an alias of a registered model: MLflow refuses capitals of some, and spaces of all.
SITE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def parse_laboratories(text: str) -> dict[str, str]:
    """Read the setting `external`.

    Args:
        text: `NAME:DIR` or `DIR`, with commas between.

    Returns:
        Name, in lower case -> folder as it was typed, in the order of the text; none of them need exist.

    Raises:
        ValueError: one line for the user: no folder, a name that metrics cannot have, or two alike.

    Example:
        >>> parse_laboratories("lisc:/data/Dataset 1, /data/WBC_JTSC")
        {'lisc': '/data/Dataset 1', 'wbc_jtsc': '/data/WBC_JTSC'}
    """
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, folder = _laboratory(entry)
        if name in found:
            raise ValueError(
                f"expected a different name for each laboratory, found {name} for {found[name]} and for {folder}; "
                f"type for example external=first:{found[name]},second:{folder}"
            )
        found[name] = folder
    return found


def laboratory_name(folder: PurePath) -> str:
    """The name of a laboratory after the folder of its images."""
    return slug(folder.name)[:40].lower()


def _laboratory(entry: str) -> tuple[str, str]:
    named = _NAMED.fullmatch(entry)
    folder = named["folder"].strip() if named else entry
    if not folder:
        raise ValueError(f"expected NAME:DIR, found '{entry}' without a folder; type for example external={entry}DIR")
    name = named["name"].strip() if named else laboratory_name(PurePath(folder))
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"expected a name of at most 40 letters, digits and ._- for the laboratory in {folder}, found '{name}'; "
            f"type for example external=lisc:{folder}"
        )
    return name.lower(), folder
