"""What a cell classifier is made of, and the key of its run: the same for `wbc` and for the plan of a study."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hemacell.config.jobs import CellSettings, WbcSettings
from hemacell.config.roles import Role
from hemacell.core.errors import UserError

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest
    from hemacell.data.sources.base import SourceOptions
    from hemacell.jobs.context import RunContext
    from hemacell.tracking.registry.encoders import EncoderSpec
    from hemacell.tracking.registry.lookup import RegisteredModel

logger = logging.getLogger(__name__)


class Images(NamedTuple):
    """What is on disk; a study reads it once for all its runs."""

    everything: Manifest
    """The cells with their splits; with `folds`, not divided yet."""
    external: Mapping[str, Manifest]
    """Name of each other laboratory -> its cells."""
    kept: Manifest
    """The cells without those that `drop` leaves out."""


@dataclass(frozen=True)
class CellInputs:
    """Images and models, without those of a draw."""

    images: Images
    encoders: Sequence[EncoderSpec]
    start: RegisteredModel | None
    """The classifier that the training starts from."""

    @property
    def missing(self) -> list[EncoderSpec]:
        """The encoders that must be pretrained first."""
        return [spec for spec in self.encoders if spec.missing]

    def key(self, job: RunContext[WbcSettings], manifest: Manifest) -> str:
        """The digest of all that decides a run's result; '' while encoders are missing.

        Args:
            job: the job and its settings.
            manifest: the images of the draw.
        """
        from hemacell.classifiers.methods import method_digest
        from hemacell.data.groups import groups_digest
        from hemacell.data.masks import masks_digest
        from hemacell.evaluation.laboratories import split_of

        if self.missing:
            return ""
        inputs = {spec.slug: replace(spec, seed=job.settings.seed).identity for spec in self.encoders}
        inputs |= {"data": manifest.digest, "masks": masks_digest(manifest.part("test"))}
        inputs |= {"method": method_digest(job.settings.method), "groups": groups_digest(manifest)}
        for name, other in self.images.external.items():
            split = split_of(name)
            inputs |= {split: other.digest, f"{split} masks": masks_digest(other)}
            inputs[f"{split} groups"] = groups_digest(other)
        return job.key(inputs | {"init_from": self.start.model_id if self.start else ""})


def find_inputs(
    job: RunContext[WbcSettings], images: Images | None = None, used: Mapping[str, str] | None = None
) -> CellInputs:
    """Look up what the settings of a cell classifier name; loads no network and decodes no image.

    Args:
        job: the job.
        images: where they have been read already.
        used: encoder -> address of the version to take.

    Raises:
        UserError: an unknown encoder, classifier or folder.
    """
    from hemacell.tracking.registry.encoders import resolve_encoders
    from hemacell.tracking.registry.lookup import resolve

    settings, kind = job.settings, job.source.kind
    start = resolve(settings.init_from, kind) if settings.init_from else None
    encoders = resolve_encoders(settings.encoders, kind, job.cache, settings.seed, used)
    return CellInputs(images or read_images(settings, job.source.root), encoders, start)


def read_images(settings: CellSettings, root: Path) -> Images:
    """The cells with their splits, and those of other laboratories, as the settings name them.

    Raises:
        UserError: a folder is missing or holds no images.
    """
    from hemacell.data.corrections import corrected
    from hemacell.data.folds import pooled
    from hemacell.data.sources.base import SourceOptions
    from hemacell.data.sources.resolve import read_manifest
    from hemacell.data.splits import official_splits
    from hemacell.data.subsets import limit
    from hemacell.jobs.copies import without_duplicates

    named = SourceOptions(classes=settings.classes, group=settings.group)
    options = replace(named, wbc_folder=settings.wbc_folder, masks=settings.masks == "on", mask_from=settings.mask_from)
    found = read_manifest(root, "wbc", options)
    everything = pooled(found, settings.folds) if settings.folds else official_splits(found)
    corrections = None
    if settings.labels:
        corrections = corrected(everything, Path(settings.labels).expanduser())
        logger.info("; ".join(corrections.account.notes[len(everything.account.notes) :]))
        if not settings.folds:
            everything, corrections = corrections, None
    if settings.limit:
        everything = limit(everything, settings.limit)
    kept = without_duplicates(settings, everything, corrections) if settings.drop == "duplicates" else everything
    return Images(everything, _read_laboratories(settings, everything.classes, named), kept)


def _read_laboratories(settings: CellSettings, classes: Sequence[str], options: SourceOptions) -> dict[str, Manifest]:
    from hemacell.data.sources.labelled import ALL, labelled_images

    found = {}
    for name, folder in settings.laboratories.items():
        root = Path(folder).expanduser()
        whole = Path(f"{name}:{folder}")
        if whole.exists() and not root.exists():
            raise UserError(
                f"external: expected a folder after the name {name}, found none at {folder}; for the folder {whole} "
                f"type external=NAME:{whole}"
            )
        try:
            found[name] = labelled_images(root, classes, ALL, options)
        except UserError as error:
            raise UserError(f"external: {name}: {error}") from error
    return found


def divided_images(settings: WbcSettings, images: Images) -> Manifest:
    """The cells that are kept in train, val and test: those of the fold that the draw is, where there are folds.

    Raises:
        UserError: there is no such fold.
    """
    from hemacell.data.corrections import corrected
    from hemacell.data.folds import with_fold

    if not settings.folds:
        return images.kept
    assert settings.draw != "official"  # refused by the settings
    divided = with_fold(images.kept, settings.folds, settings.draw)
    # Only now it is known which images are learnt from.
    return corrected(divided, Path(settings.labels).expanduser(), all_there=False) if settings.labels else divided


def draw_images(settings: WbcSettings, images: Images, root: Path) -> Manifest:
    """The images of one draw: a part of the training images, all others as they are."""
    from hemacell.data.subsets import draw

    amount = (
        {"labels_per_class": settings.labels_per_class}
        if settings.labels_per_class
        else {"fraction": settings.fraction}
    )
    return draw(
        divided_images(settings, images), draw=settings.draw, root=root, wbc_folder=settings.wbc_folder, **amount
    )


def image_settings(settings: CellSettings) -> tuple[str, ...]:
    """What decides which images there are: where it is equal, they are read once."""
    return tuple(settings.texts(Role.IMAGES, Role.RESOLVED).values())
