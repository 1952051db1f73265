"""Typed settings of a job: one class with every default, filled from text, checked in one place.

MLflow hands every parameter over as text and the shell cannot type anything else, so text is the common form:
`from_strings` reads it, `canonical` writes it, and the two agree (`from_strings(s.canonical()) == s`).
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from hemacell.config.roles import Role, is_inherited, role_of
from hemacell.core.errors import UserError, no_text
from hemacell.core.text import did_you_mean, unknown_name

_BOUND_WORDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most", "multiple_of": "a multiple of"}


class Settings(BaseModel):
    """Base of all settings: subclass it with one annotated field per setting.

    A field is a str, int, float, bool, Literal of texts, or `tuple[one of these, ...]`; or a union of such, as in
    `int | Literal["official"]` or `float | None`. It has a role (`hemacell.config.roles`), a default and a description.
    Ranges come from `Field(gt=..., le=...)`; a rule that pydantic cannot express is a validator of the subclass, which
    raises ValueError with a line for the user. `Field(examples=[0.5])` gives the error lines something to propose.

        class SmallSettings(Settings):
            crop: Key[float] = Field(0.55, gt=0, le=1, description="side of the central part", examples=[0.5])

        SmallSettings.from_strings({"crop": "0.50"}).canonical()  # {"crop": "0.5"}
    """

    # A job's module defines many classes and uses one: the validators of the others are never built.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, defer_build=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse, when the class is defined, a field that text could not carry there and back."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, field in cls.model_fields.items():
            if field.is_required() or not field.description:
                raise TypeError(f"{cls.__name__}.{name} needs a default and a description")
            if role_of(field) is None:
                raise TypeError(f"{cls.__name__}.{name} needs one role, such as Key[int] (hemacell.config.roles)")
            if type(None) in get_args(field.annotation) and field.default is not None:
                # An empty text stands for the default, and None is written as an empty text.
                raise TypeError(f"{cls.__name__}.{name} may be None, so None must be its default")

    def resolved(self) -> Self:
        """The same with what this machine decides (`precision=auto`) decided, as a run logs it and its key has it."""
        return self

    @field_validator("*", mode="before")
    @classmethod
    def _read_text(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = [form.kind for form in _forms(cls.model_fields[info.field_name or ""])]
        if isinstance(value, str) and not value.isascii():
            _check_storable(info.field_name or "", value)
        if not isinstance(value, str) or str in kinds:
            return value
        if any(get_origin(kind) is tuple for kind in kinds):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value.strip()

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Build the settings from values of any accepted type.

        Raises:
            UserError: one line that names each wrong setting, what was expected and what was found.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            # A union reports once for each of its members: the first stands for all.
            lines = {detail["loc"][:1]: _line(cls, dict(detail)) for detail in reversed(error.errors())}
            raise UserError("; ".join(reversed(lines.values()))) from None

    @classmethod
    def from_strings(cls, values: Mapping[str, str]) -> Self:
        """Build the settings from texts, as MLflow and the shell hand them over; an empty text means the default.

        Raises:
            UserError: as `checked`; for a misspelt name it proposes the nearest ones.
        """
        given = {name: text for name, text in values.items() if text.strip() or name not in cls.model_fields}
        return cls.checked(**given)

    def canonical(self) -> dict[str, str]:
        """Return every setting as text: `0.5`, `prcc,camelyon`, `true`, and an empty text for None."""
        return {name: canonical_text(getattr(self, name)) for name in type(self).model_fields}

    @classmethod
    def names(cls, *roles: Role) -> frozenset[str]:
        """The names of the settings that have one of these roles."""
        return frozenset(name for name, field in cls.model_fields.items() if role_of(field) in roles)

    def texts(self, *roles: Role) -> dict[str, str]:
        """The settings with one of these roles as text, as in `canonical`."""
        wanted = self.names(*roles)
        return {name: text for name, text in self.canonical().items() if name in wanted}

    def inherited_by(self, other: type[Settings]) -> dict[str, Any]:
        """What a job with these settings hands to a job with settings of another class: name -> value."""
        fields = type(self).model_fields
        return {
            name: getattr(self, name) for name in other.model_fields if name in fields and is_inherited(fields[name])
        }


def _check_storable(name: str, value: str) -> None:
    """A file's name may hold any bytes, a run only text: its database would refuse it in the middle of the work."""
    if shown := no_text(value):
        raise ValueError(f"{name}: expected text, found bytes that are not UTF-8 ({shown}); rename that file or folder")


