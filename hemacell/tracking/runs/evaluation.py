"""An evaluation in a run: metrics, figures and predictions, as they are handed over."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import PREDICTIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hemacell.evaluation.classification import Evaluation
    from hemacell.evaluation.predictions import Predictions


def log_evaluation(
    run: Tracker, evaluation: Evaluation, figures: Mapping[str, Figure], prefix: str = "test", step: int = 0
) -> None:
    """Log `<prefix>/<metric>`, the figures and predictions.json.

    Args:
        run: the open run.
        evaluation: what was computed.
        figures: by the names of their files, without an ending.
        prefix: `test` or `external/lisc`; files that are not of the test split lie in a folder of that name.
        step: of the metrics.
    """
    run.metrics({f"{prefix}/{name}": value for name, value in evaluation.metrics().items()}, step)
    folder = "" if prefix == "test" else f"{prefix}/"
    for name, figure in figures.items():
        run.figure(figure, f"{folder}{name}.png")
    log_predictions(run, evaluation.predictions, folder)


def log_predictions(run: Tracker, predictions: Predictions, folder: str = "") -> None:
    """Log predictions.json, in a folder of the run (`external/lisc/`) or at its top."""
    from hemacell.evaluation.predictions import write_predictions

    with tempfile.TemporaryDirectory() as scratch:
        file = write_predictions(Path(scratch) / PREDICTIONS, predictions)
        run.artifact(file, f"{folder}{PREDICTIONS}")
