"""How well boxes are found: matching by overlap, precision, recall and average precision.

The average precision is the area under the curve of precision over recall, precision made falling, at all points: that
of the PASCAL VOC challenge since 2010 (Everingham et al. 2010, section 4.2, and the kit of 2010), at an IoU of 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

AVERAGE_PRECISION_IOU = 0.5

Boxes = NDArray[np.float64]


class FieldBoxes(NamedTuple):
    """The boxes of one field: what was found, and what is there."""

    found: ArrayLike
    """[N, 4], x0, y0, x1, y1."""
    scores: ArrayLike
    """[N], higher is surer."""
    true: ArrayLike
    """[M, 4]."""
    found_labels: Sequence[str] = ()
    """N classes; empty where there are none."""
    true_labels: Sequence[str] = ()
    """M classes; '' where one is not known."""


@dataclass(frozen=True)
class DetectionScores:
    """Counts and scores over all fields."""

    true: int
    found: int
    matched: int
    average_precision: float
    """At an IoU of `AVERAGE_PRECISION_IOU`; nan where there is nothing to find."""

    @property
    def recall(self) -> float:
        """Share of what is there that was found; nan where there is nothing."""
        return self.matched / self.true if self.true else float("nan")

    @property
    def precision(self) -> float:
        """Share of what was found that is there; nan where nothing was found."""
        return self.matched / self.found if self.found else float("nan")


def detection_scores(fields: Sequence[FieldBoxes], least_iou: float = 0.5) -> DetectionScores:
    """Scores of boxes over fields, whatever their classes.

    Args:
        fields: one entry each, also where nothing was found or is there.
        least_iou: at which a found box is right, for precision and recall; above 0, at most 1.
    """
    true = sum(len(_boxes(field.true)) for field in fields)
    found = sum(len(_boxes(field.found)) for field in fields)
    matched = sum(int((_matched(field, least_iou) >= 0).sum()) for field in fields)
    right = [_matched(field, AVERAGE_PRECISION_IOU) >= 0 for field in fields]
    scores = [np.asarray(field.scores, np.float64).reshape(-1) for field in fields]
    none = np.empty(0)
    precision = average_precision(np.concatenate([*scores, none]), np.concatenate([*right, none]), true)
    return DetectionScores(true, found, matched, precision)


def scores_per_class(fields: Sequence[FieldBoxes], least_iou: float = 0.5) -> dict[str, DetectionScores]:
    """Scores per class, by name: of a class, boxes found as it are matched with those that are it.

    A box that is there without a class may be any: what overlaps it is left out, neither right nor wrong.
    """
    labels = sorted({label for field in fields for label in (*field.found_labels, *field.true_labels) if label})
    return {
        label: detection_scores([_of_class(field, label, least_iou) for field in fields], least_iou) for label in labels
    }


def match_boxes(found: ArrayLike, scores: ArrayLike, true: ArrayLike, least_iou: float) -> NDArray[np.intp]:
    """Which box that is there each found one is, int [N]; -1 for none.

    The best score chooses first, the box that it overlaps most among those that are left; each is found once.

    Args:
        found: [N, 4], x0, y0, x1, y1.
        scores: [N].
        true: [M, 4].
        least_iou: of a match.
    """
    overlaps = box_ious(found, true)
    result = np.full(len(overlaps), -1)
    if not overlaps.size:
        return result
    for at in np.argsort(-np.asarray(scores, np.float64), kind="stable"):
        best = int(np.argmax(overlaps[at]))
        if overlaps[at, best] >= least_iou:
            result[at] = best
            overlaps[:, best] = -1
    return result


def average_precision(scores: ArrayLike, right: ArrayLike, true: int) -> float:
    """The average precision at all points.

    Args:
        scores: [N] of what was found in all fields.
        right: bool [N], whether each is there and was not found before.
        true: how many are there; nan is returned for 0.
    """
    if not true:
        return float("nan")
    # Equal scores come in together: no order among them is better founded.
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ranked, hits = np.asarray(scores, np.float64)[order], np.asarray(right, bool)[order].cumsum()
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, int)
    precision = hits[ends] / (ends + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(hits[ends] / true, prepend=0) * falling))


def box_ious(first: ArrayLike, second: ArrayLike) -> Boxes:
    """Intersection over union of each with each, float64 [N, M], of boxes [N, 4] and [M, 4]; 0 for empty ones."""
    one, other = _boxes(first)[:, None], _boxes(second)[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.maximum(sides, 0).prod(-1)
    union = _areas(one) + _areas(other) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _boxes(values: ArrayLike) -> Boxes:
    return np.asarray(values, np.float64).reshape(-1, 4)


def _areas(boxes: Boxes) -> NDArray[np.float64]:
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(-1)


def _matched(field: FieldBoxes, least_iou: float) -> NDArray[np.intp]:
    return match_boxes(field.found, field.scores, field.true, least_iou)


def _of_class(field: FieldBoxes, label: str, least_iou: float) -> FieldBoxes:
    found, true = _boxes(field.found), _boxes(field.true)
    scores = np.asarray(field.scores, np.float64).reshape(-1)
    is_found = np.array([name == label for name in field.found_labels], bool)
    is_true = np.array([name == label for name in field.true_labels], bool)
    unknown = np.array([not name for name in field.true_labels], bool)
    if unknown.any():
        of = match_boxes(found, scores, true, least_iou)
        is_found &= ~((of >= 0) & unknown[of])
    return FieldBoxes(found[is_found], scores[is_found], true[is_true])
