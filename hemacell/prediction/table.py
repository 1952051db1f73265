"""Predictions as a table; the same from a served model, from `hemacell.load` and in a file of predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hemacell.classifiers.description import OOD_THRESHOLD, OPEN_SET_THRESHOLD, Prediction

if TYPE_CHECKING:
    import pandas as pd


#: How the reason begins of a prediction for an image that is out of distribution.
UNLIKE = "unlike the cells that the model knows"

Picture = TypeVar("Picture")
_NAMED = 5  # classes in a reason


def predict_readable(
    pictures: Iterable[Picture | str], predict: Callable[[list[Picture]], Iterable[Prediction]]
) -> list[Prediction | str]:
    """Predict images some of which could not be read.

    Args:
        pictures: images, or the reason why one could not be read.
        predict: gives the predictions of N > 0 images, in order.

    Returns:
        The prediction for each, in the same order; a reason stays as it is.
    """
    pictures = list(pictures)
    readable = [each for each in pictures if not isinstance(each, str)]
    predicted = iter(predict(readable) if readable else ())
    return [each if isinstance(each, str) else next(predicted) for each in pictures]


def prediction_columns(classes: Sequence[str]) -> list[str]:
    """Names of the columns, in order."""
    return ["class", "probability", *(f"p_{name}" for name in classes), "needs_review", "why", "none_of_these"]


def prediction_table(
    classes: Sequence[str], confidence_threshold: float, predictions: Sequence[Prediction | str]
) -> pd.DataFrame:
    """Predictions as a table, one row each, in the order given.

    Args:
        classes: C names, in the order of the probabilities.
        confidence_threshold: probability below which a prediction needs review.
        predictions: of N images; for one that could not be read, the reason.

    Returns:
        `class`, `probability` (of that class), `p_<Class>` for every class, `needs_review`, `why` and `none_of_these`
        (a score; above 1 the cell is like none of the classes, and `class` is the nearest). A prediction needs review
        where its probability is low, where the image is out of distribution, where the cell is none of the classes,
        and where something is wrong with the image, such as that no nucleus is found. An image that could not be read
        has an empty class, NaN for all numbers, `needs_review` and the reason.
    """
    import pandas as pd

    rows = [
        ["", *[np.nan] * (1 + len(classes)), True, each, np.nan]
        if isinstance(each, str)
        else _row(classes, confidence_threshold, each)
        for each in predictions
    ]
    table = pd.DataFrame(rows, columns=prediction_columns(classes))
    numbers = ["probability", *(f"p_{name}" for name in classes), "none_of_these"]
    return table.astype({**dict.fromkeys(numbers, "float64"), "needs_review": "bool", "class": "str", "why": "str"})


def _row(classes: Sequence[str], confidence_threshold: float, prediction: Prediction) -> list[object]:
    best = int(prediction.probabilities.argmax())
    probability = float(prediction.probabilities[best])
    more = ", …" if len(classes) > _NAMED else ""
    reasons = []
    if prediction.distance > OOD_THRESHOLD:
        reasons.append(f"{UNLIKE} ({prediction.distance:.1f} times the usual distance)")
    if prediction.none_of_these > OPEN_SET_THRESHOLD:
        reasons.append(f"like none of the {len(classes)} classes ({', '.join(classes[:_NAMED])}{more})")
    if confidence_threshold > 1:
        reasons.append("too few labelled cells to accept any prediction without review")
    elif probability < confidence_threshold:
        reasons.append(f"probability {probability:.2f} is below {confidence_threshold:.2f}")
    if prediction.doubt:
        reasons.append(prediction.doubt)
    why = "; ".join([*reasons, *filter(None, [prediction.remark])])
    return [
        classes[best],
        probability,
        *map(float, prediction.probabilities),
        bool(reasons),
        why,
        prediction.none_of_these,
    ]
