"""Groups: images of one patient, slide or smear, which resemble each other more than those of others."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest


def known_groups(manifest: Manifest) -> tuple[str, ...]:
    """The group of every row; empty where no group is known, so that each image is a group of its own.

    A group is known where it is named otherwise than by the image's own sha256 (see `manifest.Row`).
    """
    table = manifest.table
    images = table["mask"] == ""  # the digest of a masked copy is that of image and mask
    known = bool((table.loc[images, "group"] != table.loc[images, "sha256"]).any())
    return tuple(table["group"]) if known else ()


def groups_digest(manifest: Manifest) -> str:
    """sha256 of which image is in which group, in any order of rows; '' where no group is known."""
    groups = known_groups(manifest)
    lines = sorted(f"{digest}\t{group}" for digest, group in zip(manifest.table["sha256"], groups, strict=False))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def classes_of_groups(groups: Sequence[str], labels: Sequence[str]) -> dict[str, set[str]]:
    """Class -> the groups that have an image of it, in the order of the classes' names."""
    found: dict[str, set[str]] = defaultdict(set)
    for group, label in zip(groups, labels, strict=True):
        found[label].add(group)
    return {label: found[label] for label in sorted(found)}


def strata(groups: Sequence[str], labels: Sequence[str]) -> dict[str, list[str]]:
    """Divide groups by the rarest class that they have an image of: class -> groups, sorted by name.

    What is taken evenly from each stratum has about the class shares of all images, and the rare classes first of all.

    Args:
        groups, labels: of N images.
    """
    numbers = Counter(labels)
    rarest: dict[str, str] = {}
    for group, label in zip(groups, labels, strict=True):
        rarest[group] = min(rarest.get(group, label), label, key=lambda name: (numbers[name], name))
    found: Mapping[str, list[str]] = defaultdict(list)
    for group in sorted(rarest):
        found[rarest[group]].append(group)
    return {label: found[label] for label in sorted(found)}
