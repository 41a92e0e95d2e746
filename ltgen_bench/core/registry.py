"""Registry of named entries: methods, augmentations, data sets, samplers, extractors and metrics."""

import hashlib
import importlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ltgen_bench.core.errors import UserError, unknown_name
from ltgen_bench.core.source_facts import source_facts

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

INSTALLED: dict[str, str] = {}  # top-level module of an installed package -> the last of its entries that was loaded
LONGEST_NAME = 100  # bytes; folder names may have 255, including digests and seed


def name_fault(name: object, *, folders: bool = True) -> str:
    """Return what makes a name unfit for tables, and with `folders` for folders, as "it ..."; an empty text where it is fit."""
    if not isinstance(name, str):
        return f"it is a {type(name).__name__} and no text"
    length = len(name.encode(errors="replace"))
    faults = [(not name.strip(), "it is empty"),
              (not name.isprintable(), "it has line breaks, control characters or the like in it"),
              ("/" in name, "it has a slash in it, as paths have"),
              (length > LONGEST_NAME, f"it has {length:,} bytes, and {LONGEST_NAME} are allowed"),
              (folders and "\\" in name, "it has a backslash in it, as paths have"),
              (folders and (name != name.strip() or name[:1] in (".", "-")),
               "it begins or ends with a blank, or begins with a dot or a dash")]
    return next((words for wrong, words in faults if wrong), "")


def for_folder(text: str) -> str:
    """Return `text` as a part of a folder name: unfit characters become dashes, and 6 digits of a checksum are added then."""
    plain = "".join("-" if character in "/\\" or not character.isprintable() else character for character in text).strip()
    short = plain.encode()[:LONGEST_NAME - 20].decode(errors="ignore")
    if short == text:
        return text
    return f"{short}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:6]}"


def check_name(kind: str, name: object, *, folders: bool = True) -> None:
    """Raise `UserError` for a name that is unfit by `name_fault`; `kind` says what has this name.

    Control characters of the name are escaped in the message, and a long name is cut.
    """
    fault = name_fault(name, folders=folders)
    if fault:
        shown = ascii(name)
        raise UserError(f"{kind} {shown if len(shown) <= LONGEST_NAME else shown[:LONGEST_NAME] + '...'}: {fault}; a name is of "
                        "letters, digits, dots, dashes and the like.")


@dataclass(frozen=True)
class Later(Generic[T]):
    """Entry that is imported when it is first used; `place` is `"package.module:name"`."""

    place: str
    load: Callable[[], T]

    def __repr__(self) -> str:
        return self.place


