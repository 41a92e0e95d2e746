"""Name -> entry. One small class serves methods, data sets, samplers, extractors and metrics."""

import importlib
from collections.abc import Iterator
from typing import Generic, TypeVar

from ltgen_bench.errors import unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """Named entries of one kind, in the order they were added.

    An entry is the thing itself or where it lies, as `"package.module:name"` (the form of Python's entry points).
    The second form lets a bad name be refused, and the names be listed, before torch is imported.
    """

    def __init__(self, kind: str, plural: str) -> None:
        self.kind = kind
        self.plural = plural
        self._entries: dict[str, T | str] = {}

    def add(self, name: str, entry: T | str) -> None:
        """Register `entry`. Two entries of one name are a mistake of the program, not of the user."""
        if name in self._entries:
            raise ValueError(f"the {self.kind} '{name}' is registered twice: {self._entries[name]!r} and {entry!r}")
        self._entries[name] = entry

    def remove(self, name: str) -> None:
        """Take an entry out again, for a program that adds its own for a while."""
        del self._entries[self.check(name)]

    def check(self, name: str) -> str:
        """`name` itself when it is registered; else a `UserError` with the near match and the full list."""
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries, self.plural)
        return name

    def __getitem__(self, name: str) -> T:
        entry = self._entries[self.check(name)]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            entry = getattr(importlib.import_module(module), attribute)
            self._entries[name] = entry
        return entry  # a string was replaced by what it points to

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
