"""Named parts that others can add to: encoders, sources of images, and whatever else has a registry."""

import importlib
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from hemacell.core.errors import UserError
from hemacell.core.text import unknown_name

Part = TypeVar("Part")


class Registry(Generic[Part]):
    """Parts by name: those of this package, those of installed packages, and those that a script registers.

    Nothing is imported before the first look-up. The package's own modules are imported first, then what installed
    packages name under the entry-point group; each registers its parts as it is imported.

    Args:
        what: the kind of part, for messages, such as `encoder`.
        group: the entry-point group, such as `hemacell.encoders`.
        modules: the package's own modules, whose import registers its parts.
    """

    def __init__(self, what: str, group: str, modules: Sequence[str] = ()) -> None:
        self.what, self.group, self.modules = what, group, tuple(modules)
        self._parts: dict[str, Part] = {}
        self._loaded = False

    def add(self, name: str, part: Part) -> Part:
        """Register a part.

        Raises:
            ValueError: another part has that name.
        """
        if name in self._parts:
            raise ValueError(f"{self.what} {name!r} is registered already")
        self._parts[name] = part
        return part

    def remove(self, name: str) -> None:
        """Take a part out again, as a test does that has registered one."""
        del self._parts[name]

    def __getitem__(self, name: str) -> Part:
        """The part of that name.

        Raises:
            UserError: no part has that name.
        """
        self._load()
        if name not in self._parts:
            raise UserError(unknown_name(self.what, name, self._parts))
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of registration."""
        self._load()
        return iter(tuple(self._parts))

    def values(self) -> list[Part]:
        """The parts, in the order of registration."""
        self._load()
        return list(self._parts.values())

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for module in self.modules:
            importlib.import_module(module)
        for found in entry_points(group=self.group):
            found.load()
