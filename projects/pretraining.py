"""Encoders that are not registered yet: said before any work where they cannot be made, pretrained where they can."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hemacell.config.groups import TrainingSettings
from hemacell.config.jobs import JOBS, CellSettings

if TYPE_CHECKING:
    from hemacell.jobs.context import RunContext
    from hemacell.tracking.registry.encoders import EncoderSpec

logger = logging.getLogger(__name__)


def check_pretraining(job: RunContext[CellSettings], encoders: Sequence[EncoderSpec]) -> None:
    """Say at once that an encoder is neither registered nor can be made from this folder.

    Raises:
        UserError: that encoder, and what to type.
    """
    from pathlib import Path

    from hemacell.core.errors import UserError
    from hemacell.data.sources.course import has_part

    root = Path(job.settings.pretrain_data or job.source.root)
    if not root.is_dir():
        raise UserError(f"pretrain_data={root}: no such folder; type a folder with CAM16_100cls_10mask or pRCC_nolabel")
    for spec in encoders:
        if spec.missing and spec.entry and not has_part(root, spec.entry.job):
            raise UserError(
                f"encoders={spec.name}: it is not registered yet, and {root} has no images to pretrain it on; "
                "type encoders=none or encoders=imagenet, or pretrain_data=DIR with a folder that has them"
            )


def pretrain(job: RunContext[CellSettings], encoders: Sequence[EncoderSpec]) -> dict[str, str]:
    """Run the pretraining jobs of these encoders, as children of the open run.

    Returns:
        Slug of each encoder -> address of the version that was registered: of one that saw a part of the images
        (`limit=`) no alias tells.
    """
    from hemacell.tracking.runs.existing import registered_by

    made = {}
    for spec in encoders:
        assert spec.entry is not None  # of a registered model nothing is missing
        logger.info(f"{job.name}: the encoder {spec.name} is not registered yet; pretraining it first")
        recipe, settings = importlib.import_module(f"projects.{spec.entry.job}"), JOBS[spec.entry.job]
        assert issubclass(settings, TrainingSettings)
        made[spec.slug] = registered_by(recipe.run(settings.checked(**job.settings.for_pretraining(settings))))
    return made
