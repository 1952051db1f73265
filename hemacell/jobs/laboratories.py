"""Training cells shown in synthetic laboratories too, for a classifier that is of use in other laboratories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hemacell.classifiers.cells import CellImages, with_laboratories
from hemacell.core.progress import Progress
from hemacell.data.stacked import Pixels, StackedPixels
from hemacell.encoders.embeddings import StoredViews, embed
from hemacell.framing.description import as_trained, framing_of
from hemacell.framing.synthetic_cells import synthetic_cells

if TYPE_CHECKING:
    from hemacell.config.jobs import WbcSettings
    from hemacell.data.manifest import Manifest
    from hemacell.encoders.frozen import FrozenEncoder
    from hemacell.framing.decoding import FramedImages
    from hemacell.jobs.context import RunContext


def in_synthetic_laboratories(
    job: RunContext[WbcSettings],
    pictures: FramedImages,
    part: Manifest,
    train: CellImages,
    encoders: Sequence[FrozenEncoder],
) -> tuple[CellImages, Pixels]:
    """The training cells, followed by the same in synthetic laboratories; and the pixels that hold both.

    Args:
        job: its settings say how many laboratories.
        pictures: all images of the run.
        part: the training images, masked copies included, which are not shown elsewhere.
        train: the same with their embeddings.
        encoders: the frozen encoders.

    Raises:
        UserError: the disk is full.
    """
    settings, own = job.settings, pictures.decoded.array
    framing = as_trained(framing_of(settings), pictures.site)
    if framing is None or not settings.synthetic_laboratories:
        return train, own
    originals = np.flatnonzero(part.table["source"] == "original")
    others = synthetic_cells(
        pictures,
        train.rows[originals],
        train.labels[originals],
        settings.synthetic_laboratories,
        settings.synthetic_images,
        framing,
        job.cache,
        Progress("synthetic laboratories", "laboratories"),
    )
    embeddings = [
        embed(
            encoder,
            others.pixels,
            np.arange(len(others)),
            others.digests,
            StoredViews(1, augmented=False),
            job.cache,
            settings.precision,
            Progress("embedding cells in synthetic laboratories", "views"),
        )[:, 0]
        for encoder in encoders
    ]
    labels = train.labels[originals][others.sources]
    both = with_laboratories(train, labels, others.laboratories, embeddings, len(own))
    return both, StackedPixels(own, others.pixels)
