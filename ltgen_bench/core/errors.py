"""The errors a user sees: one sentence that says what was wrong, where, what is allowed and what to do."""

import difflib
from collections.abc import Iterable, Sequence


class BenchError(Exception):
    """An error with a message for the user; `exit_code` is what the command line ends with."""

    exit_code = 1


class UserError(BenchError):
    """A mistake in what the user typed or gave. Nothing has been written when it is raised.

    `problems` lists every fault of one file at once, each with its place and its cure.
    """

    exit_code = 2

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([message, *(f"  {problem}" for problem in self.problems)]))


class MethodError(UserError):
    """The code of a method fails. The message says where."""


class BusyError(UserError):
    """Another command is writing there now; the same command may go through later."""


class MachineError(BenchError):
    """The machine could not do it: the disk is full, the memory too small, a loss is no longer finite."""


class DamagedError(MachineError):
    """A kept file is not what was written into it. The message names it and says how to have it again."""


class LostError(MachineError):
    """Another process of the same run has ended."""


class Interrupted(BenchError):  # noqa: N818  (no error: the user asked for it)
    """Ctrl-C (130) or SIGTERM (143). What was finished is saved; the message says how to go on."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        self.exit_code = exit_code
        super().__init__(message)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'cbdm'?` for a near miss of one of `known`, else an empty string.

    Capitals count for nothing, nor whether words are joined by `_`, `-` or a space: `FID` is near `fid`.
    """
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(_folded(one), one)
    near = difflib.get_close_matches(_folded(name), list(folded), n=1, cutoff=0.5)
    return f" Did you mean '{folded[near[0]]}'?" if near else ""


def _folded(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")


def inverse_hint(factor: float, before: str = "") -> str:
    """` Did you mean 100?` for an imbalance factor of 0.01: some call the smallest over the largest count so. Else nothing."""
    inverse = round(1 / factor, 6) if 0 < factor < 1 else 0.0
    return f" Did you mean {before}{inverse:g}, the largest over the smallest class count?" if 1 < inverse < 1e9 else ""


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str = "") -> UserError:
    """The error for a name that is not among `known`: near match, the full list, and the command that prints it."""
    names = sorted(known)
    hint = f"   (ltgen-bench list {listing})" if listing else ""
    return UserError(f"unknown {kind} '{name}'.{did_you_mean(name, names)} Known: {', '.join(names)}.{hint}")
