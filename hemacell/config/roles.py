"""What a setting means to a job, written where the setting is declared.

    class SmallSettings(JobSettings):
        crop: Key[float] = Field(0.55, gt=0, le=1, description="…")
        limit: Inherited[Images[int]] = Field(0, ge=0, description="…")

From the role follows whether a setting is part of the key of a finished run, whether it may differ when a run is
resumed, and whether the runs of a comparison must agree in it. No other place lists names of settings for that.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeVar

from pydantic.fields import FieldInfo

T = TypeVar("T")


class Role(Enum):
    """What a setting decides; the value says it in words."""

    KEY = "decides the result"
    VARIED = "decides the result; what the runs of a study differ in"
    IMAGES = "decides which images there are"
    RECORD = "decides what a run leaves behind, not its scores"
    RESOLVED = "counts by what it refers to (a folder's content, a version, a number of cores), not by its text"
    EXECUTION = "how a job is run, not what it computes"
    DISPLAY = "what is shown or written in addition to the result"


class _Inherited:
    """Marks a setting that a job hands to the jobs that it starts."""


Key = Annotated[T, Role.KEY]
Varied = Annotated[T, Role.VARIED]
Images = Annotated[T, Role.IMAGES]
Record = Annotated[T, Role.RECORD]
Resolved = Annotated[T, Role.RESOLVED]
Execution = Annotated[T, Role.EXECUTION]
Display = Annotated[T, Role.DISPLAY]
Inherited = Annotated[T, _Inherited()]

IN_KEY = (Role.KEY, Role.VARIED, Role.IMAGES, Role.RECORD)
"""Written into the key of a finished run as they are; what is resolved is in the key by its digest or version."""
MAY_CHANGE = (Role.EXECUTION, Role.DISPLAY, Role.RESOLVED)
"""May differ when a run is resumed."""
MUST_AGREE = (Role.KEY, Role.IMAGES)
"""Must be equal in all runs of one draw that a comparison pairs."""


def role_of(field: FieldInfo) -> Role | None:
    """The role that a field was declared with, None where it has none or several."""
    found = [mark for mark in field.metadata if isinstance(mark, Role)]
    return found[0] if len(found) == 1 else None


def is_inherited(field: FieldInfo) -> bool:
    """Whether a job hands the setting to the jobs that it starts."""
    return any(isinstance(mark, _Inherited) for mark in field.metadata)
