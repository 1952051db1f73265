"""What an audit found, in one line each, the most serious first: what makes scores wrong before what is only odd."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hemacell.core.text import counted
from hemacell.data.manifest import SPLITS, Manifest
from hemacell.data.splits import groups_across_splits

FEW = 10
"""Images of a class in a split below which its score says little: one of them changes its recall by a tenth."""
EXPECTED_FLAGGED = 0.05
"""Share of flagged images up to which nothing is reported: a classifier flags 1 % of images like its own."""


class Severity(IntEnum):
    """How much a finding matters; the order in which findings are shown."""

    SERIOUS = 0
    """Scores are wrong, or images cannot be used."""
    DOUBT = 1
    """Scores may be wrong: a person should look."""
    NOTE = 2
    """Odd, and often harmless."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    severity: Severity
    section: str
    """The part of the page that shows it: `copies`, `labels`, `files`, `counts`, `measurements` or `model`."""
    count: int
    """Images that it concerns."""
    words: str
    """One sentence without its full stop: what was found, what it does, what to do."""


@dataclass(frozen=True)
class CopyGroup:
    """Pictures that show the same: one file several times, or re-encoded, resized, mirrored or turned copies."""

    rows: tuple[int, ...]
    """Positions in the manifest, at least two."""
    splits: frozenset[str]
    labels: frozenset[str]

    @property
    def crosses(self) -> bool:
        """Whether it has images in several splits."""
        return len(self.splits) > 1

    @property
    def conflicts(self) -> bool:
        """Whether it has several labels."""
        return len(self.labels) > 1


def copy_groups_of(manifest: Manifest, groups: Iterable[Sequence[int]]) -> list[CopyGroup]:
    """Groups of copies with what matters about them: those across splits first, then those under several labels.

    Args:
        manifest: the images.
        groups: positions in it of each group's images (see `copies`).
    """
    splits, labels = manifest.table["split"].to_numpy(), manifest.table["label"].to_numpy()
    found = [CopyGroup(tuple(rows), frozenset(splits[list(rows)]), frozenset(labels[list(rows)])) for rows in groups]
    return sorted(found, key=lambda group: (not group.crosses, not group.conflicts, -len(group.rows), group.rows))


