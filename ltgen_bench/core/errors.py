"""Exceptions whose messages are shown to the user: what was wrong, where, what is allowed and what to do."""

import difflib
from collections.abc import Iterable, Sequence


class BenchError(Exception):
    """Base class of errors with a message for the user; `exit_code` is the exit status of the command line."""

    exit_code = 1


class UserError(BenchError):
    """A mistake in what the user typed or gave. Nothing has been written when it is raised.

    `problems` lists all faults of one file, each with its position and a way to correct it; the message has the first of many.
    """

    exit_code = 2
    shown = 20

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        more = [f"and {len(self.problems) - self.shown} more"] if len(self.problems) > self.shown else []
        super().__init__("\n  ".join([message, *self.problems[:self.shown], *more]))


class MethodError(UserError):
    """The code of a method raised an exception. The message names file and line."""


class BusyError(UserError):
    """Another command holds the lock; the same command may succeed later."""


class MachineError(BenchError):
    """Failure of the machine or of the training: disk full, memory too small, loss not finite."""


class DamagedError(MachineError):
    """A stored file does not match its checksum. The message names the file and says how to make it again."""


class LostError(MachineError):
    """Another process of the same distributed run has ended."""


class Interrupted(BenchError):  # noqa: N818  (no error: the user asked for it)
    """Ctrl-C (exit code 130) or SIGTERM (143). Finished work is saved; the message says how to continue."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        self.exit_code = exit_code
        super().__init__(message)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'cbdm'?` where `name` is similar to one of `known`, else an empty string.

    Upper and lower case are equal, and so are `_`, `-` and a space.
    """
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(_folded(one), one)
    near = difflib.get_close_matches(_folded(name), list(folded), n=1, cutoff=0.5)
    return f" Did you mean '{folded[near[0]]}'?" if near else ""


def _folded(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")


def inverse_hint(factor: float, before: str = "") -> str:
    """Return ` Did you mean 100?` for an imbalance factor of 0.01, which some define as smallest / largest count; else ""."""
    inverse = round(1 / factor, 6) if 0 < factor < 1 else 0.0
    return f" Did you mean {before}{inverse:g}, the largest over the smallest class count?" if 1 < inverse < 1e9 else ""


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str = "") -> UserError:
    """Return the error for a name that is not among `known`: similar name, full list, and the command that prints it."""
    names = sorted(known)
    hint = f"   (ltgen-bench list {listing})" if listing else ""
    return UserError(f"unknown {kind} '{name}'.{did_you_mean(name, names)} Known: {', '.join(names)}.{hint}")
