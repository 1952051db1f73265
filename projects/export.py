"""A registered classifier as an ONNX file, for onnxruntime: checked against the classifier, and registered beside it.

    mlflow run . -e export -P model=models:/hemacell-wbc@champion
    mlflow run . -e export -P model=models:/hemacell-wbc/3 -P output=cells.onnx -P data=DIR

It needs `pip install -e ".[onnx]"`. The images in DIR, or drawn ones, are answered by both; where the answers differ,
nothing is registered.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hemacell.cli import main
from hemacell.config.jobs import ExportSettings
from hemacell.tracking.schema import EXPORT_CHECK, MODEL_DATA_KIND

if TYPE_CHECKING:
    from pathlib import Path

    from hemacell.data.manifest import Manifest
    from hemacell.jobs.context import RunContext
    from hemacell.tracking.registry.lookup import RegisteredModel
    from hemacell.tracking.runs.tracker import Tracker

logger = logging.getLogger(__name__)

_TIMED, _ROUNDS = 32, 3  # images, and how often: a first idea of the speed, benchmarks/export.py measures


def run(settings: ExportSettings) -> str:
    """Export, check, log and register; returns the id of the run that holds the result."""
    from hemacell.classifiers.onnx_file import SUFFIXES, require_onnx
    from hemacell.prediction.output import check_output

    require_onnx()
    output = check_output(settings.output, SUFFIXES) if settings.output else None

    from hemacell.data.sources.labelled import labelled_images
    from hemacell.data.subsets import limit
    from hemacell.jobs.context import start_job
    from hemacell.tracking.registry.classifiers import classes_of, find_classifier
    from hemacell.tracking.registry.lookup import fetch
    from hemacell.tracking.registry.onnx_exports import (
        ONNX_DIGEST,
        check_free,
        export_of_run,
        follow_aliases,
        write_onnx,
    )

    job = start_job("export", settings)
    model = find_classifier(settings.model, job.source.kind)
    folder = fetch(model, job.cache)
    images = labelled_images(job.source.root, classes_of(folder), settings.wbc_folder)
    if settings.limit:
        images = limit(images, settings.limit)
    key = job.key({"model": model.model_id, "data": images.digest})
    run_id = job.finished(key)
    if output:
        check_free(output, export_of_run(run_id).tags[ONNX_DIGEST] if run_id else "", settings.force)
    if not run_id:
        with job.open(images, key) as opened:
            run_id = opened.run_id
            _export(job, opened, model, folder, images)
    export = export_of_run(run_id)
    aliases = follow_aliases(model, export)
    if output:
        write_onnx(export, output)
    named = "".join(f", {export.name}@{alias}" for alias in aliases)
    logger.info(f"export: {export.uri}{named}{f'; {output}' if output else ''}; run {run_id}")
    return run_id


def _export(
    job: RunContext[ExportSettings], run: Tracker, model: RegisteredModel, folder: Path, images: Manifest
) -> None:
    import tempfile
    from dataclasses import asdict
    from pathlib import Path

    from hemacell.classifiers.folder import load_folder
    from hemacell.classifiers.onnx_file import OnnxClassifier, difference, export_onnx, images_per_second
    from hemacell.core.errors import UserError
    from hemacell.core.progress import Progress
    from hemacell.core.threads import set_threads
    from hemacell.data import decoding
    from hemacell.jobs.data_checks import report_unreadable
    from hemacell.tracking.registry.onnx_exports import register_onnx

    settings = job.settings
    set_threads(job.threads)
    run.model_inputs([model.uri], "classifier")
    run.data_input(images.digest32, images.name, str(job.source.root), images.counts(), "check")
    run.tags({MODEL_DATA_KIND: model.data_kind})

    predictor = load_folder(folder)
    cells = decoding.decode(
        images, predictor.config.decoded_size, job.cache, settings.max_bad, progress=Progress("decoding")
    )
    report_unreadable(run, cells.bad)
    if not len(cells):
        raise UserError(f"{images.root}: none of its {len(images)} images can be read; mend them")
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        logger.info(f"export: writing {model.uri} as ONNX")
        export_onnx(predictor, file, {"model": model.uri})
        exported = OnnxClassifier(file, job.threads)
        pixels = cells.array
        logger.info(f"export: checking it on {len(pixels)} images")
        apart = difference(predictor.predict_pixels(pixels), exported.predict_pixels(pixels))
        run.metrics({"max_difference": apart.probability, "max_distance_difference": apart.distance})
        if not apart.is_small:
            raise UserError(f"the export of {model.uri} is not registered: it answers otherwise; {apart.in_words()}")
        both = {"torch": predictor.predict_pixels, "onnx": exported.predict_pixels}
        rates = images_per_second(both, pixels[:_TIMED], _ROUNDS)
        size = file.stat().st_size / 2**20
        run.metrics({f"images_per_second/{name}": rate for name, rate in rates.items()} | {"size_mb": size})
        run.json({"model": model.uri, **asdict(apart), "images_per_second": rates, "size_mb": size}, EXPORT_CHECK)
        register_onnx(file, model, predictor.config, run, apart.in_words())
    logger.info(
        f"export: {apart.in_words()}; {rates['onnx']:.1f} images/s, {rates['torch']:.1f} with torch; {size:.1f} MiB"
    )


if __name__ == "__main__":
    main(ExportSettings, run)
