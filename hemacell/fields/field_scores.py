"""Scores of a finder of cells, alone and with a classifier behind it, on fields with boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hemacell.fields.detection_metrics import (
    AVERAGE_PRECISION_IOU,
    FieldBoxes,
    detection_scores,
    match_boxes,
    scores_per_class,
)

LEAST_IOU = 0.4
"""Of a cell that counts as found: people draw boxes around one cell that overlap by no more than 0.6 to 0.9."""


def matches(field: FieldBoxes) -> NDArray[np.intp]:
    """Which box that is there each found one is, int [N]; -1 for none. See `detection_metrics.match_boxes`."""
    return match_boxes(field.found, field.scores, field.true, LEAST_IOU)


def field_metrics(fields: Sequence[FieldBoxes], classes: Sequence[str]) -> dict[str, float]:
    """All scores by name; those that are not defined, such as the recall of a class that does not occur, are left out.

    `detection/…`: of white cells, whatever their class, at an IoU of `LEAST_IOU`; `…_iou50` at 0.5; the average
    precision at 0.5. `end_to_end/…/<Class>`: a cell counts where it is found and given its class.

    Args:
        fields: one entry each.
        classes: those of the classifier; scores of others are left out.
    """
    usual, strict = detection_scores(fields, LEAST_IOU), detection_scores(fields, AVERAGE_PRECISION_IOU)
    values = {
        "detection/recall": usual.recall,
        "detection/precision": usual.precision,
        "detection/recall_iou50": strict.recall,
        "detection/precision_iou50": strict.precision,
        "detection/average_precision": strict.average_precision,
        "detection/cells": float(usual.true),
        "detection/found": float(usual.found),
    }
    if any(label for field in fields for label in field.true_labels):
        for name, scores in scores_per_class(fields, LEAST_IOU).items():
            if name in classes:
                values[f"end_to_end/recall/{name}"] = scores.recall
                values[f"end_to_end/precision/{name}"] = scores.precision
                values[f"end_to_end/average_precision/{name}"] = scores.average_precision
    return {name: value for name, value in values.items() if not math.isnan(value)}
