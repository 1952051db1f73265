"""The images of a cell classifier, and the key of its run: the same for `wbc` and for the plan of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hemacell.config.jobs import CellSettings, WbcSettings

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.jobs.context import RunContext
    from hemacell.tracking.registry.encoders import EncoderSpec
    from hemacell.tracking.registry.lookup import RegisteredModel


class Images(NamedTuple):
    """What is on disk; a study reads it once for all its runs."""

    everything: Manifest
    """The cells with their splits."""
    external: Manifest | None
    """Another laboratory's cells."""


def read_images(settings: CellSettings, root: Path) -> Images:
    """The cells with their splits, and the other laboratory's folder, as the settings name them.

    Raises:
        UserError: a folder is missing or holds no images.
    """
    from hemacell.data import splits
    from hemacell.data.sources.base import SourceOptions
    from hemacell.data.sources.class_folders import folder_manifest
    from hemacell.data.sources.resolve import read_manifest
    from hemacell.data.subsets import limit

    options = SourceOptions(settings.wbc_folder, settings.masks == "on", settings.mask_from)
    everything = splits.official_splits(read_manifest(root, "wbc", options))
    if settings.limit:
        everything = limit(everything, settings.limit)
    external = folder_manifest(Path(settings.external), everything.classes) if settings.external else None
    return Images(everything, external)


def draw_images(settings: WbcSettings, images: Images, root: Path) -> Manifest:
    """The images of one draw: a part of the training images, all others as they are."""
    from hemacell.data.subsets import draw

    amount = (
        {"labels_per_class": settings.labels_per_class}
        if settings.labels_per_class
        else {"fraction": settings.fraction}
    )
    return draw(images.everything, draw=settings.draw, root=root, wbc_folder=settings.wbc_folder, **amount)


def run_key(
    job: RunContext[WbcSettings],
    manifest: Manifest,
    external: Manifest | None,
    encoders: Sequence[EncoderSpec],
    start: RegisteredModel | None = None,
) -> str:
    """The digest of all that decides the result of a cell classifier.

    Args:
        job: the job and its settings.
        manifest: the images of the draw.
        external: another laboratory's images.
        encoders: all of them registered or built in.
        start: the classifier that the training starts from.
    """
    from hemacell.classifiers.methods import method_digest
    from hemacell.data.masks import masks_digest

    inputs = {spec.slug: spec.identity for spec in encoders}
    inputs |= {"data": manifest.digest, "masks": masks_digest(manifest.part("test"))}
    inputs["method"] = method_digest(job.settings.method)
    if external is not None:
        inputs |= {"external": external.digest, "external masks": masks_digest(external)}
    return job.key(inputs | {"init_from": start.model_id if start else ""})
