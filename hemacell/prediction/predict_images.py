"""Files -> predictions on the disk, part by part: what the job `predict` spends its time on. Knows no MLflow."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hemacell.classifiers.description import Prediction
from hemacell.core.threads import set_threads
from hemacell.framing.frame import NO_NUCLEUS, Framed
from hemacell.framing.site import Measured, estimate_site, measured
from hemacell.prediction.field_check import is_field, with_remark
from hemacell.prediction.inputs import Inputs
from hemacell.prediction.output import Parts
from hemacell.prediction.read_ahead import read_ahead, read_image
from hemacell.prediction.table import predict_readable, prediction_table

if TYPE_CHECKING:  # torch takes seconds to import; the network's sources are part of the job's key anyway
    from hemacell.classifiers.model import ClassifierModel

BATCHES_A_PART = 8
_SCALE_IMAGES = 200  # that the scale is estimated from: their median is off by 2 %
_AHEAD = 2  # batches that are read while the network works


@dataclass(frozen=True)
class Speed:
    """How long it took, without the start of the process and the loading of the model."""

    images: int
    seconds: float
    notes: dict[str, int] = field(default_factory=dict)
    """what is to be said of images -> of how many"""

    @property
    def images_per_second(self) -> float:
        """0 where nothing was to be done."""
        return self.images / self.seconds if self.images else 0.0


def classify(
    classifier: ClassifierModel,
    inputs: Inputs,
    parts: Parts,
    model: str,
    batch: int = 64,
    progress: Callable[[int, int], None] | None = None,
    threads: int = 1,
    may_be_fields: bool = False,
) -> Speed:
    """Classify all images whose part is missing.

    An image is always in the same batch, and a batch is classified by one thread: predictions depend neither on where
    the work was interrupted nor on the number of threads, to the bit.

    Args:
        classifier: the classifier, at the scale of these images (see `at_their_scale`).
        inputs: N images.
        parts: of N rows, a whole number of batches a part.
        model: the address of the classifier, for the last column.
        batch: images at once.
        progress: called with (images done, N) after every batch.
        threads: batches that are classified at the same time; threads of torch wait for each other in every operation.
        may_be_fields: whether pictures that look like fields, and are unlike the known cells, are said to.

    Returns:
        How long the missing ones took.
    """
    if parts.per_part % batch or parts.rows != len(inputs):
        raise ValueError(f"parts of {parts.per_part} rows for batches of {batch}, {parts.rows} rows for {len(inputs)}")
    missing = parts.missing()
    total = len(inputs)
    done = total - sum(len(parts.span(number)) for number in missing)
    started, begun = time.perf_counter(), done
    read = _Reader(classifier, inputs, may_be_fields)
    todo = (row for number in missing for row in parts.span(number))
    with (
        closing(read_ahead(todo, read, ahead=_AHEAD * batch)) as pictures,
        _classified(classifier, pictures, batch, threads) as batches,
    ):
        for number in missing:
            rows, predictions = parts.span(number), list[Prediction | str]()
            while len(predictions) < len(rows):
                few = next(batches)
                numbers = rows[len(predictions) : len(predictions) + len(few)]
                predictions += map(read.with_remark, few, numbers)
                done += len(few)
                if progress:
                    progress(done, total)
            parts.write(number, _table(classifier, inputs, rows, predictions, model))
    return Speed(done - begun, time.perf_counter() - started, dict(Counter(read.notes)))


class _Reader:
    """Reads and frames single images, by their row; remembers what is to be said of them.

    Attributes:
        notes: of images that were read, in any order.
    """

    def __init__(self, classifier: ClassifierModel, inputs: Inputs, may_be_fields: bool) -> None:
        self.notes: list[str] = []
        self._classifier, self._inputs, self._may_be_fields = classifier, inputs, may_be_fields
        self._fields: set[int] = set()  # rows that look like fields

    def __call__(self, row: int) -> Framed | str:
        image = read_image(self._inputs.path(row), self._inputs.bits, self.notes.append)
        if isinstance(image, str):
            return image
        if self._may_be_fields and is_field(image):
            self._fields.add(row)
        return _as_found(self._classifier.picture(image), self._inputs, row)

    def with_remark(self, prediction: Prediction | str, row: int) -> Prediction | str:
        """The prediction for a row, with what its picture looks like."""
        return prediction if isinstance(prediction, str) else with_remark(prediction, row in self._fields)


def predict_all(
    classifier: ClassifierModel, inputs: Inputs, batch: int = 64, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Prediction | str], list[Framed | str]]:
    """The predictions for few images, in memory, and what the classifier was shown; or why one cannot be read.

    Arguments as for `classify`.
    """
    read = _Reader(classifier, inputs, may_be_fields=False)
    predictions: list[Prediction | str] = []
    shown: list[Framed | str] = []
    with closing(read_ahead(range(len(inputs)), read, ahead=_AHEAD * batch)) as pictures:
        while few := list(islice(pictures, batch)):
            predictions += predict_readable(few, classifier.predict_framed)
            shown += few
            if progress:
                progress(len(predictions), len(inputs))
    return predictions, shown


def _as_found(picture: Framed, inputs: Inputs, row: int) -> Framed:
    """A picture with what is to be said of how it lies in its field."""
    if inputs.cells is None:
        return picture
    own = picture.why if picture.why == NO_NUCLEUS else ""  # of borders and neighbours the finder knows more
    why, remark = (
        "; ".join(filter(None, texts))
        for texts in ((own, inputs.cells.doubt(row)), (picture.remark, inputs.cells.remark(row)))
    )
    return picture._replace(why=why, remark=remark)


def at_their_scale(classifier: ClassifierModel, inputs: Inputs) -> ClassifierModel:
    """The classifier for the laboratory that images are of, whose scale is that of some of them, evenly spread."""
    if classifier.site or classifier.config.framing is None:
        return classifier
    step = max(1, len(inputs) // _SCALE_IMAGES)
    paths = (inputs.path(row) for row in range(0, len(inputs), step))
    with closing(read_ahead(paths, lambda path: _measured(path, inputs.bits), ahead=_SCALE_IMAGES)) as found:
        return classifier.of_site(estimate_site([each for each in found if each], classifier.config.site))


@contextmanager
def _classified(
    classifier: ClassifierModel, pictures: Iterator[Framed | str], batch: int, threads: int
) -> Iterator[Iterator[list[Prediction | str]]]:
    """The predictions of each batch, in order, by so many threads, in each of which torch computes with one."""
    batches = iter(lambda: list(islice(pictures, batch)), [])
    alone = partial(set_threads, 1) if threads > 1 else None

    def predict(few: list[Framed | str]) -> list[Prediction | str]:
        return predict_readable(few, classifier.predict_framed)

    try:
        with closing(read_ahead(batches, predict, threads + 1, threads, alone)) as found:
            yield found
    finally:
        if threads > 1:
            set_threads(threads)


def _measured(path: Path | None, bits: int | None) -> Measured | None:
    image = read_image(path, bits)
    return None if isinstance(image, str) else measured(image)


def _table(
    classifier: ClassifierModel, inputs: Inputs, rows: range, predictions: list[Prediction | str], model: str
) -> pd.DataFrame:
    table = prediction_table(classifier.classes, classifier.confidence_threshold, predictions)
    numbers = [name for name in table.columns if pd.api.types.is_float_dtype(table[name])]
    table = table.astype(dict.fromkeys(numbers, "float32"))  # as computed: CSV needs half the digits
    table.insert(0, "image", pd.Series([inputs.names[row] for row in rows], dtype="str"))
    if inputs.cells:
        for at, (name, column) in enumerate(inputs.cells.columns(rows).items(), start=1):
            table.insert(at, name, column)
    return table.assign(model=pd.Series([model] * len(table), dtype="str"))
