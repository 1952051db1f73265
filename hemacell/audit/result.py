"""All that an audit has found out about images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hemacell.audit.doubtful_labels import Doubts
from hemacell.audit.files import count_kinds
from hemacell.audit.findings import CopyGroup, Finding
from hemacell.classifiers.description import OOD_THRESHOLD
from hemacell.data.decoding import Decoded
from hemacell.data.manifest import Manifest


@dataclass(frozen=True, eq=False)
class Distances:
    """How far images lie from the cells that a registered classifier was trained on."""

    model: str
    """Its address."""
    values: np.ndarray
    """float32 [N], in units of the threshold beyond which it flags an image."""

    @property
    def flagged(self) -> np.ndarray:
        """bool [N]"""
        return self.values > OOD_THRESHOLD


@dataclass(frozen=True, eq=False)
class Audit:
    """What was measured; the rows of every table and array are those of `images`."""

    everything: Manifest
    """All images that the source has."""
    decoded: Decoded
    """Those that can be read, without masked copies."""
    files: pd.DataFrame
    """See `files.file_facts`."""
    copies: Sequence[CopyGroup]
    measured: pd.DataFrame
    """See `measurements.measure`."""
    outliers: pd.DataFrame
    """See `measurements.outliers`."""
    differences: pd.DataFrame
    """See `measurements.differences`."""
    doubts: Doubts | None
    """None for images without labels."""
    doubtful_labels: pd.DataFrame
    """See `doubtful_table`."""
    distances: Distances | None
    """None without a model."""
    findings: Sequence[Finding]
    """The most serious first."""

    @property
    def images(self) -> Manifest:
        """The rows."""
        return self.decoded.manifest

    @property
    def standing_out(self) -> pd.DataFrame:
        """The rows of `differences` that stand out, the largest effect first."""
        rows = self.differences[self.differences["stands_out"].astype(bool)]
        return rows.sort_values("effect", key=np.abs, ascending=False)

    def copies_table(self) -> pd.DataFrame:
        """The copies, one row per image: the number of its group, and what it is."""
        rows = [(number, row) for number, group in enumerate(self.copies, 1) for row in group.rows]
        names = self.images.names
        table = self.images.table.iloc[[row for _, row in rows]][["sha256", "split", "label", "group"]]
        table.insert(0, "path", [names[row] for _, row in rows])
        table.insert(0, "copies", [number for number, _ in rows])
        return table

    def measurements_table(self) -> pd.DataFrame:
        """What was measured, one row per image, with its path, label and split."""
        facts = self.images.table[["sha256", "split", "label", "group"]].assign(path=self.images.names)
        return pd.concat([facts, self.files, self.measured], axis=1)

    def to_json(self) -> dict[str, Any]:
        """The whole in numbers and words, for a program."""
        found: dict[str, Any] = {
            "summary": self.everything.summary(),
            "digest": self.everything.digest,
            "findings": [
                {
                    "severity": each.severity.name.lower(),
                    "about": each.section,
                    "images": each.count,
                    "words": each.words,
                }
                for each in self.findings
            ],
            "counts": self.everything.counts(),
            "files": [{"kind": kind, "count": count} for kind, count in count_kinds(self.files)],
            "unreadable": [{"path": path, "reason": reason} for path, reason in self.decoded.bad],
            "copies": [
                {
                    "images": [self.images.names[row] for row in group.rows],
                    "splits": sorted(group.splits),
                    "labels": sorted(group.labels),
                }
                for group in self.copies
            ],
            "doubtful_labels": self.doubtful_labels.to_dict(orient="records"),
            "outliers": [
                {"path": self.images.names[row], "measure": measure, "reason": reason}
                for row, measure, reason in self.outliers[["image", "measure", "reason"]].itertuples(index=False)
            ],
            "differences": self.standing_out[["by", "value", "measure", "effect", "reason"]].to_dict(orient="records"),
        }
        if self.distances is not None:
            found["model"] = {"model": self.distances.model, "flagged": float(self.distances.flagged.mean())}
        return found


def doubtful_table(images: Manifest, doubts: Doubts | None) -> pd.DataFrame:
    """Labels that another class is more probable than, the most doubtful first: to correct, and give back as `labels=`.

    The index holds the rows of the images. Columns: `path`, `sha256`, `split`, `label`, `suggested`, `score` (see
    `Doubts`), and `confident`: off the diagonal of the confident joint; the others may only be hard to classify.
    """
    columns = ["path", "sha256", "split", "label", "suggested", "score", "confident"]
    if doubts is None:
        return pd.DataFrame(columns=columns)
    rows = [row for row in doubts.order if doubts.doubtful[row] or doubts.suggested[row] != images.labels[row]]
    suggested = [images.classes[number] for number in doubts.suggested[rows]]
    return images.table.iloc[rows].assign(
        path=[images.names[row] for row in rows],
        suggested=suggested,
        score=doubts.score[rows].round(4),
        confident=doubts.doubtful[rows],
    )[columns]
