"""A registered classifier and labelled images: what `evaluate` and `export` begin with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hemacell.config.jobs import EvaluateSettings, ExportSettings
from hemacell.core.errors import UserError
from hemacell.data.manifest import Manifest
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.labelled import labelled_images
from hemacell.data.subsets import limit
from hemacell.jobs.context import RunContext
from hemacell.jobs.images import decode_cells, log_images, log_site, report_unreadable
from hemacell.tracking.registry.classifiers import classes_of, find_classifier
from hemacell.tracking.registry.lookup import RegisteredModel, fetch
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import MODEL_DATA_KIND

if TYPE_CHECKING:
    from hemacell.classifiers.model import ClassifierModel
    from hemacell.framing.decoding import FramedImages

Job = RunContext[EvaluateSettings] | RunContext[ExportSettings]


@dataclass(frozen=True)
class Labelled:
    """A registered classifier, and images with labels that it knows."""

    model: RegisteredModel
    folder: Path
    """The classifier's own files, fetched."""
    images: Manifest


def find_labelled(job: Job, split: str = "test") -> Labelled:
    """Look up the classifier and the images that the settings name; loads neither.

    Raises:
        UserError: there is no such classifier, or no images with labels that it knows.
    """
    settings = job.settings
    site = settings.site if isinstance(settings, EvaluateSettings) else ""
    model = find_classifier(settings.model, job.source.kind, site)
    folder = fetch(model, job.cache)
    options = SourceOptions(settings.wbc_folder, classes=settings.classes, group=settings.group)
    images = labelled_images(job.source.root, classes_of(folder), split, options)
    return Labelled(model, folder, limit(images, settings.limit) if settings.limit else images)


def load_labelled(
    job: Job,
    run: Tracker,
    found: Labelled,
    context: str,
    precision: str = "float32",
    device: str = "cpu",
    crop: float | Literal["auto"] = "auto",
) -> tuple[ClassifierModel, FramedImages]:
    """Load the classifier, decode the images for it, and record both as inputs of the run.

    Args:
        job, run: the job and its open run.
        found: by `find_labelled`.
        context: what the images are used for.
        precision, device, crop: see `hemacell.classifiers.folder.load_folder`.

    Raises:
        UserError: no image can be read.
    """
    from hemacell.classifiers.folder import load_folder
    from hemacell.core.threads import set_threads

    set_threads(job.threads)
    run.model_inputs([found.model.uri], "classifier")
    run.tags({MODEL_DATA_KIND: found.model.data_kind})
    log_images(run, found.images, context)
    model = load_folder(found.folder, precision, device, crop)
    config = model.config
    cells = decode_cells(job, found.images, config.framing, config.decoded_size, site=model.site, known=config.site)
    report_unreadable(run, cells.decoded)
    if not len(cells.decoded):
        raise UserError(f"{found.images.root}: none of its {len(found.images)} images can be read; check the files")
    log_site(run, cells)
    return model.of_site(cells.site), cells
