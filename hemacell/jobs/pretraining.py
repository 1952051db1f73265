"""Encoders that are not registered yet: refused before any work where they cannot be made, else pretrained first."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.config.groups import PretrainingSettings
from hemacell.config.jobs import JOBS, CellSettings
from hemacell.core.errors import UserError
from hemacell.data.sources.resolve import has_images
from hemacell.tracking.runs.existing import existing_run
from hemacell.tracking.schema import REGISTERED

if TYPE_CHECKING:
    from hemacell.jobs.context import RunContext
    from hemacell.tracking.registry.encoders import EncoderSpec

logger = logging.getLogger(__name__)


def check_pretraining(job: RunContext[CellSettings], missing: Iterable[EncoderSpec]) -> None:
    """Check, before any work, that missing encoders can be made from the folder that is given.

    Raises:
        UserError: that encoder, and what to type.
    """
    root = Path(job.settings.pretrain_data or job.source.root)
    if not root.exists():
        raise UserError(f"pretrain_data={root}: no such folder; type a folder with CAM16_100cls_10mask or pRCC_nolabel")
    for spec in missing:
        if spec.entry and not has_images(root, spec.entry.job):
            raise UserError(
                f"encoders={spec.name}: it is not registered yet, and {root} has no images to pretrain it on; "
                "type encoders=none or encoders=imagenet, or pretrain_data=DIR with a folder that has them"
            )


def pretrain(job: RunContext[CellSettings], missing: Iterable[EncoderSpec]) -> dict[str, str]:
    """Run the pretraining jobs of these encoders, as the registry of encoders names them, under the open run.

    Returns:
        Slug of each encoder -> address of the version that was registered: no alias leads to one that saw a part of
        the images (`limit=`).
    """
    registered = {}
    for spec in missing:
        assert spec.entry is not None  # a registered model is not missing
        logger.info(f"{job.name}: the encoder {spec.name} is not registered yet; pretraining it first")
        recipe, settings = importlib.import_module(f"projects.{spec.entry.job}"), JOBS[spec.entry.job]
        assert issubclass(settings, PretrainingSettings)
        run_id = recipe.run(settings.checked(**job.settings.for_pretraining(settings)))
        registered[spec.slug] = existing_run(run_id).data.tags[REGISTERED]
    return registered
