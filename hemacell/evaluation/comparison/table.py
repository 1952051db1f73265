"""All scores of all runs as one table, for what the report does not show."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hemacell.evaluation.comparison.grid import steps_of
from hemacell.evaluation.comparison.records import RunRecord
from hemacell.evaluation.laboratories import PREFIXES


def results_table(runs: Sequence[RunRecord]) -> pd.DataFrame:
    """One row per run.

    Returns:
        `run_id`, `name`, `arm`, `amount`, `fraction` (NaN where the amount is a number of labels), `labels`, `draw`,
        `seed`, `steps` and `train_seconds` (NaN where unknown), then every `test/…` and `external/<name>/…` metric.
    """
    logged = dict.fromkeys(key for run in runs for key in run.metrics)
    names = [key for prefix in PREFIXES for key in logged if key.startswith(prefix)]
    rows = [
        {
            "run_id": run.run_id,
            "name": run.name,
            "arm": run.arm,
            "amount": run.amount,
            "fraction": _fraction(run.amount),
            "labels": run.labels,
            "draw": run.draw,
            "seed": run.seed,
            "steps": steps_of(run),
            "train_seconds": run.metrics.get("train_seconds", np.nan),
            **{name: run.metrics.get(name, np.nan) for name in names},
        }
        for run in runs
    ]
    columns = ["run_id", "name", "arm", "amount", "fraction", "labels", "draw", "seed", "steps", "train_seconds"]
    return pd.DataFrame(rows, columns=[*columns, *names])


def _fraction(amount: str) -> float:
    try:
        return float(amount)
    except ValueError:
        return np.nan
