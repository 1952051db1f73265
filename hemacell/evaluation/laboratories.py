"""The sets of images that a classifier is scored on: its own test images, and those of other laboratories, by name.

A set is called as it stands before the names of its metrics: `test`, `external/lisc`. Files, tags and comparisons use
the same names.
"""

from __future__ import annotations

from collections.abc import Iterable

TEST = "test"
EXTERNAL, ADAPTED = "external", "external_adapted"

#: How other laboratories' images are scored -> what follows a laboratory's name in words. Another way is one more
#: entry here and where it is computed (`jobs.classifier`): files, comparisons, notes and reports follow.
WAYS = {EXTERNAL: "", ADAPTED: ", adapted without labels"}

#: Before the names of scores that a few labels of a laboratory would bring: means over draws of labels.
WITH_LABELS = "external_labels"

#: With what the names of scores begin.
PREFIXES = (f"{TEST}/", *(f"{way}/" for way in WAYS), f"{WITH_LABELS}/")


def split_of(laboratory: str, way: str = EXTERNAL) -> str:
    """The name of a laboratory's images, scored in one of the `WAYS`: `external/lisc`."""
    return f"{way}/{laboratory}"


def with_labels(laboratory: str, amount: int) -> str:
    """Before the names of scores with so many labels of each class: `external_labels/lisc/5`."""
    return f"{WITH_LABELS}/{laboratory}/{amount}"


def amounts_of_labels(metrics: Iterable[str], laboratory: str) -> list[int]:
    """The amounts of labels for which a run has scores in a laboratory, among the names of its metrics; sorted."""
    parts = (name.split("/") for name in metrics)
    found = {part[2] for part in parts if part[:2] == [WITH_LABELS, laboratory] and part[3:] == ["macro_f1"]}
    return sorted(map(int, found))


def is_elsewhere(split: str) -> bool:
    """Whether a name is that of another laboratory's images."""
    return split.partition("/")[0] in WAYS


def splits_elsewhere(metrics: Iterable[str]) -> list[str]:
    """The other laboratories' images among the names of a run's metrics, laboratory by laboratory.

    Example:
        >>> splits_elsewhere(["test/accuracy", "external/lisc/accuracy", "external/lisc/f1/Monocyte"])
        ['external/lisc']
    """
    parts = (name.split("/") for name in metrics)
    # the accuracy is always defined
    return in_order(f"{part[0]}/{part[1]}" for part in parts if part[0] in WAYS and part[2:] == ["accuracy"])


def in_order(splits: Iterable[str]) -> list[str]:
    """The names, each once: `test` first, then laboratory by laboratory."""
    ways = list(WAYS)

    def place(split: str) -> tuple[str, int]:
        way, _, laboratory = split.partition("/")
        return laboratory, ways.index(way) if way in ways else -1

    return sorted(set(splits), key=place)


def set_words(split: str) -> str:
    """Which images, for people: `test`; `lisc` for `external/lisc`."""
    way, _, laboratory = split.partition("/")
    return f"{laboratory}{WAYS[way]}" if way in WAYS else split
