"""Evaluate an autoencoder on tiles: compute, draw, log."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from torch import Tensor, nn

from hemacell.config.jobs import PrccSettings
from hemacell.data.decoding import Decoded
from hemacell.data.manifest import SPLITS
from hemacell.encoders.autoencoder import reconstruct
from hemacell.encoders.patch_pca import PatchPCA
from hemacell.evaluation.image_metrics import image_metrics, ssim_per_image
from hemacell.evaluation.paired import mean_by_image
from hemacell.jobs.context import RunContext
from hemacell.reporting import figures
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import RECONSTRUCTIONS
from hemacell.training.tasks.tiles import resize_tiles, to_pixels


def pictures_of(run: Tracker) -> Callable[[Tensor, Tensor], None]:
    """What `TileTask` is given to show its images: they are logged as `reconstructions/00.png` and so on."""
    numbers = itertools.count()
    return lambda originals, restored: _draw(run, originals, restored, f"reconstructions/{next(numbers):02}.png")


def evaluate_reconstructions(
    job: RunContext[PrccSettings], run: Tracker, tiles: Decoded, network: nn.Module, steps: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Score an autoencoder and a linear code of the same size on the test tiles, and log scores and pictures.

    Returns:
        The test scores of `image_metrics`, those of the linear code as `<metric>_linear`; and the structural
        similarity of each val tile, by its sha256.
    """
    settings, rows = job.settings, tiles.rows_of_splits()
    train, val, test = (resize_tiles(tiles.array[rows[split]], settings.tile_size) for split in SPLITS)
    restored = reconstruct(network, test)
    linear = PatchPCA.as_small_as(settings.latent_channels).fit(train, settings.seed).reconstruct(test)
    scores = image_metrics(test, restored)
    scores |= {f"{name}_linear": value for name, value in image_metrics(test, linear).items()}
    run.metrics({f"test/{name}": value for name, value in scores.items()}, steps)
    _draw(run, test, restored, RECONSTRUCTIONS)
    ssim = ssim_per_image(val, reconstruct(network, val))
    return scores, mean_by_image(tiles.manifest.select(rows["val"]), ssim)


def _draw(run: Tracker, originals: Tensor, restored: Tensor, name: str) -> None:
    ssim = ssim_per_image(originals, restored)
    run.figure(figures.reconstructions(to_pixels(originals), to_pixels(restored), ssim), name)
