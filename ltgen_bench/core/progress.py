"""Interface by which the library reports progress; the command line decides how it is displayed.

The library never prints. Its default is `SILENT`, which discards everything.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable


@runtime_checkable  # so that the tests can check arguments of this type
class Stage(Protocol):
    """Progress of one stage, for example a progress bar."""

    def advance(self, amount: int, note: str = "") -> None:
        """Add `amount` units of work; `note` replaces the text next to the bar (loss, sampler, ...)."""


@runtime_checkable
class Progress(Protocol):
    """Display of stages and messages."""

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Stage]:
        """Open the stage `name` of `total` units of work, of which an earlier run has finished `done`."""

    def say(self, message: str) -> None:
        """Show one line to the user (continuing from a checkpoint, a file downloaded, a figure that could not be drawn)."""


class _SilentStage:
    def advance(self, amount: int, note: str = "") -> None:
        return None


class _Silent:
    def stage(self, name: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Stage]:
        return nullcontext(_SilentStage())

    def say(self, message: str) -> None:
        return None


SILENT: Progress = _Silent()
