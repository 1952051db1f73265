"""Saliency maps of `predict`: a figure beside the output, of the images that a person should review."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hemacell.core.files import atomic_write, sha256_of
from hemacell.prediction.output import read_output
from hemacell.prediction.read_ahead import read_ahead, read_square
from hemacell.prediction.summary import first_to_review
from hemacell.tracking.runs.tracker import FIGURE_DPI, Tracker

if TYPE_CHECKING:
    from hemacell.jobs.predict import PredictJob

logger = logging.getLogger(__name__)

SETTINGS, DIGESTS = "explained.settings", ("explained.sha256",)
_AHEAD = 16  # pictures that are read while others are put in place


def files_of(output: Path) -> tuple[Path]:
    """The figure that belongs to an output."""
    return (output.with_name(f"{output.stem}.explained.png"),)


def is_there(asked: Any, output: Path, tags: Mapping[str, str]) -> bool:
    """Whether the run with these tags has made the figure that is asked for, and it still exists."""
    return tags.get(SETTINGS) == _settings(asked) and all(
        file.is_file() and tags.get(name) == sha256_of(file)
        for name, file in zip(DIGESTS, files_of(output), strict=True)
    )


def log_saliency(job: PredictJob, run: Tracker) -> None:
    """Draw `explain` images of the finished output with what supported their predictions; store the figure in the run.

    Those for review come first, then those that the classifier was least sure of. Only their files are read again.
    """
    from hemacell.classifiers.grad_cam import GradCAM
    from hemacell.reporting.figures import saliency_maps

    predictor = job.predictor()
    config = predictor.config
    chosen = first_to_review(read_output(job.output), job.settings.explain)
    paths = (job.inputs.path(row) for row in chosen["row"])
    squares = list(read_ahead(paths, lambda path: read_square(path, config.decoded_size), _AHEAD))
    gone = [number for number, square in enumerate(squares) if isinstance(square, str)]
    if gone:
        logger.warning(f"{len(gone)} images cannot be read any more and are not shown; the first: {squares[gone[0]]}")
        chosen = chosen.drop(index=gone)
    shape = (-1, config.decoded_size, config.decoded_size, 3)
    pixels = np.array([square for square in squares if not isinstance(square, str)], np.uint8).reshape(shape)
    answers = np.array([config.classes.index(name) for name in chosen["class"]], np.int64)
    heat = GradCAM.of(predictor)(pixels, answers)
    texts = [
        f"{_shortened(image)}\n{name} {probability:.2f}{', for review' if doubtful else ''}"
        for image, name, probability, doubtful in chosen[["image", "class", "probability", "needs_review"]].to_numpy()
    ]
    title = f"{_shortened(job.output.name)}: {len(chosen)} images, those for review first, then the least sure"
    (picture,) = files_of(job.output)
    figure = saliency_maps(pixels, texts, title, heat, config.crop)
    with atomic_write(picture) as file:
        figure.savefig(file, format="png", dpi=FIGURE_DPI)
        run.tags({SETTINGS: _settings(job.settings), DIGESTS[0]: sha256_of(file)})  # before it appears: whose it is
    run.artifact(picture)
    logger.info(f"predict: {picture}")


def _shortened(name: str, most: int = 34) -> str:
    """The end of a long name, which tells more than its folders."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _settings(asked: Any) -> str:
    return f"explain={asked.explain}"
