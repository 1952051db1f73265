"""The table of predictions; the same from a served model and from `hemacell.load`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from hemacell.prediction.table import Prediction, predict_readable, prediction_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from PIL.Image import Image


# Decoded pictures that are held at once: a table of ten thousand files must not become ten thousand bitmaps, nor sixty
# large ones together.
CHUNK, CHUNK_PIXELS = 64, 2**24


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


def chunks(pictures: Iterable[Image | str]) -> Iterator[list[Image | str]]:
    """Successive lists of at most `CHUNK` pictures, each ended by the picture that brings it to `CHUNK_PIXELS`."""
    chunk: list[Image | str] = []
    pixels = 0
    for picture in pictures:
        chunk.append(picture)
        pixels += 0 if isinstance(picture, str) else picture.width * picture.height
        if len(chunk) == CHUNK or pixels >= CHUNK_PIXELS:
            yield chunk
            chunk, pixels = [], 0
    if chunk:
        yield chunk