def canonical_text(value: Any) -> str:
    """Return a setting's value as MLproject, MLflow's params and error lines spell it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(canonical_text(item) for item in value)
    return str(value)


def default_text(field: FieldInfo) -> str:
    """Return a field's default as text (empty for None)."""
    return canonical_text(field.get_default(call_default_factory=True))


def example_text(field: FieldInfo) -> str:
    """Return a value that the field accepts, as text, to propose to the user; empty where none is known."""
    if field.examples:
        return canonical_text(field.examples[0])
    return "true" if field.annotation is bool else default_text(field)


def value_hint(field: FieldInfo) -> str:
    """Return the placeholder for the field's value on a help page, such as `NUMBER` or `none|sampler`."""
    return "|".join(_hint(form.kind) for form in _forms(field))


def expectation(field: FieldInfo) -> str:
    """Return in words what the field accepts, such as `a number, above 0 and at most 1`."""
    return " or ".join(_in_words(form) for form in _forms(field))


def _line(cls: type[Settings], detail: dict[str, Any]) -> str:
    """Put one of pydantic's error records into words for the user."""
    location = detail["loc"]
    if detail["type"] == "value_error":  # raised by a validator of the subclass, which words it for the user
        message = str(detail["ctx"]["error"])
        return f"{location[0]}: {message}" if location else message
    name, found = str(location[0]), canonical_text(detail["input"])
    if detail["type"] == "extra_forbidden":
        return unknown_name("setting", name, cls.model_fields)
    field = cls.model_fields[name]
    line = f"{name}: expected {expectation(field)}, found '{found}'"
    choices = [choice for form in _forms(field) for choice in _choices(form.kind)]
    if hint := did_you_mean(found, choices):
        return line + hint
    example = example_text(field)
    return f"{line}; type for example {name}={example}" if example else line


class _Form(NamedTuple):
    """One member of a field's type, without `None` and `Annotated`, and the range marks that belong to it."""

    kind: Any
    marks: list[Any]


def _forms(field: FieldInfo) -> list[_Form]:
    return list(_members(field.annotation, field.metadata))


def _members(annotation: Any, marks: list[Any]) -> Iterator[_Form]:
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        inner = [mark for extra in extras for mark in (extra.metadata if isinstance(extra, FieldInfo) else [extra])]
        yield from _members(annotation, [*marks, *inner])
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member, marks)
    elif annotation is not type(None):
        yield _Form(annotation, marks)


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is tuple:
        return [choice for form in _members(get_args(kind)[0], []) for choice in _choices(form.kind)]
    return list(get_args(kind)) if get_origin(kind) is Literal else []


def _in_words(form: _Form) -> str:
    if get_origin(form.kind) is tuple:
        item = " or ".join(_in_words(member) for member in _members(get_args(form.kind)[0], []))
        return f"values separated by commas, each {item}"
    if get_origin(form.kind) is Literal:
        choices = _choices(form.kind)
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    bounds = [
        f"{word} {bound:g}"
        for mark in form.marks
        for side, word in _BOUND_WORDS.items()
        if (bound := getattr(mark, side, None)) is not None
    ]
    noun = {bool: "true or false", int: "a whole number", float: "a number"}.get(form.kind, "a text")
    return f"{noun}, {' and '.join(bounds)}" if bounds else noun


def _hint(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "|".join(_hint(form.kind) for form in _members(get_args(kind)[0], [])) + ",..."
    if get_origin(kind) is Literal:
        return "|".join(_choices(kind))
    return {bool: "true|false", int: "INTEGER", float: "NUMBER"}.get(kind, "TEXT")
