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
from hemacell.tracking.schema import KEY

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.jobs.context import RunContext
    from hemacell.jobs.wbc_inputs import CellInputs, Images
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)


def run(settings: WbcSettings, images: Images | None = None) -> str:
    """Train, test, log and register; returns the id of the run that holds the result."""
    from hemacell.classifiers.methods import METHODS
    from hemacell.jobs.context import start_job
    from hemacell.jobs.pretraining import check_pretraining, pretrain
    from hemacell.jobs.wbc_inputs import draw_images, find_inputs
    from hemacell.tracking.runs.existing import encoders_of

    job = start_job("wbc", settings)
    settings = job.settings
    inputs = find_inputs(job, images, encoders_of(settings.resume))
    check_pretraining(job, inputs.missing)
    manifest = draw_images(settings, inputs.images, job.source.root)
    key = inputs.key(job, manifest)
    if key and (done := job.finished(key)):
        return done
    METHODS[settings.method].check(settings)
    with job.open(manifest, key, fraction="" if settings.labels_per_class else settings.fraction) as run:
        if inputs.missing:
            inputs = find_inputs(job, inputs.images, pretrain(job, inputs.missing))
            run.tags({KEY: inputs.key(job, manifest)})
        return _train(job, run, inputs, manifest)


def _train(job: RunContext[WbcSettings], run: Tracker, inputs: CellInputs, manifest: Manifest) -> str:
    from hemacell.evaluation.groups import units_in_a_sentence
    from hemacell.jobs import classifier as steps
    from hemacell.jobs.training import set_up
    from hemacell.reporting.tables import score_table

    device = set_up(job)
    loaded = steps.load_cells(job, run, inputs.images, manifest)
    cells = steps.embed_cells(job, run, loaded, inputs.encoders, device)
    fitted = steps.fit_method(job, run, cells, inputs.start, device)
    found, val_scores = steps.calibrate_on_val(job, run, cells, fitted, device)
    tested = steps.evaluate_once(job, run, cells, found.model, inputs.images.external, fitted.steps)
    steps.register_classifier(job, run, cells, inputs.encoders, found, val_scores["macro_f1"], tested, fitted.steps)
    job.cleanup(run)

    print(score_table(list(tested.scores().items()), ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece"]))
    logger.info(f"wbc: {found.model.config.calibration_in_words()}")
    if tested.test.selective is not None:
        logger.info(f"wbc: on test {tested.test.selective.in_words()}")
    logger.info(f"wbc: {units_in_a_sentence(tested.test.groups)}")
    logger.info(f"wbc: {len(cells.parts['train'])} training images, method {job.settings.method}; run {run.run_id}")
    return run.run_id


if __name__ == "__main__":
    main(WbcSettings, run)
