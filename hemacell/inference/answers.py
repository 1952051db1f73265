"""The columns of an answer; the same from a served model, from `hemacell.load` and in a file of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def answer_columns(classes: Sequence[str]) -> list[str]:
    """Names of the columns, in order."""
    return ["class", "probability", *(f"p_{name}" for name in classes), "needs_review", "why"]


def table_of_answers(classes: Sequence[str], review_below: float, answers: Sequence[np.ndarray | str]) -> pd.DataFrame:
    """Lay answers out as a table, one row each, in the order given.

    Args:
        classes: C names, in the order of the probabilities.
        review_below: probability below which a person should look.
        answers: N times the probabilities, float [C], or the reason why the image could not be read.

    Returns:
        `class`, `probability` (of that class), `p_<Class>` for every class, `needs_review` and `why`. A picture that
        could not be read has an empty class, NaN for all probabilities, `needs_review` and the reason.
    """
    import pandas as pd

    rows = [_unread(classes, each) if isinstance(each, str) else _row(classes, review_below, each) for each in answers]
    table = pd.DataFrame(rows, columns=answer_columns(classes))
    numbers = ["probability", *(f"p_{name}" for name in classes)]
    return table.astype({**dict.fromkeys(numbers, "float64"), "needs_review": "bool", "class": "str", "why": "str"})


def _row(classes: Sequence[str], review_below: float, probabilities: np.ndarray) -> list[object]:
    best = int(probabilities.argmax())
    probability = float(probabilities[best])
    doubtful = probability < review_below
    why = f"probability {probability:.2f} is below {review_below:.2f}" if doubtful else ""
    return [classes[best], probability, *map(float, probabilities), doubtful, why]


def _unread(classes: Sequence[str], reason: str) -> list[object]:
    nothing = float("nan")
    return ["", nothing, *(nothing for _ in classes), True, reason]
