"""The table of predictions; the same from a served model and from `hemacell.load`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from hemacell.prediction.table import Prediction, predict_readable, prediction_table
from hemacell.tracking.serving.payload import chunks

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from PIL.Image import Image


class Predictor(Protocol):
    """What is needed of a classifier."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def confidence_threshold(self) -> float: ...

    def predict_images(self, images: list[Image]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities float32 [N, C] and distances float32 [N]."""
        ...


def predict_table(predictor: Predictor, pictures: Iterable[Image | str]) -> pd.DataFrame:
    """Classify images and lay the predictions out as a table, one row each, in the order given.

    Args:
        predictor: the classifier.
        pictures: RGB pictures, or a reason where one could not be read; consumed in chunks.

    Returns:
        See `hemacell.prediction.table.prediction_table`.
    """
    predictions: list[Prediction | str] = []
    for chunk in chunks(pictures):
        predictions += predict_readable(chunk, predictor.predict_images)
    return prediction_table(predictor.classes, predictor.confidence_threshold, predictions)
