"""An earlier classifier on the validation images of a new one, so that the two can be compared image by image."""

from __future__ import annotations

import json
from pathlib import Path

from hemacell.config.jobs import WbcSettings
from hemacell.data.manifest import Manifest
from hemacell.evaluation.paired import right_by_image


def right_of_model(
    folder: Path, everything: Manifest, val: Manifest, cache: Path, settings: WbcSettings
) -> dict[str, float]:
    """On which validation images a classifier is right: sha256 -> 1 or 0. Images that it learnt from are left out.

    Args:
        folder: the classifier's own files, fetched.
        everything: the images that `val` is a part of.
        val: the validation images.
        cache: folder for decoded images.
        settings: of the new classifier.

    Raises:
        UserError: the folder does not hold a classifier.
    """
    from hemacell.classifiers.model import TRAINED_ON, load_folder
    from hemacell.data import decoding

    model = load_folder(folder, settings.precision)
    learnt_from = json.loads((folder / TRAINED_ON).read_text(encoding="utf-8"))
    unseen = val.select((~val.table["sha256"].isin(learnt_from)).to_numpy())
    cells = decoding.decode(everything, model.config.decoded_size, cache, settings.max_bad)
    return right_by_image(unseen, model.predict_pixels(cells.array[cells.rows(unseen)]).probabilities)
