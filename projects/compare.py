"""The comparison of runs that are there already, written again without training anything.

    mlflow run . -e compare -P study=RUN_ID                              # a study, or several as one grid: A,B
    mlflow run . -e compare -P runs=A,B                                  # two runs: one paired answer
    mlflow run . -e compare -P filter="params.fraction = '0.1'" -P output=DIR

The report, its figures and its table lie among the files of a run of its own.
"""

from __future__ import annotations

from hemacell.cli import main
from hemacell.config.jobs import CompareSettings


def run(settings: CompareSettings) -> str:
    """Compare; returns the id of the run that has the report."""
    from hemacell.tracking.runs import study
    from hemacell.tracking.runs.lifecycle import track
    from hemacell.tracking.runs.names import comparison
    from hemacell.tracking.store import get_client

    get_client()
    if settings.study:
        runs = [run for run_id in settings.study for run in study.runs_of_study(run_id)]
    elif settings.runs:
        runs = study.runs_with(settings.runs)
    else:
        runs = study.runs_by_filter(settings.filter)
    cells = study.read_runs(runs)
    if len(settings.runs) == 2:
        cells = study.two_runs(cells)
    with track(
        "compare",
        settings.canonical(),
        experiment=settings.experiment or "hemacell-study",
        run_name=settings.run_name or comparison([cell.arm for cell in cells]),
        tags=study.common_tags(cells),
    ) as parent:
        study.log_comparison(
            parent,
            cells,
            study.facts_of(parent.run_id, cells),
            baseline=settings.baseline,
            resamples=settings.resamples,
            permutations=settings.permutations,
            output=settings.output,
        )
    print(study.shown(parent.run_id))
    return parent.run_id


if __name__ == "__main__":
    main(CompareSettings, run)
