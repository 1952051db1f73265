"""A registered classifier as an ONNX file, for onnxruntime: checked against the classifier, and registered.

    mlflow run . -e export -P model=models:/hemacell-wbc@champion
    mlflow run . -e export -P model=models:/hemacell-wbc/3 -P output=cells.onnx -P data=DIR

It needs `pip install -e ".[onnx]"`. Both predict images of DIR, or drawn ones; if they differ, nothing is registered.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.cli import main
from hemacell.config.jobs import ExportSettings
from hemacell.tracking.schema import EXPORT_CHECK

if TYPE_CHECKING:
    from hemacell.jobs.context import RunContext
    from hemacell.jobs.labelled import Labelled
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)


def run(settings: ExportSettings) -> str:
    """Export, check, log and register; returns the id of the run that holds the result."""
    from hemacell.classifiers.onnx_file import SUFFIXES, check_exportable, require_onnx
    from hemacell.prediction.output import check_output

    require_onnx()
    from hemacell.jobs.context import start_job
    from hemacell.jobs.labelled import find_labelled
    from hemacell.tracking.registry import onnx_exports

    output = check_output(settings.output, SUFFIXES) if settings.output else None
    job = start_job("export", settings)
    found = find_labelled(job)
    check_exportable(found.folder)
    key = job.key({"model": found.model.model_id, "data": found.images.digest})
    run_id = job.finished(key)
    if output:
        digest = onnx_exports.export_of_run(run_id).tags[onnx_exports.ONNX_DIGEST] if run_id else ""
        onnx_exports.check_free(output, digest, settings.force)
    if not run_id:
        with job.open(found.images, key) as opened:
            run_id = opened.run_id
            _export(job, opened, found)
    export = onnx_exports.export_of_run(run_id)
    named = "".join(f", {export.name}@{alias}" for alias in onnx_exports.follow_aliases(found.model, export))
    if output:
        onnx_exports.write_onnx(export, output)
        named += f"; {output}"
    logger.info(f"export: {export.uri}{named}; run {run_id}")
    return run_id


def _export(job: RunContext[ExportSettings], run: Tracker, labelled: Labelled) -> None:
    from hemacell.classifiers.onnx_file import OnnxClassifier, difference, export_onnx, images_per_second
    from hemacell.core.errors import UserError
    from hemacell.jobs.labelled import load_labelled
    from hemacell.tracking.registry.onnx_exports import register_onnx

    source = labelled.model
    model, images = load_labelled(job, run, labelled, "check")
    pixels = images.decoded.array
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        logger.info(f"export: writing {source.uri} as ONNX, and checking it on {len(pixels)} images")
        export_onnx(model, file, {"model": source.uri})
        exported = OnnxClassifier(file, job.threads)
        apart = difference(model.predict_pixels(pixels), exported.predict_pixels(pixels))
        run.metrics({"max_difference": apart.probability, "max_distance_difference": apart.distance})
        if not apart.is_small:
            raise UserError(f"the export of {source.uri} is not registered: it predicts otherwise; {apart.in_words()}")
        both = {"torch": model.predict_pixels, "onnx": exported.predict_pixels}
        rates = images_per_second(both, pixels[:32], rounds=3)  # a first idea; benchmarks/export.py measures
        size = file.stat().st_size / 2**20
        run.metrics({"size_mb": size, **{f"images_per_second/{name}": rate for name, rate in rates.items()}})
        run.json({"model": source.uri, **asdict(apart), "images_per_second": rates, "size_mb": size}, EXPORT_CHECK)
        register_onnx(file, source, model.config, run, apart.in_words())
    speed = f"{rates['onnx']:.1f} images/s, {rates['torch']:.1f} with torch"
    logger.info(f"export: {apart.in_words()}; {speed}; {size:.1f} MiB")


if __name__ == "__main__":
    main(ExportSettings, run)
