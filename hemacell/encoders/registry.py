"""The frozen encoders by name: what each is, what it is judged against, how it is drawn, and how it is pretrained.

An encoder is one decorated function that says which network it has and where its weights come from. `control="random"`
registers the control with it: the same network with random weights, named `random-NAME`.

    @encoder("mine", label="my encoder", control="random")
    def mine(name: str) -> EncoderSource:
        config = EncoderConfig(kind="backbone", body={"arch": "resnet18"}, input_size=96)
        return EncoderSource(config, weights="resnet18-of-mine.safetensors")

A package offers such a function by an entry point of the group `hemacell.encoders` that names its module; a script
registers it by calling the decorator before it runs a job. Nothing here imports torch.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from hemacell.core.errors import UserError
from hemacell.core.files import sha256_of
from hemacell.core.registry import Registry
from hemacell.core.text import slug
from hemacell.encoders.architectures import IMAGENET, RANDOM
from hemacell.encoders.description import EncoderConfig

NONE = "none"
"""The arm without an encoder; stands alone."""


class EncoderSource(NamedTuple):
    """Which network an encoder has, and where its weights come from."""

    config: EncoderConfig
    weights: str
    """`imagenet`, `random`, or the path of a safetensors file."""


@dataclass(frozen=True)
class EncoderEntry:
    """An encoder as the registry knows it; see `encoder` for the fields."""

    name: str
    source: Callable[[str], EncoderSource]
    label: str
    control: str = ""
    colour: str = ""
    marker: str = ""
    job: str = ""
    like: str = ""

    @property
    def registered_name(self) -> str:
        """The registered model that its pretraining job makes; '' without such a job."""
        return f"hemacell-{self.job}-encoder" if self.job else ""


ENCODERS: Registry[EncoderEntry] = Registry(
    "encoder",
    "hemacell.encoders",
    (
        "hemacell.encoders.prcc",
        "hemacell.encoders.camelyon",
        "hemacell.encoders.imagenet",
        "hemacell.encoders.morphology",
        "hemacell.encoders.timm_pretrained",
    ),
)


def encoder(
    name: str,
    *,
    label: str,
    control: str = "",
    colour: str = "",
    marker: str = "",
    job: str = "",
    like: str = "",
) -> Callable[[Callable[[str], EncoderSource]], Callable[[str], EncoderSource]]:
    """Register the decorated function as an encoder, and with `control="random"` its control too.

    The function is given the name as the user typed it, and returns an `EncoderSource`.

    Args:
        name: as it is typed in `encoders`; one that ends in a colon stands for all names that begin like it.
        label: its name for people.
        control: the name of the encoder that it is judged against; `random` makes one, `random-NAME`.
        colour: how figures draw it, as matplotlib takes it; without it the next that is free.
        marker: the same for the marker.
        job: the pretraining job that makes it (a module of `projects`) and registers it as `hemacell-JOB-encoder`;
            the function then describes what that job makes by default.
        like: the encoder whose network it takes, as it is registered at the time.

    Raises:
        ValueError: the name is taken, or has another meaning in `encoders` (`none`, `models:`).
    """
    if name == NONE or name.startswith("models:"):
        raise ValueError(f"{name!r} means something else in the setting encoders: choose another name")

    def register(source: Callable[[str], EncoderSource]) -> Callable[[str], EncoderSource]:
        control_name = f"random-{name}" if control == RANDOM else control
        entry = EncoderEntry(name, source, label, control_name, colour, marker, job, like)
        ENCODERS.add(name, entry)
        if control == RANDOM:

            def untrained(typed: str) -> EncoderSource:
                return source(typed.removeprefix("random-"))._replace(weights=RANDOM)

            follows = like or (name if job else "")
            ENCODERS.add(control_name, EncoderEntry(control_name, untrained, f"{label}, untrained", like=follows))
        return source

    return register


def find_entry(name: str) -> EncoderEntry:
    """The encoder that a user named.

    Raises:
        UserError: a misspelt name.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    for entry in ENCODERS.values():
        # `timm:` stands for `timm:resnet18`
        if entry.name.endswith(":") and name.startswith(entry.name) and name != entry.name:
            control = entry.control + name.removeprefix(entry.name) if entry.control else ""
            return replace(entry, name=name, control=control, label=name)
    try:
        return ENCODERS[name]
    except UserError as error:
        raise UserError(f"{error} (none and models:/NAME/VERSION are accepted as well)") from None


def control_of_arm(arm: str) -> str:
    """The arm that an arm is judged against: `random-prcc,imagenet` for `prcc,camelyon`; '' where it has none.

    Args:
        arm: a value of `encoders`, names with commas between them; any other text has no control.
    """
    controls = []
    for name in arm.split(","):
        try:
            controls.append(find_entry(name).control)
        except UserError:  # an arm that is not named after its encoders
            return ""
    return ",".join(controls) if all(controls) else ""


def controls_of(arms: Sequence[str]) -> dict[str, str]:
    """arm -> control, for those of these arms that have one."""
    return {arm: control for arm in arms if (control := control_of_arm(arm))}


def encoder_slug(name: str) -> str:
    """An encoder's name as a part of file names, metrics and tags."""
    return slug(name.removeprefix("models:/"), keep="")


def source_identity(source: EncoderSource, seed: int) -> str:
    """What decides the weights of an encoder that is not registered, as text for the key of a run: the network, the
    source of its weights (of a file its sha256), and for random weights the seed."""
    weights = source.weights
    facts: dict[str, object] = {"kind": source.config.kind, "body": source.config.body, "weights": weights}
    if weights == RANDOM:
        facts["seed"] = seed
    elif weights != IMAGENET:
        file = Path(weights).expanduser()
        if not file.is_file():
            raise UserError(f"weights={weights}: expected a .safetensors file, found no such file")
        facts["weights"] = sha256_of(file)
    return json.dumps(facts, sort_keys=True)
