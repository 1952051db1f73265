"""The setting `encoders`: names -> registered or built-in encoders, first as identities, then as networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.config.base import unknown_name
from hemacell.core.errors import UserError
from hemacell.core.text import slug
from hemacell.tracking.registry.lookup import DataKind, RegisteredModel, fetch, find, resolve

if TYPE_CHECKING:
    from hemacell.encoders.frozen import EncoderConfig, FrozenEncoder

#: Jobs that make an encoder, and the names under which they register it.
PRETRAINED = {"prcc": "hemacell-prcc-encoder", "camelyon": "hemacell-camelyon-encoder"}
BUILT_IN = ("imagenet", "random-prcc", "random-imagenet")


@dataclass(frozen=True)
class Choice:
    """One encoder of the setting; `model` is None for a built-in one and for one that is not registered yet."""

    name: str
    model: RegisteredModel | None

    @property
    def missing(self) -> bool:
        """Whether a pretraining job must run first."""
        return self.model is None and self.name in PRETRAINED

    @property
    def slug(self) -> str:
        """The name as a part of file names, metrics and tags."""
        return _slug(self.name)

    @property
    def identity(self) -> str:
        """What decides which weights it has."""
        return self.model.model_id if self.model else self.name

    @property
    def uri(self) -> str:
        """Its address in the registry, or its name."""
        return self.model.uri if self.model else self.name


def choose(names: Sequence[str], kind: DataKind, used: dict[str, str] | None = None) -> list[Choice]:
    """Look up encoders, without loading them.

    Args:
        names: `prcc`, `camelyon`, a built-in name or `models:/…`; or only `none`.
        kind: of the data: a job on real data takes no encoder of the sample.
        used: slugs -> addresses that a resumed run was started with.

    Raises:
        UserError: a misspelt name, or a model that the registry does not have.
    """
    choices = []
    for name in names:
        if name == "none":
            continue
        if used and _slug(name) in used:
            address = used[_slug(name)]
            choices.append(Choice(name, resolve(address, kind) if address.startswith("models:/") else None))
        elif name in PRETRAINED:
            choices.append(Choice(name, find(PRETRAINED[name], kind)))
        elif name in BUILT_IN:
            choices.append(Choice(name, None))
        elif name.startswith("models:"):
            choices.append(Choice(name, resolve(name, kind)))
        else:
            known = [*PRETRAINED, *BUILT_IN, "none"]
            raise UserError(unknown_name("encoder", name, known) + " or models:/NAME/VERSION")
    if len({choice.slug for choice in choices}) < len(choices):
        raise UserError(f"encoders={','.join(names)}: expected each encoder once")
    return choices


def _slug(name: str) -> str:
    return slug(name.removeprefix("models:/"), keep="")


def load_chosen(
    choices: Sequence[Choice], kind: DataKind, cache: Path, size: int, crop: float, seed: int
) -> list[FrozenEncoder]:
    """The networks, set to look at the central `crop` of an image at `size` pixels.

    A built-in encoder has the architecture of the registered one that it is compared with, where there is one.

    Raises:
        UserError: a model's folder does not hold an encoder.
    """
    from hemacell.encoders.frozen import imagenet_encoder, load_encoder, random_encoder

    encoders = []
    for choice in choices:
        if choice.model is not None:
            encoder = load_encoder(fetch(choice.model, cache))
        elif choice.name == "imagenet":
            encoder = imagenet_encoder(_architecture("camelyon", kind, cache))
        else:
            compared = "prcc" if choice.name == "random-prcc" else "camelyon"
            encoder = random_encoder(_architecture(compared, kind, cache), seed)
        encoders.append(encoder.with_crop(size, crop))
    return encoders


def _architecture(job: str, kind: DataKind, cache: Path) -> EncoderConfig:
    from hemacell.encoders.frozen import DESCRIPTION, EncoderConfig, default_config

    model = find(PRETRAINED[job], kind)
    if model is None:
        return default_config("autoencoder" if job == "prcc" else "backbone")
    return EncoderConfig.model_validate(json.loads((fetch(model, cache) / DESCRIPTION).read_text(encoding="utf-8")))
