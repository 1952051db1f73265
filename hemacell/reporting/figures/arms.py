"""How the arms of a study are drawn, the same in all figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hemacell.encoders.registry import ENCODERS, NONE, control_of_arm
from hemacell.reporting.figures.style import BLACK, GREEN, LINE_STYLES, PALETTE

PAGE_WIDTH = 7.2  # of a figure of the report, in inches
# The first arm of several encoders.
_PAIR = (GREEN, "D")
_MARKERS = "vPX<>*ph"


@dataclass(frozen=True)
class ArmStyle:
    """Colour, line style, marker and the colour that fills the marker."""

    colour: str
    line: Any
    marker: str
    face: str


def arm_styles(arms: Sequence[str]) -> dict[str, ArmStyle]:
    """How each arm is drawn: distinguishable by colour, and without colours by marker and line."""
    looks = {NONE: ArmStyle(BLACK, "-", "o", BLACK)}
    pairs = [arm for arm in arms if "," in arm and control_of_arm(arm)][:1]
    drawn = {entry.name: (entry.colour, entry.marker) for entry in ENCODERS.values() if entry.colour}
    for arm, (ink, marker) in (drawn | dict.fromkeys(pairs, _PAIR)).items():
        looks[arm] = ArmStyle(ink, "-", marker or "o", ink)
        if control := control_of_arm(arm):  # shares colour and marker, dashed and hollow
            looks[control] = ArmStyle(ink, "--", marker or "o", "white")
    used = {looks[arm].colour for arm in arms if arm in looks}
    spare = [ink for ink in PALETTE if ink not in used] or list(PALETTE)
    others = [arm for arm in arms if arm not in looks]
    for number, arm in enumerate(others):
        ink = spare[number % len(spare)]
        style = LINE_STYLES[number // len(spare) % len(LINE_STYLES)]
        looks[arm] = ArmStyle(ink, style, _MARKERS[number % len(_MARKERS)], ink)
    return {arm: looks[arm] for arm in arms}
