"""The comparison of runs, logged as report, figures, table and metrics to a run of its own or of a study."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.core.errors import UserError, in_one_line
from hemacell.core.text import slug
from hemacell.tracking.runs.existing import read_file
from hemacell.tracking.schema import ANSWER

if TYPE_CHECKING:
    from hemacell.evaluation.comparison.records import RunRecord
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)


def log_comparison(
    run: Tracker,
    records: Sequence[RunRecord],
    *,
    baseline: str = "",
    resamples: int = 2000,
    permutations: int = 5000,
    output: str = "",
) -> None:
    """Compare runs, and log report, figures, table and the mean of every arm and amount.

    Args:
        run: the open run.
        records: what is compared.
        baseline: the arm that the others are compared with; '' for `none`, or the first arm where there is no `none`.
        resamples, permutations: of the bootstrap and of the permutation test.
        output: a folder that the report is written to as well.

    Raises:
        UserError: the runs cannot be compared, or the folder cannot be written.
    """
    from hemacell.evaluation.comparison.compare import compare
    from hemacell.evaluation.comparison.grid import splits_of
    from hemacell.evaluation.comparison.table import results_table
    from hemacell.evaluation.metrics import study_metrics
    from hemacell.reporting.study_answer import answer
    from hemacell.reporting.study_facts import study_facts
    from hemacell.reporting.study_report import write_report

    chosen = _baseline(records, baseline)
    splits = splits_of(records, least=len(records))
    for split in splits_of(records):
        if split not in splits:
            lacking = sum(split not in record.external for record in records)
            logger.warning(f"{split} is not compared: {lacking} of {len(records)} runs have no predictions on it")
    comparisons = [
        compare(records, baseline=chosen, split=split, resamples=resamples, permutations=permutations)
        for split in splits
    ]
    facts, table = study_facts(run.run_id, records), results_table(records)
    with tempfile.TemporaryDirectory() as scratch:
        write_report(Path(scratch), comparisons, records, facts, table)
        run.artifacts(Path(scratch))
        if output:
            _copy(Path(scratch), Path(output).expanduser())
    lines = [*answer(comparisons[0]), *(f"warning: {line}" for line in comparisons[0].warnings)]
    run.summary = "\n\n".join(lines)
    run.text("\n".join(lines), ANSWER)
    means = {
        f"{score.metric}/{slug(score.arm)}/{slug(score.amount)}": score.mean
        for score in comparisons[0].scores
        if score.metric in study_metrics()
    }
    run.metrics(means)


def _baseline(records: Sequence[RunRecord], asked: str) -> str:
    arms = list(dict.fromkeys(record.arm for record in records))
    chosen = asked or ("none" if "none" in arms else arms[0])
    if chosen not in arms:
        raise UserError(f"baseline={chosen}: expected one of the arms ({'; '.join(arms)})")
    return chosen


def summary(run_id: str) -> str:
    """For the screen: the result in words that a study or a comparison has logged, and where the report is."""
    return f"\n{read_file(run_id, ANSWER).strip()}\n\nreport.html and report.md are among the files of run {run_id}"


def _copy(folder: Path, target: Path) -> None:
    try:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            copy = target / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)  # not the modes: those of a temporary folder are for its owner alone
    except OSError as error:
        raise UserError(f"output={target}: cannot be written ({error.strerror or in_one_line(error)})") from error
