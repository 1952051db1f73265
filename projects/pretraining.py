"""Encoders that are not registered yet: said before any work where they cannot be made, pretrained where they can."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hemacell.config.groups import TrainingSettings
from hemacell.config.jobs import CamelyonSettings, CellSettings, PrccSettings

if TYPE_CHECKING:
    from hemacell.jobs.context import RunContext
    from hemacell.tracking.registry.encoders import Choice

logger = logging.getLogger(__name__)


def check_pretraining(job: RunContext[CellSettings], choices: Sequence[Choice]) -> None:
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
    for choice in choices:
        if choice.missing and not has_part(root, choice.name):
            raise UserError(
                f"encoders={choice.name}: it is not registered yet, and {root} has no images to pretrain it on; "
                "type encoders=none or encoders=imagenet, or pretrain_data=DIR with a folder that has them"
            )


def pretrain(job: RunContext[CellSettings], names: Sequence[str]) -> dict[str, str]:
    """Run the pretraining jobs of these names, as children of the open run.

    Returns:
        The address of the version that each has registered: of one that saw a part of the images (`limit=`) no alias
        tells.
    """
    from hemacell.tracking.runs.existing import registered_by
    from projects import camelyon, prcc

    jobs: dict[str, tuple[type[TrainingSettings], Callable[[Any], str]]] = {
        "prcc": (PrccSettings, prcc.run),
        "camelyon": (CamelyonSettings, camelyon.run),
    }
    made = {}
    for name in names:
        logger.info(f"{job.name}: the encoder {name} is not registered yet; pretraining it first")
        settings, run = jobs[name]
        made[name] = registered_by(run(settings.checked(**job.settings.for_pretraining(settings))))
    return made
