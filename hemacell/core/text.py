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


def slug(text: str, keep: str = "._") -> str:
    """A name as a part of file names, metrics and tags: letters, digits and `keep` stay, the rest becomes a hyphen.

    MLflow refuses a comma and a plus in the name of a metric.

    Example:
        >>> slug("prcc,camelyon")
        'prcc-camelyon'
    """
    return "".join(letter if letter.isalnum() or letter in keep else "-" for letter in text).strip("-")
