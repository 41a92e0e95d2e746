"""Name -> entry. One small class serves methods, data sets, samplers, extractors and metrics."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ltgen_bench.errors import UserError, unknown_name

T = TypeVar("T")


@dataclass(frozen=True)
class Later(Generic[T]):
    """An entry that `load` gives when it is first asked for; `place` says where it lies."""

    place: str
    load: Callable[[], T]

    def __repr__(self) -> str:
        return self.place


class Registry(Generic[T]):
    """Named entries of one kind, in the order they were added.

    An entry is the thing itself or where it lies, as `"package.module:name"` (the form of Python's entry points).
    The second form lets a bad name be refused, and the names be listed, before torch is imported.
    """

    def __init__(self, kind: str, plural: str) -> None:
        self.kind = kind
        self.plural = plural
        self._entries: dict[str, T | Later[T]] = {}
        self._others: dict[str, list[Later[T]]] = {}

    def add(self, name: str, entry: T | str) -> None:
        """Register `entry`. Two entries of one name are a mistake of the program, not of the user."""
        if name in self._entries:
            raise ValueError(f"the {self.kind} '{name}' is registered twice: {self._entries[name]!r} and {entry!r}")
        self._entries[name] = Later(entry, lambda: imported(entry)) if isinstance(entry, str) else entry

    def add_installed(self, name: str, entry: Later[T]) -> None:
        """Register what an installed package brings.

        Where its name is taken, the first entry stays what is listed and read, and `check` refuses the name: what was trained
        under it would be one of the two, and nobody could tell which.
        """
        if name in self._entries:
            self._others.setdefault(name, []).append(entry)
        else:
            self._entries[name] = entry

    def remove(self, name: str) -> None:
        """Take an entry out again, for a program that adds its own for a while."""
        del self._entries[self._known(name)]

    def check(self, name: str) -> str:
        """`name` itself when it is registered, once; else a `UserError` with the near match and the full list."""
        others = self._others.get(self._known(name))
        if others:
            raise UserError(f"{self.kind} '{name}': several are called so, {self._entries[name]!r} and "
                            f"{' and '.join(map(repr, others))}; uninstall all but one of them, or give them names of their own.")
        return name

    def _known(self, name: str) -> str:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries, self.plural)
        return name

    def __getitem__(self, name: str) -> T:
        entry = self._entries[self._known(name)]
        if isinstance(entry, Later):
            entry = self._entries[name] = entry.load()
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def imported(place: str) -> Any:
    """What lies at `place`, written `"package.module:name"`."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
