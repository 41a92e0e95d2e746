"""What the rooms tell about their progress; the command line decides how it looks.

The library never prints. A room opens a stage and advances it; `SILENT` swallows everything, which is what a
program that imports the library gets unless it asks for more.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable


@runtime_checkable  # so that the tests can check it where it is an argument
class Stage(Protocol):
    """One bar: so much done of so much, with a few words beside it."""

    def advance(self, amount: int, note: str = "") -> None:
        """Add `amount` to what is done; `note` replaces the words beside the bar (loss, sampler, ...)."""


@runtime_checkable
class Progress(Protocol):
    """Where stages are shown."""

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Stage]:
        """Open the stage `name` with `total` things to do, of which `done` were finished by an earlier run."""

    def say(self, message: str) -> None:
        """One line for the user (continuing from a checkpoint, a file fetched, a thing that could not be done)."""


class _SilentStage:
    def advance(self, amount: int, note: str = "") -> None:
        return None


class _Silent:
    def stage(self, name: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Stage]:
        return nullcontext(_SilentStage())

    def say(self, message: str) -> None:
        return None


SILENT: Progress = _Silent()
