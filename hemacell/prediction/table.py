"""The columns of an answer; the same from a served model, from `hemacell.load` and in a file of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hemacell.classifiers.description import OOD_THRESHOLD

if TYPE_CHECKING:
    import pandas as pd


class Answer(NamedTuple):
    """What a classifier says of one image."""

    probabilities: np.ndarray
    """float [classes], calibrated"""
    distance: float
    """from the cells that it knows, in units of the limit: above 1 the image is unlike them"""


def prediction_columns(classes: Sequence[str]) -> list[str]:
    """Names of the columns, in order."""
    return ["class", "probability", *(f"p_{name}" for name in classes), "needs_review", "why"]


def prediction_table(
    classes: Sequence[str], confidence_threshold: float, answers: Sequence[Answer | str]
) -> pd.DataFrame:
    """Lay answers out as a table, one row each, in the order given.

    Args:
        classes: C names, in the order of the probabilities.
        confidence_threshold: probability below which a person should look.
        answers: N times the answer, or the reason why the image could not be read.

    Returns:
        `class`, `probability` (of that class), `p_<Class>` for every class, `needs_review` and `why`. A person should
        look where the probability is low, and where the picture is unlike the cells that the classifier knows, whatever
        its probability. One that could not be read has an empty class, NaN for all probabilities, `needs_review` and
        the reason.
    """
    import pandas as pd

    rows = [
        _unread(classes, each) if isinstance(each, str) else _row(classes, confidence_threshold, each)
        for each in answers
    ]
    table = pd.DataFrame(rows, columns=prediction_columns(classes))
    numbers = ["probability", *(f"p_{name}" for name in classes)]
    return table.astype({**dict.fromkeys(numbers, "float64"), "needs_review": "bool", "class": "str", "why": "str"})


def _row(classes: Sequence[str], confidence_threshold: float, answer: Answer) -> list[object]:
    best = int(answer.probabilities.argmax())
    probability = float(answer.probabilities[best])
    reasons = []
    if answer.distance > OOD_THRESHOLD:
        reasons.append(f"unlike the cells that the model knows ({answer.distance:.1f} times the usual distance)")
    if confidence_threshold > 1:
        reasons.append("too few val cells to accept any prediction without review")
    elif probability < confidence_threshold:
        reasons.append(f"probability {probability:.2f} is below {confidence_threshold:.2f}")
    return [classes[best], probability, *map(float, answer.probabilities), bool(reasons), "; ".join(reasons)]


def _unread(classes: Sequence[str], reason: str) -> list[object]:
    nothing = float("nan")
    return ["", nothing, *(nothing for _ in classes), True, reason]
