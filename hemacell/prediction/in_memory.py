"""The table of predictions; the same from a served model and from `hemacell.load`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from hemacell.classifiers.description import Prediction
from hemacell.prediction.field_check import checked
from hemacell.prediction.table import predict_readable, prediction_table

if TYPE_CHECKING:
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

    def of_images(self, images: list[Image]) -> Predictor:
        """The same at the scale of the laboratory that these are of; itself where it has one."""
        ...

    def predict(self, images: list[Image]) -> Iterable[Prediction]:
        """The prediction for each."""
        ...


def predict_table(predictor: Predictor, pictures: Iterable[Image | str], together: bool = True) -> pd.DataFrame:
    """Classify images and lay the predictions out as a table, one row each, in the order given.

    Args:
        predictor: the classifier.
        pictures: RGB pictures, or a reason where one could not be read; consumed in chunks.
        together: whether they are of one laboratory, whose scale the first chunk tells where it is not known; else each
            has a scale of its own.

    Returns:
        See `hemacell.prediction.table.prediction_table`.
    """
    predictions: list[Prediction | str] = []
    for chunk in chunks(pictures):
        if together:
            predictor = predictor.of_images([each for each in chunk if not isinstance(each, str)])
        predictions += map(checked, predict_readable(chunk, predictor.predict), chunk)
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
