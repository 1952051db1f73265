"""Names as people type them and as files, metrics and tags take them."""

import difflib
from collections.abc import Iterable


def nearest(name: str, options: Iterable[str], count: int = 1, cutoff: float = 0.5) -> list[str]:
    """The `count` options that are most like a misspelt name, whatever the case; fewer where few are like it.

    Example:
        >>> nearest("basophils", ["Basophil", "Monocyte"])
        ['Basophil']
    """
    by_lower = {option.lower(): option for option in options}
    return [by_lower[near] for near in difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=cutoff)]


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """The end of a message about a misspelt name: `; did you mean X?`, or '' where nothing is like it."""
    near = nearest(name, options)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_name(what: str, name: str, known: Iterable[str], prefix: str = "") -> str:
    """The words for a misspelt name: `unknown setting 'fracton'; did you mean fraction?`.

    Args:
        what: the kind of thing that is named.
        name: as the user typed it, without `prefix`.
        known: the names that exist.
        prefix: put before each name that is shown, such as `--`.
    """
    known = list(known)
    if near := nearest(name, known, count=3, cutoff=0.6):
        return f"unknown {what} '{prefix}{name}'; did you mean {' or '.join(prefix + each for each in near)}?"
    return f"unknown {what} '{prefix}{name}'; there are {', '.join(prefix + each for each in known)}"


def counted(count: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not one: `1 image`, `2 images`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def slug(text: str, keep: str = "._") -> str:
    """A name as a part of file names, metrics and tags: letters, digits and `keep` stay, the rest becomes a hyphen.

    MLflow refuses a comma and a plus in the name of a metric.

    Example:
        >>> slug("prcc,camelyon")
        'prcc-camelyon'
    """
    return "".join(letter if letter.isalnum() or letter in keep else "-" for letter in text).strip("-")
