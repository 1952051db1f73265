"""Pictures of whole fields among what should be single cells: a set is judged by many of them.

`looks_like_field` is wrong for one in ten cells of some laboratories, and seldom for more than half of a set.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL.Image import Image

from hemacell.classifiers.description import OOD_THRESHOLD, Prediction
from hemacell.data.boxes import split_box
from hemacell.fields.field_picture import looks_like_field
from hemacell.prediction.inputs import Inputs
from hemacell.prediction.read_ahead import read_ahead, read_image

REMARK = "looks like a field"
MOST_CELLS = 0.5
"""Share of a set that may look like fields before it is taken for fields."""
_SAMPLE = 60  # pictures of a set that are looked at, evenly spread


@dataclass(frozen=True)
class Sample:
    """What some pictures of a set look like."""

    pictures: int
    fields: int

    @property
    def are_fields(self) -> bool:
        """Whether the set is taken for whole fields."""
        return self.fields > MOST_CELLS * self.pictures

    def in_words(self) -> str:
        """What a user is told of a set that is taken for fields."""
        return (
            f"{self.fields} of {self.pictures} pictures look like whole fields of a smear, not like single cells: "
            "type find_cells=true to find the cells in them"
        )


def look_for_fields(inputs: Inputs) -> Sample:
    """Look at some pictures of a set; boxes in larger pictures are cells for sure, and are not looked at."""
    if inputs.cells or any(split_box(place)[1] for place in inputs.places):
        return Sample(0, 0)
    rows = np.unique(np.linspace(0, len(inputs) - 1, min(_SAMPLE, len(inputs))).round().astype(int))

    def look(path: Path | None) -> bool | None:
        image = read_image(path, inputs.bits)
        return None if isinstance(image, str) else is_field(image)

    with closing(read_ahead((inputs.path(int(row)) for row in rows), look, ahead=8)) as seen:
        found = [each for each in seen if each is not None]
    return Sample(len(found), sum(found))


def is_field(image: Image) -> bool:
    """`looks_like_field` of an RGB image."""
    return looks_like_field(np.asarray(image), file_size=image.size)


def with_remark(prediction: Prediction, looks: bool) -> Prediction:
    """The prediction; for a picture that is out of distribution too, with the remark that it looks like a field."""
    if not looks or prediction.distance <= OOD_THRESHOLD:
        return prediction
    return prediction._replace(remark="; ".join(filter(None, [prediction.remark, REMARK])))


def checked(prediction: Prediction | str, image: Image | str) -> Prediction | str:
    """A prediction with that remark where its image earns it; reasons why there is none stay as they are."""
    if isinstance(prediction, str) or isinstance(image, str) or prediction.distance <= OOD_THRESHOLD:
        return prediction
    return with_remark(prediction, is_field(image))
