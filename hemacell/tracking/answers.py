"""The table that a classifier answers with; the same from a served model and from `hemacell.load`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from hemacell.tracking.images import chunks

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from PIL.Image import Image


class Predictor(Protocol):
    """What is needed of a classifier."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def review_below(self) -> float: ...

    def predict_images(self, images: list[Image]) -> np.ndarray:
        """Probabilities float32 [N, C]."""
        ...


def answer_columns(classes: Sequence[str]) -> list[str]:
    """Names of the columns, in order."""
    return ["class", "probability", *(f"p_{name}" for name in classes), "needs_review", "why"]


def answer_table(predictor: Predictor, pictures: Iterable[Image | str]) -> pd.DataFrame:
    """Classify pictures and lay the answers out as a table, one row each, in the order given.

    Args:
        predictor: the classifier.
        pictures: RGB pictures, or a reason where one could not be read; consumed in chunks.

    Returns:
        `class`, `probability` (of that class), `p_<Class>` for every class, `needs_review` and `why`. A picture that
        could not be read has an empty class, NaN for all probabilities, `needs_review` and the reason.
    """
    import pandas as pd

    rows: list[list[object]] = []
    for chunk in chunks(pictures):
        readable = [picture for picture in chunk if not isinstance(picture, str)]
        answers = iter(predictor.predict_images(readable) if readable else ())
        for picture in chunk:
            rows.append(_unread(predictor, picture) if isinstance(picture, str) else _row(predictor, next(answers)))
    table = pd.DataFrame(rows, columns=answer_columns(predictor.classes))
    numbers = ["probability", *(f"p_{name}" for name in predictor.classes)]
    return table.astype({**dict.fromkeys(numbers, "float64"), "needs_review": "bool", "class": "str", "why": "str"})


def _row(predictor: Predictor, probabilities: np.ndarray) -> list[object]:
    best = int(probabilities.argmax())
    probability = float(probabilities[best])
    doubtful = probability < predictor.review_below
    why = f"probability {probability:.2f} is below {predictor.review_below:.2f}" if doubtful else ""
    return [predictor.classes[best], probability, *map(float, probabilities), doubtful, why]


def _unread(predictor: Predictor, reason: str) -> list[object]:
    nothing = float("nan")
    return ["", nothing, *(nothing for _ in predictor.classes), True, reason]
