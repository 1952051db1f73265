"""Encoders that are not registered yet: refused before any work where they cannot be made, else pretrained first."""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.config.groups import TrainingSettings
from hemacell.config.jobs import CamelyonSettings, CellSettings, PrccSettings
from hemacell.core.errors import UserError

if TYPE_CHECKING:
    from hemacell.jobs.context import RunContext
    from hemacell.tracking.registry.encoders import Choice

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainingJob:
    """The job that trains and registers an encoder."""

    run: str
    """Its function as `module:function`, which takes the settings; imported when it is needed."""
    settings: type[TrainingSettings]


#: Name of an encoder -> the job that makes it.
PRETRAINING_JOBS = {
    "prcc": PretrainingJob("projects.prcc:run", PrccSettings),
    "camelyon": PretrainingJob("projects.camelyon:run", CamelyonSettings),
}


def missing_encoders(choices: Iterable[Choice]) -> list[str]:
    """The names of the encoders that must be pretrained first, each once."""
    return sorted({choice.name for choice in choices if choice.missing})


def check_pretraining(job: RunContext[CellSettings], missing: Iterable[str]) -> None:
    """Check, before any work, that missing encoders can be made from the folder that is given.

    Raises:
        UserError: that encoder, and what to type.
    """
    from hemacell.data.sources.course import has_part

    root = Path(job.settings.pretrain_data or job.source.root)
    if not root.is_dir():
        raise UserError(f"pretrain_data={root}: no such folder; type a folder with CAM16_100cls_10mask or pRCC_nolabel")
    for name in missing:
        if not has_part(root, name):
            raise UserError(
                f"encoders={name}: it is not registered yet, and {root} has no images to pretrain it on; "
                "type encoders=none or encoders=imagenet, or pretrain_data=DIR with a folder that has them"
            )


def pretrain(job: RunContext[CellSettings], missing: Iterable[str]) -> dict[str, str]:
    """Run the pretraining jobs of these encoders, as children of the open run.

    Returns:
        Encoder -> address of the version that was registered: no alias leads to one that saw a part of the images
        (`limit=`).
    """
    from hemacell.tracking.runs.existing import registered_by

    registered = {}
    for name in missing:
        logger.info(f"{job.name}: the encoder {name} is not registered yet; pretraining it first")
        pretraining = PRETRAINING_JOBS[name]
        settings = pretraining.settings.checked(**job.settings.for_pretraining(pretraining.settings))
        registered[name] = registered_by(pkgutil.resolve_name(pretraining.run)(settings))
    return registered
