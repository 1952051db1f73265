"""How long a report takes: reading runs from MLflow, comparing them, drawing and writing.

    python benchmarks/report.py --study RUN_ID[,RUN_ID] [--runs 200]

A study with fewer runs is read several times over, each time as further draws: the work is that of so many runs.
"""

import argparse
import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from hemacell.evaluation.comparison.compare import compare
from hemacell.evaluation.comparison.table import results_table
from hemacell.reporting.study_report import write_report
from hemacell.tracking.runs.study import facts_of, read_runs, runs_of_study


def main() -> None:
    """Measure each step once and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", required=True)
    parser.add_argument("--runs", type=int, default=200)
    asked = parser.parse_args()
    runs = [run for run_id in asked.study.split(",") for run in runs_of_study(run_id)]
    many = list(itertools.islice(itertools.cycle(runs), asked.runs))

    started = time.perf_counter()
    cells = [
        replace(cell, draw=cell.draw + 1000 * (number // len(runs))) for number, cell in enumerate(read_runs(many))
    ]
    read = time.perf_counter()
    splits = ("test", "external") if all(cell.external for cell in cells) else ("test",)
    comparisons = [compare(cells, split=split) for split in splits]
    compared = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        files = write_report(Path(folder), comparisons, cells, facts_of("", cells), results_table(cells))
        size = sum(file.stat().st_size for file in files) / 2**20
    written = time.perf_counter()
    print(
        f"{len(cells)} runs ({len(runs)} different), {comparisons[0].images} test images, {' and '.join(splits)}: "
        f"read {read - started:.1f} s, compared {compared - read:.1f} s, drawn and written {written - compared:.1f} s "
        f"({size:.1f} MiB), together {written - started:.1f} s"
    )


if __name__ == "__main__":
    main()
