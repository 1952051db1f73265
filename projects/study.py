"""Every arm on every amount of labels and every draw, then one comparison: does pretraining help, and how sure is it?

    mlflow run . -e study -P data=DIR -P "arms=none;imagenet;prcc,camelyon" -P draws=5 -P workers=2
    mlflow run . -e study -P data=DIR -P "arms=none; slow: encoders=none, learning_rate=0.001" -P dry_run=true

Each run of the grid is a run of `wbc` under the study's own run. All arms of a draw see the same images and make the
same number of steps. A run that was computed before, in any study, is not computed again, so that the same command
continues where it was stopped. With `step_budget=study` a run takes one to five minutes on two cores.
"""

from __future__ import annotations

from hemacell.cli import main
from hemacell.config.jobs import StudySettings


def run(settings: StudySettings) -> str:
    """Compute the runs that are missing, and compare; returns the id of the study's run, '' for a dry run."""
    from hemacell.jobs import study as jobs
    from hemacell.jobs.comparison import log_comparison, summary
    from hemacell.jobs.pretraining import check_pretraining, pretrain
    from hemacell.jobs.study_overview import overview
    from hemacell.jobs.study_workers import compute
    from hemacell.tracking.runs.search import records_of_study
    from hemacell.tracking.schema import KEY
    from projects import wbc

    job = jobs.start_study(settings)
    study = jobs.plan(job)
    check_pretraining(job, study.missing)
    if settings.dry_run:
        print(overview(study))
        return ""
    if study.key and (done := job.finished(study.key)):
        print(summary(done))
        return done

    study = jobs.resume_stopped(study)
    with study.job.open(study.images.everything, study.key) as parent:
        jobs.record_images(study, parent)
        if study.missing:
            study = jobs.plan(job, pretrain(job, study.missing))
            parent.tags({KEY: study.key})
        jobs.decode_images(study, parent)
        computed = compute(study, parent, wbc.run)
        log_comparison(parent, records_of_study(parent.run_id), baseline=job.settings.baseline)
        computed.check()
    print(summary(parent.run_id))
    return parent.run_id


if __name__ == "__main__":
    main(StudySettings, run)
