"""The differential count in MLflow: the classifier's own test answers, and the files beside the output."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hemacell.core.errors import UserError
from hemacell.prediction.output import appearing, sha256_of
from hemacell.tracking.registry.lookup import RegisteredModel
from hemacell.tracking.runs import artifacts
from hemacell.tracking.runs.existing import existing_run
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import PREDICTIONS
from hemacell.tracking.store import get_client

if TYPE_CHECKING:
    from hemacell.prediction.summary import Tally
    from hemacell.tracking.runs.prediction import Prediction

logger = logging.getLogger(__name__)

SETTINGS = "differential.settings"
#: Tags with the sha256 of table and page.
DIGESTS = ("differential.sha256", "differential.page_sha256")


def files_of(output: Path) -> tuple[Path, Path]:
    """Table and page of the differential count that belong to an output."""
    return output.with_name(f"{output.stem}.differential.csv"), output.with_name(f"{output.stem}.differential.html")


def is_there(asked: Any, output: Path, tags: Mapping[str, str]) -> bool:
    """Whether the run with these tags has made the differential count that is asked for, and its files are there."""
    if tags.get(SETTINGS) != _settings(asked):
        return False
    return all(
        file.is_file() and tags.get(name) == sha256_of(file)
        for name, file in zip(DIGESTS, files_of(output), strict=True)
    )


def log_differential(job: Prediction, run: Tracker, tally: Tally) -> None:
    """Write the differential count beside the output, as a table and as a page, and store both with the run."""
    from hemacell.prediction.differential.identifiability import doubts
    from hemacell.prediction.differential.shares import differentials
    from hemacell.reporting.differential_page import Origin, write_page, write_table

    asked, config = job.settings, job.config()
    tested = confusion_of(job.model, tally.classes)
    if tested is None:
        logger.warning(f"the test answers of {job.model.uri} are gone with its run: the counts are not corrected")
    counted = differentials(tally, tested, seed=asked.seed, resamples=asked.resamples)
    origin = Origin(
        model=job.model.uri,
        source=job.inputs.source.name,
        output=job.output.name,
        run=run.run_id,
        sample=job.model.data_kind == "sample",
        confusion=tested,
        crop=asked.crop or config.crop,
        own_crop=config.crop,
        confidence_threshold=config.confidence_threshold,
    )
    files = files_of(job.output)
    with ExitStack() as stack:
        # their digests are on the run before they appear: whoever finds them then knows whose they are
        table, page = (stack.enter_context(appearing(file, file.with_name(f".{file.name}.new"))) for file in files)
        write_table(table, counted, tested)
        write_page(page, counted, tally, job.inputs, origin)
        digests = {name: sha256_of(file) for name, file in zip(DIGESTS, (table, page), strict=True)}
        run.tags({SETTINGS: _settings(asked), **digests})
    for file in files:
        run.artifact(file)
        logger.info(f"predict: {file}")
    for line in [] if tested is None else doubts(tally.classes, tested):
        logger.warning(line)


def confusion_of(model: RegisteredModel, classes: Sequence[str]) -> NDArray[np.int64] | None:
    """What a classifier called its own test images, from the run that trained it; None where that is gone.

    Args:
        model: a registered classifier.
        classes: C names.

    Returns:
        int [C, C], rows true, columns called.
    """
    from mlflow.exceptions import MlflowException

    from hemacell.evaluation.predictions import read_predictions

    if not model.run_id:
        return None
    try:
        with artifacts.files_of(existing_run(get_client(), model.run_id)) as fetched:
            tested = read_predictions(fetched(PREDICTIONS))
    except (MlflowException, OSError, UserError):
        return None
    if set(tested.classes) != set(classes):
        return None
    place = np.array([list(classes).index(name) for name in tested.classes])
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (place[tested.labels], place[tested.predicted]), 1)
    return counts


def _settings(asked: Any) -> str:
    return f"seed={asked.seed} resamples={asked.resamples}"