class Registry(Generic[T]):
    """Named entries of one kind: those of this package in the order they were added, then those of installed packages.

    An entry is the thing itself or where it lies, as `"package.module:name"` (the form of Python's entry points).
    The second form lets a bad name be refused, and the names be listed, before torch is imported.

    `kind` and `plural` are what messages and `ltgen-bench list` call them. `group` is the group of entry points under which
    installed packages bring entries; they are searched for when an entry is first asked for. `checked(entry, name, where)`
    gives the entry of such a package for use, or raises a `UserError` that begins with `where`.
    """

    def __init__(self, kind: str, plural: str, group: str = "", checked: Callable[[Any, str, str], T] | None = None) -> None:
        self.kind = kind
        self.plural = plural
        self.group = group
        self._checked = checked
        self._searched = not group
        self._entries: dict[str, T | Later[T]] = {}
        self._others: dict[str, list[Later[T]]] = {}
        self._refused: dict[str, Later[T]] = {}

    def add(self, name: str, entry: T | str) -> None:
        """Register `entry`. Raises `ValueError` for a second entry of one name, and `UserError` for a name unfit for folders."""
        check_name(self.kind, name)
        if name in self._entries:
            raise ValueError(f"the {self.kind} '{name}' is registered twice: {self._entries[name]!r} and {entry!r}")
        self._entries[name] = Later(entry, lambda: imported(entry)) if isinstance(entry, str) else entry

    def _all(self) -> dict[str, T | Later[T]]:
        """Return name -> entry, after searching the entry points of installed packages once."""
        if not self._searched:
            self._searched = True
            from importlib.metadata import entry_points  # imported only when needed, since it takes time

            for point in entry_points(group=self.group):
                self.add_installed(point.name, Later(_origin(point), partial(self.load_installed, point)))
        return self._entries

    def load_installed(self, point: "EntryPoint") -> T:
        """Return the entry of an installed package. Raises a `UserError` that names the package where it cannot be used."""
        where = f"{self.kind} '{point.name}' of {_origin(point)}"
        try:
            entry = point.load()
        except (Exception, SystemExit) as error:
            raise UserError(f"{where} cannot be imported: {type(error).__name__}: {error}; mend that package or uninstall "
                            "it.") from error
        if point.module.partition(".")[0] != __name__.partition(".")[0]:  # else a file of this program under another name
            INSTALLED[point.module.partition(".")[0]] = where
        return entry if self._checked is None else self._checked(entry, point.name, where)

    def add_installed(self, name: str, entry: Later[T]) -> None:
        """Register an entry of an installed package.

        Where its name is taken, the first entry is listed and read, and `check` refuses the name, since a run could not say
        which of the two was used. An entry with a name unfit for folders is not listed; `check` says why.
        """
        if name_fault(name):
            self._refused[name] = entry
            return
        if name in self._entries:
            self._others.setdefault(name, []).append(entry)
        else:
            self._entries[name] = entry

    def remove(self, name: str) -> None:
        """Remove an entry that a program has added."""
        del self._all()[self._known(name)]

    def check(self, name: str) -> str:
        """Return `name`. Raises `UserError` for an unknown name, and for a name of several entries."""
        others = self._others.get(self._known(name))
        if others:
            raise UserError(f"{self.kind} '{name}': several are called so, {self._entries[name]!r} and "
                            f"{' and '.join(map(repr, others))}; uninstall all but one of them, or give them names of their own.")
        return name

    def _known(self, name: str) -> str:
        entries = self._all()
        if name in self._refused:
            check_name(f"{self.kind} of {self._refused[name]!r}", name)
        if name not in entries:
            raise unknown_name(self.kind, name, entries, self.plural)
        return name

    def __getitem__(self, name: str) -> T:
        entry = self._entries[self._known(name)]
        if isinstance(entry, Later):
            entry = self._entries[name] = entry.load()
        return entry

    def facts(self, name: str, *names: str) -> tuple[Any, ...]:
        """Return the attributes `names` of an entry, from its source file where they are literals, else after importing it."""
        entry = self._entries[self._known(name)]
        found = source_facts(entry.place, names) if isinstance(entry, Later) else {}
        if set(found) < set(names):
            found = {attribute: getattr(self[name], attribute) for attribute in names}
        return tuple(found[attribute] for attribute in names)

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _origin(point: "EntryPoint") -> str:
    """Return the origin of an entry point: `package.module:name (distribution 1.0)`."""
    return point.value if point.dist is None else f"{point.value} ({point.dist.name} {point.dist.version})"


def an_instance(kind: type[T]) -> Callable[[Any, str, str], T]:
    """Return the check of a `Registry` of objects of type `kind`, whose `name` must be that of their entry point."""
    def checked(entry: Any, name: str, where: str) -> T:
        if not isinstance(entry, kind):
            raise UserError(f"{where} is no {kind.__module__}.{kind.__name__}.")
        if getattr(entry, "name", name) != name:
            raise UserError(f"{where} has the name '{getattr(entry, 'name', '')}'; its entry point must have the same.")
        return entry

    return checked


def failing_package(error: BaseException) -> str:
    """Return the origin of an error in the code of an installed package that brings an entry; empty for other errors.

    Example: `metric 'mine' of my_module:MINE (my-package 1.0): ZeroDivisionError: division by zero (my_module.py, line 12, in
    f)`.
    """
    frames = [frame for frame in traceback.walk_tb(error.__traceback__)
              if str(frame[0].f_globals.get("__name__")).partition(".")[0] in INSTALLED]
    if not frames:
        return ""
    frame, line = frames[-1]
    where, code = INSTALLED[frame.f_globals["__name__"].partition(".")[0]], frame.f_code
    words = " ".join(str(error).split())
    return f"{where}: {type(error).__name__}: {words:.500} ({PurePath(code.co_filename).name}, line {line}, in {code.co_name})"


def imported(place: str) -> Any:
    """Return the object at `place`, written `"package.module:name"`."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)
