"""The table of all images: where they are, what they show and which split they are in."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

SPLITS = ("train", "val", "test")


class Row(NamedTuple):
    """One line of a manifest; the fields are its columns."""

    path: str
    """Where the image is: absolute path of its file, or what its source reads, such as `cells.npz#12`."""
    label: str
    """Class name, '' where the image has none."""
    split: str
    """'train', 'val', 'test', or '' before it is decided."""
    group: str
    """What must stay on one side of a split: a patient, a field of view, or the image itself (its sha256)."""
    mask: str
    """Absolute path of the mask that is **applied** to this row when it is decoded; '' leaves the image as it is."""
    sha256: str
    """Hex digest of the image file, or of its pixels where it is not a file.

    Of a masked copy, the digest of the image's and the mask's digests.
    """
    source: str
    """'original', 'masked' (a masked copy of an original) or 'extra' (from `mask_from`, masked or not)."""
    own_mask: str = ""
    """Absolute path of the mask that belongs to the image, to measure with; '' where it has none."""


COLUMNS = Row._fields


def shown(path: str, root: Path) -> str:
    """A file's path relative to a folder, with `/`; the path itself where the file lies elsewhere."""
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path


@dataclass(frozen=True)
class Card:
    """What the images are, for the card of a model that is trained on them; '' where it is not known."""

    license: str = ""
    citation: str = ""


class Skipped(NamedTuple):
    """One file or folder that is passed over."""

    path: str
    reason: str
    """In a few words, the same for all of its kind: it is counted by."""


@dataclass
class Account:
    """What a source found and how it was understood, besides the images that are taken."""

    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """A clause each, without its full stop."""

    def in_words(self) -> list[str]:
        """The notes, and what was passed over, counted by its reasons."""
        reasons = Counter(skipped.reason for skipped in self.skipped).most_common()
        counted = ", ".join(f"{count} ({reason})" for reason, count in reasons)
        return [*self.notes, *([f"passed over: {counted}"] if reasons else [])]

    def to_csv(self) -> str:
        """A table of what was passed over, with the columns `path` and `reason`."""
        return pd.DataFrame(self.skipped, columns=["path", "reason"]).to_csv(index=False)


@dataclass(frozen=True, eq=False)
class Manifest:
    """Images with labels, splits and digests. Never changed: every method gives a new one."""

    table: pd.DataFrame
    """One row per image, columns as in `Row`, index 0..N-1."""
    classes: tuple[str, ...]
    """Class names in the order of the class indices; empty for images without labels."""
    name: str
    root: Path
    card: Card = Card()
    read: Callable[[str], Image.Image] | None = None
    """Reads the image of a row by its `path`; None where all are files."""
    account: Account = field(default_factory=Account)
    bits: int | None = None
    """Depth of the camera that made files of 16 bits which do not state it; None where there are none."""

    def __post_init__(self) -> None:
        if tuple(self.table.columns) != COLUMNS:
            raise ValueError(f"a manifest has the columns {COLUMNS}, not {tuple(self.table.columns)}")
        unknown = sorted(set(self.table["label"]) - set(self.classes) - {""})
        if unknown:
            raise ValueError(f"labels outside the classes: {unknown}")
        unknown = sorted(set(self.table["split"]) - {*SPLITS, ""})
        if unknown:
            raise ValueError(f"unknown splits: {unknown}")

    @classmethod
    def from_rows(cls, rows: Iterable[Row], classes: tuple[str, ...], name: str, root: Path, **more: Any) -> "Manifest":
        """Build a manifest, sorted by content, so that neither file names nor folders decide the order of training.

        `more` are further fields of the manifest.
        """
        ordered = sorted(rows, key=lambda row: (row.sha256, row.label, row.path))
        table = pd.DataFrame(ordered, columns=list(COLUMNS)).astype("str")
        return cls(table, tuple(classes), name, Path(root), **more)

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def digest(self) -> str:
        """sha256 (64 hex digits) of what is shown, labelled and split, whatever the folder, names and row order."""
        columns = (self.table[name] for name in ("split", "label", "source", "sha256"))
        lines = sorted("\t".join(row) for row in zip(*columns, strict=True))
        return hashlib.sha256("\n".join(["\t".join(self.classes), *lines]).encode()).hexdigest()

    @property
    def digest32(self) -> str:
        """First 32 hex digits of the digest: what fits MLflow's field for it."""
        return self.digest[:32]

    @cached_property
    def labels(self) -> np.ndarray:
        """Class index of every row, int64 [N]; -1 for an image without a label."""
        index = {name: number for number, name in enumerate(self.classes)}
        return np.array([index.get(label, -1) for label in self.table["label"]], dtype=np.int64)

    @cached_property
    def names(self) -> list[str]:
        """The name of each row in tables: its file relative to `root`, or the text that it is read by."""
        if self.read is not None:
            return list(self.table["path"])
        return [shown(path, self.root) for path in self.table["path"]]

    def summary(self) -> str:
        """What was found, taken and passed over, in one short paragraph."""
        originals = self.table.loc[self.table["source"] == "original", "split"]  # without masked copies
        images = len(originals)
        classes = f" of {len(self.classes)} classes" if self.classes else ""
        splits = {split: count for split in SPLITS if (count := int((originals == split).sum()))}
        divided = f" ({', '.join(f'{count} {split}' for split, count in splits.items())})" if len(splits) > 1 else ""
        return "; ".join([f"{images} images{classes} in {self.root}{divided}", *self.account.in_words()])

    def select(self, rows: np.ndarray | list[int] | list[bool]) -> "Manifest":
        """The rows of a boolean mask [N] or of an array of positions, in that order."""
        chosen = np.asarray(rows)
        if chosen.dtype == bool:
            if len(chosen) != len(self):
                raise ValueError(f"a mask of {len(chosen)} values for {len(self)} rows")
            chosen = np.flatnonzero(chosen)
        return replace(self, table=self.table.iloc[chosen.astype(np.int64)].reset_index(drop=True))

    def part(self, split: str) -> "Manifest":
        """The rows of one split."""
        if split not in SPLITS:
            raise ValueError(f"a split is one of {SPLITS}, not {split!r}")
        return self.select((self.table["split"] == split).to_numpy())

    def readable(self, decoded: "Manifest") -> "Manifest":
        """The rows that are among those of `decoded`, which has none that cannot be read."""
        there = set(zip(decoded.table["path"], decoded.table["mask"], strict=True))
        return self.select([row in there for row in zip(self.table["path"], self.table["mask"], strict=True)])

    def with_splits(self, splits: Iterable[str]) -> "Manifest":
        """The same rows on the given sides."""
        return replace(self, table=self.table.assign(split=pd.Series(list(splits), dtype="str")))

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of rows per split and class, masked copies included; only splits that have rows.

        Images without labels are counted under the class ''.
        """
        names = [*self.classes, *([""] if (self.table["label"] == "").any() else [])]
        pairs = self.table.groupby(["split", "label"]).size().to_dict()
        present = [split for split in (*SPLITS, "") if (self.table["split"] == split).any()]
        return {split: {name: int(pairs.get((split, name), 0)) for name in names} for split in present}
