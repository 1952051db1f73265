"""Saliency maps of `predict`: a figure beside the output, of the images that a person should review."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hemacell.jobs.extra_files import ExtraFiles
from hemacell.prediction.output import read_output
from hemacell.prediction.read_ahead import read_ahead, read_image
from hemacell.prediction.summary import first_to_review
from hemacell.tracking.runs.tracker import FIGURE_DPI, Tracker

if TYPE_CHECKING:
    from hemacell.jobs.predict import PredictJob

logger = logging.getLogger(__name__)

FILES = ExtraFiles("explained", ("explain",), {"explained.sha256": ".explained.png"})
_AHEAD = 16  # pictures that are read while others are put in place


def log_saliency(job: PredictJob, run: Tracker) -> None:
    """Draw `explain` images of the finished output with what supported their predictions; store the figure in the run.

    Those for review come first, then those that the classifier was least sure of. Only their files are read again.
    """
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.reporting.figures import saliency_maps

    predictor = job.predictor
    config = predictor.config
    chosen = first_to_review(read_output(job.output), job.settings.explain)
    paths = (job.inputs.path(row) for row in chosen["row"])

    def read(path: Path | None) -> np.ndarray | str:
        image = read_image(path, job.inputs.bits)
        return image if isinstance(image, str) else predictor.picture(image).pixels

    squares = list(read_ahead(paths, read, _AHEAD))
    gone = [number for number, square in enumerate(squares) if isinstance(square, str)]
    if gone:
        logger.warning(f"{len(gone)} images cannot be read any more and are not shown; the first: {squares[gone[0]]}")
        chosen = chosen.drop(index=gone)
    shape = (-1, config.decoded_size, config.decoded_size, 3)
    pixels = np.array([square for square in squares if not isinstance(square, str)], np.uint8).reshape(shape)
    predicted = np.array([config.classes.index(name) for name in chosen["class"]], np.int64)
    saliency = GradCAM.of(predictor)(pixels, predicted)
    texts = [
        f"{_shortened(image)}\n{name} {probability:.2f}{', for review' if doubtful else ''}"
        for image, name, probability, doubtful in chosen[["image", "class", "probability", "needs_review"]].to_numpy()
    ]
    title = f"{_shortened(job.output.name)}: {len(chosen)} images, those for review first, then the least sure"
    figure = saliency_maps(pixels, texts, title, saliency, config.crop)
    with FILES.written(job.settings, job.output, run) as (picture,):
        figure.savefig(picture, format="png", dpi=FIGURE_DPI)


def _shortened(name: str, most: int = 34) -> str:
    """The end of a long name, which tells more than its folders."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