def joined_groups(manifest: Manifest, copies: Iterable[CopyGroup]) -> np.ndarray:
    """The number of each image's group, int [N], where groups that share copies of one picture are one.

    A copy on another side would vouch for its own label, and so would the rest of its patient.
    """
    _, numbers = np.unique(manifest.table["group"].to_numpy(dtype=str), return_inverse=True)
    pairs = [(numbers[group.rows[0]], numbers[row]) for group in copies for row in group.rows[1:]]
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    size = int(numbers.max(initial=-1)) + 1
    links = coo_array((np.ones(len(pairs)), (first, second)), shape=(size, size))
    return connected_components(links, directed=False)[1][numbers]


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The most serious first; equal ones stay in their order."""
    return sorted(findings, key=lambda finding: finding.severity)


def copy_findings(manifest: Manifest, groups: Sequence[CopyGroup]) -> list[Finding]:
    """What copies do to scores."""
    across = [group for group in groups if group.crosses]
    conflicts = [group for group in groups if group.conflicts]
    within = [group for group in groups if not group.crosses and not group.conflicts]
    found = []
    if across:
        leaked = _leaked(manifest, across)
        found.append(
            Finding(
                Severity.SERIOUS,
                "copies",
                len(leaked),
                f"{counted(len(leaked), 'val or test image')} with a copy in another split, such as "
                f"{_pair(manifest, across[0])}: scores are too good; type drop=duplicates",
            )
        )
    if conflicts:
        count = sum(len(group.rows) for group in conflicts)
        found.append(
            Finding(
                Severity.SERIOUS,
                "copies",
                count,
                f"{count} images show the same cell under different labels, such as {_pair(manifest, conflicts[0])}: "
                "correct them (labels=) or type drop=duplicates",
            )
        )
    if within:
        spare = sum(len(group.rows) - 1 for group in within)
        found.append(
            Finding(
                Severity.NOTE,
                "copies",
                spare,
                f"{counted(spare, 'image')} with a copy in the same split, such as {_pair(manifest, within[0])}: what "
                "they show counts several times",
            )
        )
    return found


def group_findings(manifest: Manifest) -> list[Finding]:
    """Groups (patients, slides, smears) on several sides of a split."""
    cut = groups_across_splits(manifest)
    if not cut:
        return []
    table = manifest.table
    held = table[table["group"].isin(cut) & table["split"].isin(["val", "test"])]
    return [
        Finding(
            Severity.SERIOUS,
            "counts",
            len(held),
            f"{counted(len(cut), 'group')} (patient or slide) in several splits, such as {cut[0]}, with {len(held)} of "
            "the val and test images: scores are too good for new patients",
        )
    ]


def class_findings(manifest: Manifest) -> list[Finding]:
    """Classes with few images in a split."""
    counts = manifest.counts()
    few = [
        (count, f"{name} has {count} in {split}")
        for split in SPLITS
        for name, count in counts.get(split, {}).items()
        if count < FEW
    ]
    if not few:
        return []
    shown = ", ".join(words for _, words in sorted(few)[:3]) + (" …" if len(few) > 3 else "")
    return [
        Finding(
            Severity.DOUBT,
            "counts",
            sum(count for count, _ in few),
            f"classes with fewer than {FEW} images: {shown}; their scores say little",
        )
    ]


def unreadable_finding(bad: Sequence[tuple[str, str]]) -> list[Finding]:
    """Images that cannot be read."""
    if not bad:
        return []
    path, reason = bad[0]
    return [
        Finding(
            Severity.SERIOUS,
            "files",
            len(bad),
            f"{counted(len(bad), 'image')} that cannot be read, such as {path}: {reason}",
        )
    ]


def label_finding(doubts: pd.DataFrame) -> list[Finding]:
    """Labels in doubt.

    Args:
        doubts: the doubtful labels, the most doubtful first, with the columns path, label and suggested.
    """
    if doubts.empty:
        return []
    first = doubts.iloc[0]
    return [
        Finding(
            Severity.DOUBT,
            "labels",
            len(doubts),
            f"{counted(len(doubts), 'doubtful label')}, most of all {first['path']} ({first['label']}, rather "
            f"{first['suggested']}): look at them, and give corrections back as labels=FILE",
        )
    ]


def measurement_findings(outliers: pd.DataFrame, differences: pd.DataFrame) -> list[Finding]:
    """Splits and groups that differ, and images unlike others; see `measurements` for the tables.

    Differences between classes are expected, and are not among the findings.
    """
    found = []
    standing_out = differences[differences["stands_out"]] if len(differences) else differences
    for by, rows in standing_out.groupby("by"):
        if by != "class":
            first = rows.loc[rows["effect"].abs().idxmax()]
            others = f", and {counted(len(rows) - 1, 'more difference')}" if len(rows) > 1 else ""
            words = f"{by} {first['reason']}{others}: scores may rest on it"
            found.append(Finding(Severity.DOUBT, "measurements", int(rows["images"].max()), words))
    if not outliers.empty:
        images = outliers["image"].nunique()
        reasons = outliers["reason"].str.partition(":")[0].value_counts()
        shown = ", ".join(f"{reason} {count}" for reason, count in reasons.head(3).items())
        words = f"{counted(images, 'image')} unlike others of the class ({shown})"
        found.append(Finding(Severity.NOTE, "measurements", images, words))
    return found


def distance_finding(model: str, flagged: np.ndarray) -> list[Finding]:
    """Images that a registered classifier would flag.

    Args:
        model: its address.
        flagged: bool [N].
    """
    share = float(flagged.mean())
    if share <= EXPECTED_FLAGGED:
        return []
    severity = Severity.SERIOUS if share > 0.5 else Severity.DOUBT
    words = f"{model} would flag {100 * share:.0f} % of the images as unlike those that it was trained on"
    return [Finding(severity, "model", int(flagged.sum()), words)]


def _leaked(manifest: Manifest, across: Iterable[CopyGroup]) -> list[int]:
    """The val and test images among groups across splits: what a score counts too well."""
    splits = manifest.table["split"].to_numpy()
    return [row for group in across for row in group.rows if splits[row] in ("val", "test")]


def differing_pair(manifest: Manifest, group: CopyGroup) -> tuple[int, int]:
    """Two images of a group that lie in different splits, else have different labels, else the first two."""
    first, *others = group.rows
    column = "split" if group.crosses else "label"
    values = manifest.table[column].to_numpy()
    return first, next((row for row in others if values[row] != values[first]), others[0])


def _pair(manifest: Manifest, group: CopyGroup) -> str:
    names = manifest.names
    return " = ".join(names[row] for row in differing_pair(manifest, group))
