"""How long a report takes: reading runs from MLflow, comparing them, drawing and writing.

    python benchmarks/report.py --study RUN_ID[,RUN_ID] [--runs 200]

The runs of a smaller study are compared several times over, each time as further draws.
"""

import argparse
import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from hemacell.evaluation.comparison.compare import compare
from hemacell.evaluation.comparison.grid import splits_of
from hemacell.evaluation.comparison.table import results_table
from hemacell.reporting.study_facts import study_facts
from hemacell.reporting.study_report import write_report
from hemacell.tracking.runs.search import records_of_study


def main() -> None:
    """Measure each step once and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", required=True)
    parser.add_argument("--runs", type=int, default=200)
    asked = parser.parse_args()
    started = time.perf_counter()
    records = [record for run_id in asked.study.split(",") for record in records_of_study(run_id)]
    read = time.perf_counter()
    repeated = itertools.islice(itertools.cycle(records), asked.runs)
    many = [replace(each, draw=each.draw + 1000 * (number // len(records))) for number, each in enumerate(repeated)]
    splits = splits_of(many, least=len(many))
    comparisons = [compare(many, split=split) for split in splits]
    compared = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        files = write_report(Path(folder), comparisons, many, study_facts("", many), results_table(many))
        size = sum(file.stat().st_size for file in files) / 2**20
    written = time.perf_counter()
    print(
        f"{len(records)} runs read in {read - started:.1f} s; {len(many)} runs, {comparisons[0].images} test images, "
        f"{' and '.join(splits)}: compared in {compared - read:.1f} s, drawn and written in {written - compared:.1f} s "
        f"({size:.1f} MiB)"
    )


if __name__ == "__main__":
    main()
