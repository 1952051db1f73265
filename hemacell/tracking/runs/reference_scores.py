"""A classifier's own test scores, from the run that trained it, and the comparison with them on a run of `evaluate`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hemacell.core.errors import UserError
from hemacell.tracking.registry.lookup import RegisteredModel
from hemacell.tracking.runs.existing import existing_run, files_of, read_file
from hemacell.tracking.schema import PREDICTIONS, REFERENCE_PAGE, REFERENCE_RECORDS

if TYPE_CHECKING:
    from hemacell.evaluation.predictions import Predictions
    from hemacell.evaluation.reference_scores import MetricComparison
    from hemacell.tracking.runs.tracker import Tracker

_TEST = "test/"


def reference_scores_of(model: RegisteredModel) -> tuple[dict[str, float], str]:
    """The test scores that a classifier's training run has, without `test/`; or none, and the reason in words."""
    if not model.run_id:
        return {}, f"{model.uri} names no run that trained it: its own test scores are not known"
    try:
        run = existing_run(model.run_id)
    except UserError:
        return {}, f"run {model.run_id}, which trained {model.uri}, was deleted: its own test scores are not known"
    scores = {name.removeprefix(_TEST): value for name, value in run.data.metrics.items() if name.startswith(_TEST)}
    return scores, "" if scores else f"run {model.run_id}, which trained {model.uri}, has no test scores"


def test_predictions_of(model: RegisteredModel) -> Predictions | None:
    """A classifier's predictions on its own test images, from the run that trained it; None where they were deleted."""
    from mlflow.exceptions import MlflowException

    from hemacell.evaluation.predictions import read_predictions

    if not model.run_id:
        return None
    try:
        with files_of(existing_run(model.run_id)) as fetched:
            return read_predictions(fetched(PREDICTIONS))
    except (MlflowException, OSError, UserError):
        return None


def log_reference_comparison(
    run: Tracker, rows: Sequence[MetricComparison], facts: Mapping[str, str], warnings: Sequence[str], page: str
) -> None:
    """Log intervals, own test scores and differences as metrics, and the table as a page and as JSON.

    The metrics are `test/<metric>_low` and `_high`, `reference/<metric>` and `difference/<metric>`.

    Args:
        run: the open run.
        rows: from `compare_with_reference`.
        facts: label -> text, what was compared with what.
        warnings: of the comparison.
        page: the same in Markdown.
    """
    from hemacell.evaluation.reference_scores import as_records

    metrics: dict[str, float] = {}
    for row in rows:
        metrics |= {f"{_TEST}{row.metric}_low": row.low, f"{_TEST}{row.metric}_high": row.high}
        if row.reference is not None and row.difference is not None:
            metrics |= {f"reference/{row.metric}": row.reference, f"difference/{row.metric}": row.difference}
    run.metrics(metrics)
    run.tags({"below_reference": [row.metric for row in rows if row.below_reference]})
    run.text(page, REFERENCE_PAGE)
    run.json({"facts": dict(facts), "rows": as_records(rows), "warnings": list(warnings)}, REFERENCE_RECORDS)


def comparison_of(run_id: str) -> tuple[list[MetricComparison], list[str]]:
    """The rows and the warnings that a run of `evaluate` has left."""
    from hemacell.evaluation.reference_scores import from_records

    found = json.loads(read_file(run_id, REFERENCE_RECORDS))
    return from_records(found["rows"]), found["warnings"]
