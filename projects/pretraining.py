"""Encoders that are not registered yet: said before any work where they cannot be made, pretrained where they can."""

import importlib

from hemacell.config.jobs import JOBS


def check_pretraining(job, encoders) -> None:
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
        if spec.missing and not has_part(root, spec.entry.job):
            raise UserError(
                f"encoders={spec.name}: it is not registered yet, and {root} has no images to pretrain it on; "
                "type encoders=none or encoders=imagenet, or pretrain_data=DIR with a folder that has them"
            )


def pretrain(job, encoders) -> None:
    """Run the pretraining jobs of these encoders, as children of the open run."""
    from hemacell.tracking.runs.job import say

    settings = job.settings
    shared = {name: getattr(settings, name) for name in ("device", "precision", "threads", "checkpoint_seconds")}
    shared["data"] = settings.pretrain_data or settings.data
    for spec in encoders:
        say(f"{job.name}: the encoder {spec.name} is not registered yet; pretraining it first")
        recipe = importlib.import_module(f"projects.{spec.entry.job}")
        recipe.run(JOBS[spec.entry.job].checked(**shared))
