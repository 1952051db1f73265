"""The images of a job: decoded, recorded with its run, and what is wrong with them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hemacell.core.progress import Progress
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import BAD_IMAGES, CHANNEL_STAT, SITE, SKIPPED

if TYPE_CHECKING:
    import numpy as np

    from hemacell.data.decoding import Decoded
    from hemacell.data.manifest import Manifest
    from hemacell.framing.decoding import FramedImages
    from hemacell.framing.description import Framing, Site
    from hemacell.jobs.context import RunContext

logger = logging.getLogger(__name__)


class Decodes(Protocol):
    """What is needed of a job that decodes images."""

    @property
    def cache(self) -> Path: ...

    @property
    def settings(self) -> Any: ...


def decode(job: Decodes, manifest: Manifest, size: int) -> Decoded:
    """`hemacell.data.decoding.decode` with the settings and the cache of a job, and with progress."""
    from hemacell.data.decoding import decode

    return decode(manifest, size, job.cache, job.settings.max_bad, progress=Progress("decoding"))


def decode_cells(
    job: Decodes,
    manifest: Manifest,
    framing: Framing | None,
    size: int,
    *,
    site: Site | None = None,
    known: Site | None = None,
    of: Manifest | None = None,
) -> FramedImages:
    """Decode cells as a classifier sees them.

    Args:
        job: its settings and cache are used.
        manifest: the images.
        framing: how they are framed; None for their central squares.
        size: side of the pictures, in pixels.
        site: their laboratory; None estimates it.
        known: the laboratory of a training, which few images may be of; see `estimate_site`.
        of: those of the images whose nuclei give the scale; None for all.

    Raises:
        UserError: too many cannot be read, or no nucleus is found in any and no laboratory is known.
    """
    from hemacell.core.errors import UserError
    from hemacell.framing.decoding import FramedImages, decode_framed, measure_images
    from hemacell.framing.site import estimate_site

    if framing is None:
        decoded = decode(job, manifest, size)
        return FramedImages(decoded, decoded)
    small, found = measure_images(manifest, job.cache, job.settings.max_bad, Progress)
    if site is None:
        rows = range(len(small)) if of is None else small.rows(of.readable(small.manifest))
        try:
            site = estimate_site([found[row] for row in rows], known)
        except ValueError as error:
            raise UserError(
                f"{manifest.root}: no nucleus is found in any of the images, which gives them their scale: expected "
                "single stained cells; type crop=1.0 to use the whole images"
            ) from error
    return decode_framed(small, found, site, framing, size, job.cache, Progress("framing"))


def log_site(run: Tracker, images: FramedImages, what: str = "") -> None:
    """Say and tag at which scale images are seen, and warn where they have two or it is uncertain.

    Args:
        run: the open run.
        images: as `decode_cells` gives them.
        what: the images, such as `external/lisc`; '' for those of the run.
    """
    from hemacell.framing.site import two_scales

    if images.site is None:
        return
    run.tags({SITE.format(f".{what.replace('/', '.')}" if what else ""): images.site.in_words()})
    name = f"{what}: " if what else ""
    logger.info(f"{name}scale: {images.site.in_words()}")
    if remark := images.site.remark():
        logger.warning(f"{name}{remark}; give more images of this laboratory")
    if scales := two_scales(images.measured, images.site):
        small, large = map(images.site.size_in_words, scales)
        logger.warning(
            f"{name}the images have two scales, and one is used for all: nuclei are {small} wide in some, {large} in "
            "others; give the images of each microscope or magnification separately"
        )


def log_images(run: Tracker, manifest: Manifest, context: str) -> None:
    """Record images as an input of the run, and what was passed over next to them in `skipped.csv`.

    Args:
        run: to record with.
        manifest: the images.
        context: what they are used for, such as `training` or `external/lisc`.
    """
    run.data_input(manifest.digest32, manifest.name, str(manifest.root), manifest.counts(), context)
    if manifest.account.skipped:
        run.text(manifest.account.to_csv(), SKIPPED.format(_of_laboratory(context)))


def _of_laboratory(context: str) -> str:
    """What sets the names of a laboratory's files apart: `-external-lisc`; '' for a run's own images."""
    from hemacell.evaluation.laboratories import is_elsewhere

    return f"-{context.replace('/', '-')}" if is_elsewhere(context) else ""


def log_training_images(
    job: RunContext[Any], run: Tracker, manifest: Manifest, decoded: Decoded, train: np.ndarray
) -> None:
    """Record the images of a training, those that cannot be read, and the channels of those that it learns from.

    Args:
        job, run: the job and its open run.
        manifest: all images of the run.
        decoded: those of them that can be read, perhaps among others.
        train: positions in it of the training images.
    """
    log_images(run, manifest, "training")
    report_unreadable(run, decoded)
    if job.settings.channel_stats:
        _log_channel_stats(run, decoded.array[train])


def report_unreadable(run: Tracker, decoded: Decoded, context: str = "training") -> None:
    """Say how unusual files were read; warn of images that could not be, and log them with the reasons.

    Args:
        run: the open run.
        decoded: the images.
        context: as for `log_images`.
    """
    for note, count in decoded.notes.items():
        logger.info(f"{count} images: {note}")
    if not decoded.bad:
        return
    path, reason = decoded.bad[0]
    file = BAD_IMAGES.format(_of_laboratory(context))
    logger.warning(
        f"{len(decoded.bad)} images could not be read and are left out ({file}); the first: {path}: {reason}"
    )
    run.text("".join(f"{' '.join(path.splitlines())}\t{reason}\n" for path, reason in decoded.bad), file)


def _log_channel_stats(run: Tracker, pixels: np.ndarray) -> None:
    """Tag a run with the mean and deviation of each channel over decoded images, in 0..1."""
    from hemacell.data.channel_stats import channel_stats

    named = zip(("mean", "std"), channel_stats(pixels), strict=True)
    texts = {name: ",".join(f"{value:.4f}" for value in values) for name, values in named}
    run.tags({CHANNEL_STAT.format(name): text for name, text in texts.items()})
    logger.info(f"channels (red, green, blue) of the training images: mean {texts['mean']}, deviation {texts['std']}")
