"""The classifier of five white blood cells: trained on a share of the labels, with frozen encoders or without.

    mlflow run . -e wbc -P fraction=0.5 -P data=DIR
    mlflow run . -e wbc -P fraction=0.01 -P encoders=none -P draw=3 -P data=DIR

An encoder that is not registered yet is pretrained first, as a child run. Every arm of one draw sees the same images
and makes the same number of steps; `benchmarks/accuracy.py` prints the scores to expect.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hemacell.cli import main
from hemacell.config.jobs import WbcSettings

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.jobs.context import RunContext
    from hemacell.jobs.wbc_inputs import Images
    from hemacell.tracking.registry.encoders import EncoderSpec
    from hemacell.tracking.registry.lookup import RegisteredModel
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)


def run(settings: WbcSettings, images: Images | None = None) -> str:
    """Train, test, log and register; returns the id of the run that holds the result."""
    from hemacell.classifiers.methods import METHODS
    from hemacell.jobs.context import start_job
    from hemacell.jobs.pretraining import check_pretraining, missing_encoders, pretrain
    from hemacell.jobs.wbc_inputs import draw_images, read_images, run_key
    from hemacell.tracking.registry.encoders import resolve_encoders
    from hemacell.tracking.registry.lookup import resolve
    from hemacell.tracking.runs.existing import encoders_of
    from hemacell.tracking.schema import KEY

    job = start_job("wbc", settings)
    settings = job.settings
    start = resolve(settings.init_from, job.source.kind) if settings.init_from else None
    used = encoders_of(settings.resume)
    encoders = resolve_encoders(settings.encoders, job.source.kind, job.cache, settings.seed, used)
    missing = missing_encoders(encoders)
    check_pretraining(job, missing)
    images = images or read_images(settings, job.source.root)
    manifest = draw_images(settings, images, job.source.root)

    key = "" if missing else run_key(job, manifest, images.external, encoders, start)
    done = job.finished(key) if key else None
    if done:
        return done
    METHODS[settings.method].check(settings)
    with job.open(manifest, key, fraction="" if settings.labels_per_class else settings.fraction) as run:
        if missing:
            used = pretrain(job, missing)
            encoders = resolve_encoders(settings.encoders, job.source.kind, job.cache, settings.seed, used)
            run.tags({KEY: run_key(job, manifest, images.external, encoders, start)})
        return _train(job, run, encoders, start, manifest, images)


def _train(
    job: RunContext[WbcSettings],
    run: Tracker,
    specs: list[EncoderSpec],
    start: RegisteredModel | None,
    manifest: Manifest,
    images: Images,
) -> str:
    from hemacell.classifiers.methods import METHODS
    from hemacell.core.threads import set_threads
    from hemacell.jobs import classifier as steps
    from hemacell.reporting.tables import score_table

    set_threads(job.threads)
    method = METHODS[job.settings.method]

    cells = steps.load_cells(job, run, images.everything, manifest)
    encoders = steps.frozen_encoders(job, run, specs, start)
    embedded = steps.embed_cells(job, cells, encoders, method)
    slugs = [spec.slug for spec in specs]
    fitted = steps.fit_method(job, run, method, cells, embedded, encoders, slugs, start)
    found, val_scores = steps.calibrate_on_val(job, run, cells, embedded, encoders, fitted)
    tested = steps.evaluate_once(job, run, cells, embedded, found.model, images.external, fitted.steps)
    steps.register_classifier(job, run, cells, specs, found, val_scores["macro_f1"], tested, fitted.steps)

    job.cleanup(run)
    print(score_table(list(tested.scores().items()), ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece"]))
    logger.info(f"wbc: {found.model.config.calibration_in_words()}")
    if tested.test.selective is not None:
        logger.info(f"wbc: on test {tested.test.selective.in_words()}")
    logger.info(f"wbc: {len(cells.parts['train'])} training images, method {method.name}; run {run.run_id}")
    return run.run_id


if __name__ == "__main__":
    main(WbcSettings, run)
