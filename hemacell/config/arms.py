"""The arms of a study: `none; imagenet; probe: method=linear_probe, encoders=imagenet`.

An arm is a list of encoders, which is its name too, or a name with a colon and settings of `wbc` that differ from those
of the study. Semicolons stand between arms.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from hemacell.core.text import did_you_mean

#: `probe: method=…`; the colon of `models:/…` or `timm:…` is followed by no setting.
_NAMED = re.compile(r"\s*(?P<name>[^:=]*?)\s*:\s*(?P<overrides>\w+\s*=.*)", re.DOTALL)
_OVERRIDE = re.compile(r"\s*(?P<setting>\w+)\s*=\s*(?P<value>.*?)\s*", re.DOTALL)
_NAME = re.compile(r"\w[\w .+-]{0,39}")


@dataclass(frozen=True)
class Arm:
    """One arm of a study."""

    name: str
    """As it stands in figures, tables and names of runs."""
    overrides: tuple[tuple[str, str], ...]
    """(setting of `wbc`, value as text), sorted by setting; only `encoders` for a list of encoders."""

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the settings."""
        return tuple(setting for setting, _ in self.overrides)


def parse_arms(text: str, allowed: Collection[str], shared: Collection[str] = ()) -> list[Arm]:
    """Read the setting `arms`.

    Args:
        text: arms with semicolons between.
        allowed: the settings that an arm may override.
        shared: those that are the same for all arms.

    Raises:
        ValueError: one line for the user: an arm without a name, two alike, or a setting that an arm cannot override.

    Example:
        >>> [arm.name for arm in parse_arms("none; prcc,camelyon; slow: learning_rate=1e-4", ["learning_rate"])]
        ['none', 'prcc,camelyon', 'slow']
    """
    arms = [_arm(part, allowed, shared) for part in text.split(";")]
    for what in ("name", "overrides"):
        seen: dict[object, str] = {}
        for arm in arms:
            key = getattr(arm, what)
            if key in seen:
                raise ValueError(f"expected different arms, found '{seen[key]}' and '{arm.name}' alike; leave one out")
            seen[key] = arm.name
    return arms


def _arm(part: str, allowed: Collection[str], shared: Collection[str]) -> Arm:
    if not (found := _NAMED.fullmatch(part)):
        encoders = ",".join(name.strip() for name in part.split(",") if name.strip())
        if not encoders or "=" in part:
            raise ValueError(
                "expected lists of encoders or 'name: setting=value, …' with semicolons between, found "
                f"'{part.strip()}'; "
                'type for example arms="none;prcc,camelyon;slow: encoders=none, learning_rate=0.001"'
            )
        return Arm(encoders, (("encoders", encoders),))
    name = found["name"]
    if not _NAME.fullmatch(name):
        raise ValueError(f"expected a name of letters, digits, blanks and .+- before the colon, found '{name}'")
    overrides: dict[str, str] = {}
    setting = ""
    for piece in found["overrides"].split(","):
        if own := _OVERRIDE.fullmatch(piece):
            setting = own["setting"]
            if setting in overrides:
                raise ValueError(f"expected each setting once in the arm '{name}', found {setting} twice")
            if setting not in allowed:
                same = setting in shared
                hint = "; it is the same for all arms" if same else did_you_mean(setting, allowed)
                raise ValueError(f"the arm '{name}' cannot set '{setting}'{hint}")
            overrides[setting] = own["value"]
        else:  # a value with commas, such as encoders=prcc,camelyon
            overrides[setting] += f",{piece.strip()}"
    return Arm(name, tuple(sorted(overrides.items())))
