"""Encoders that are not registered yet: said before any work where they cannot be made, pretrained where they can."""

import logging

from hemacell.config.jobs import CamelyonSettings, PrccSettings

logger = logging.getLogger(__name__)


def check_pretraining(job, choices) -> None:
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


def pretrain(job, names) -> None:
    """Run the pretraining jobs of these names, as children of the open run."""
    from projects import camelyon, prcc

    settings = job.settings
    shared = {name: getattr(settings, name) for name in ("device", "precision", "threads", "checkpoint_seconds")}
    shared["data"] = settings.pretrain_data or settings.data
    for name in names:
        logger.info(f"{job.name}: the encoder {name} is not registered yet; pretraining it first")
        if name == "prcc":
            prcc.run(PrccSettings.checked(**shared))
        else:
            camelyon.run(CamelyonSettings.checked(**shared))
