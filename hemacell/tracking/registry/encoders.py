"""The setting `encoders`: names -> registered or built encoders, first as descriptions, then as networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hemacell.core.errors import UserError
from hemacell.encoders.description import DESCRIPTION, EncoderConfig
from hemacell.encoders.registry import (
    ENCODERS,
    NONE,
    EncoderEntry,
    EncoderSource,
    encoder_slug,
    find_entry,
    source_identity,
)
from hemacell.tracking.registry.lookup import DataKind, RegisteredModel, fetch, find, resolve

if TYPE_CHECKING:
    from hemacell.encoders.frozen import FrozenEncoder


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder of the setting, as far as it can be known without loading it."""

    name: str
    """as the user typed it"""
    entry: EncoderEntry | None
    """in the registry of encoders; None for `models:/…`"""
    model: RegisteredModel | None
    """the registered model; None for one that is built, and for one that is not registered yet"""
    source: EncoderSource | None
    """network and weights of one that is built"""
    seed: int
    """of random weights"""

    @property
    def missing(self) -> bool:
        """Whether a pretraining job must run first: `entry.job`."""
        return self.model is None and self.source is None

    @property
    def slug(self) -> str:
        """The name as a part of file names, metrics and tags."""
        return encoder_slug(self.name)

    @property
    def identity(self) -> str:
        """What decides its weights, for the key of a run: the model, or network, source of the weights and seed."""
        if self.source is not None:
            return source_identity(self.source, self.seed)
        return self.model.model_id if self.model else self.name

    @property
    def uri(self) -> str:
        """Its address in the model registry, or its name."""
        return self.model.uri if self.model else self.name


def resolve_encoders(
    names: Sequence[str], kind: DataKind, cache: Path, seed: int = 0, used: Mapping[str, str] | None = None
) -> list[EncoderSpec]:
    """Look up encoders, without loading them.

    An encoder that takes the network of another one (a control) takes that of the version registered now.

    Args:
        names: names of the registry of encoders, or `models:/…`; or only `none`.
        kind: of the data: a job on real data takes no encoder of the sample.
        cache: where descriptions are fetched to.
        seed: of random weights.
        used: slugs -> addresses that a resumed run was started with.

    Raises:
        UserError: a misspelt name, a model that the registry does not have, or an encoder that is named twice.
    """
    specs = [_resolve(name, kind, cache, seed, used or {}) for name in names if name != NONE]
    if len({spec.slug for spec in specs}) < len(specs):
        raise UserError(f"encoders={','.join(names)}: expected each encoder once")
    return specs


def _resolve(name: str, kind: DataKind, cache: Path, seed: int, used: Mapping[str, str]) -> EncoderSpec:
    if name.startswith("models:"):
        return EncoderSpec(name, None, resolve(used.get(encoder_slug(name), name), kind), None, seed)
    entry = find_entry(name)
    address = used.get(encoder_slug(name), "")
    if address.startswith("models:/"):
        return EncoderSpec(name, entry, resolve(address, kind), None, seed)
    if entry.registered_name:
        return EncoderSpec(name, entry, find(entry.registered_name, kind), None, seed)
    source = entry.source(name)
    if entry.like and (registered := find(ENCODERS[entry.like].registered_name, kind)):
        described = (fetch(registered, cache) / DESCRIPTION).read_text(encoding="utf-8")
        source = source._replace(config=EncoderConfig.model_validate_json(described))
    return EncoderSpec(name, entry, None, source, seed)


def load_encoders(specs: Sequence[EncoderSpec], cache: Path, size: int, crop: float) -> list[FrozenEncoder]:
    """The networks, shown the central `crop` of an image at `size` pixels.

    Raises:
        UserError: a model's folder does not hold an encoder, or weights cannot be had.
    """
    from hemacell.encoders.frozen import create_encoder, load_encoder

    encoders = []
    for spec in specs:
        if spec.model is not None:
            encoder = load_encoder(fetch(spec.model, cache))
        elif spec.source is not None:
            encoder = create_encoder(*spec.source, seed=spec.seed)
        else:
            raise UserError(f"encoders={spec.name}: it is not registered yet")
        encoders.append(encoder.with_crop(size, crop))
    return encoders
