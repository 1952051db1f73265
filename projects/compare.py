"""The comparison of runs that are there already, written again without training anything.

    mlflow run . -e compare -P study=RUN_ID                              # a study, or several as one grid: A,B
    mlflow run . -e compare -P runs=A,B                                  # two runs: one paired comparison
    mlflow run . -e compare -P filter="params.fraction = '0.1'" -P output=DIR

The report, its figures and its table lie among the files of a run of its own.
"""

from __future__ import annotations

from hemacell.cli import main
from hemacell.config.jobs import CompareSettings


def run(settings: CompareSettings) -> str:
    """Compare; returns the id of the run that has the report."""
    from hemacell.config.run_names import comparison
    from hemacell.core.logging import configure_logging
    from hemacell.evaluation.comparison.logged import as_two_arms, data_kinds
    from hemacell.jobs.comparison import log_comparison, summary
    from hemacell.tracking.runs.lifecycle import track
    from hemacell.tracking.runs.search import read_runs, records_of_study, runs_by_filter, runs_with
    from hemacell.tracking.schema import DATA_KIND

    configure_logging()
    if settings.study:
        records = [record for run_id in settings.study for record in records_of_study(run_id)]
    elif settings.runs:
        records = read_runs(runs_with(settings.runs))
    else:
        records = read_runs(runs_by_filter(settings.filter))
    if len(settings.runs) == 2:
        records = as_two_arms(records)

    with track(
        "compare",
        settings.canonical(),
        experiment=settings.experiment or "hemacell-study",
        run_name=settings.run_name or comparison([record.arm for record in records]),
        tags={DATA_KIND: data_kinds(records)},
    ) as parent:
        log_comparison(
            parent,
            records,
            baseline=settings.baseline,
            resamples=settings.resamples,
            permutations=settings.permutations,
            output=settings.output,
        )
    print(summary(parent.run_id))
    return parent.run_id


if __name__ == "__main__":
    main(CompareSettings, run)
