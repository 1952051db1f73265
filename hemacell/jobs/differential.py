"""The differential count of `predict`: corrected by the classifier's own test, as files beside the output."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hemacell.config.base import canonical_text
from hemacell.evaluation.metrics import confusion_counts
from hemacell.jobs.extra_files import ExtraFiles
from hemacell.tracking.registry.lookup import RegisteredModel
from hemacell.tracking.runs.reference_scores import test_predictions_of
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import ADAPTED_FROM

if TYPE_CHECKING:
    from hemacell.jobs.predict import PredictJob
    from hemacell.prediction.summary import Tally

logger = logging.getLogger(__name__)

FILES = ExtraFiles(
    "differential",
    ("seed", "resamples"),
    {"differential.sha256": ".differential.csv", "differential.page_sha256": ".differential.html"},
)


def log_differential(job: PredictJob, run: Tracker, tally: Tally) -> None:
    """Write the differential count beside the output, as a table and as a page, and store both with the run."""
    from hemacell.prediction.differential.identifiability import doubts
    from hemacell.prediction.differential.shares import differentials
    from hemacell.reporting.differential_page import Origin, write_page, write_table

    asked, config = job.settings, job.config
    tested = confusion_of(job.model, tally.classes)
    if tested is None:
        logger.warning(f"{_why_unknown(job.model)}: the counts are not corrected")
    counted = differentials(
        tally, tested, tells_other=config.open_set_rate > 0, seed=asked.seed, resamples=asked.resamples
    )
    origin = Origin(
        model=job.model.uri,
        source=job.inputs.source.name,
        output=job.output.name,
        run=run.run_id,
        sample=job.model.data_kind == "sample",
        confusion=tested,
        crop=canonical_text(asked.crop),
        own_crop="auto" if config.framing or asked.crop == "auto" else canonical_text(config.crop),
        confidence_threshold=config.confidence_threshold,
        open_set=config.open_set_in_words(),
        calibration="" if config.shows_target_risk else config.calibration_in_words(),
    )
    with FILES.written(asked, job.output, run) as (table, page):
        write_table(table, counted, tested)
        write_page(page, counted, tally, job.inputs, origin)
    for line in [] if tested is None else doubts(tally.classes, tested):
        logger.warning(line)


def _why_unknown(model: RegisteredModel) -> str:
    if ADAPTED_FROM in model.tags:
        return f"the mistakes of {model.uri} in its laboratory are not known, as it was adapted without labels"
    return f"the run with the test predictions of {model.uri} is gone"


def confusion_of(model: RegisteredModel, classes: Sequence[str]) -> NDArray[np.int64] | None:
    """The confusion matrix of a classifier's own test, int [C, C] with rows labelled and columns predicted.

    Of one that was adapted by labels: on these, by classifiers that have not learnt from them.

    Args:
        model: a registered classifier.
        classes: C names.

    Returns:
        None where the run that trained it is gone, or had other classes.
    """
    tested = test_predictions_of(model)
    if tested is None or set(tested.classes) != set(classes):
        return None
    index = np.array([list(classes).index(name) for name in tested.classes])
    return confusion_counts(index[tested.labels], index[tested.predicted], len(classes))
