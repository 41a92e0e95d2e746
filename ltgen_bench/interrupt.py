"""Ctrl-C and SIGTERM: stop at once where nothing is lost, at the end of the step where something would be."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ltgen_bench.errors import Interrupted
from ltgen_bench.torchrun import place

ECHO = 1.0  # seconds in which the echo of a signal comes


class Interruption:
    """As a context manager it takes over both signals in the main thread, and gives them back.

    A signal raises `Interrupted`, except inside `deferred()`, where it is noted in `requested` for the loop to act on.
    A second signal raises there too, but for the echo of the first: torchrun hands on a Ctrl-C that its processes got as well,
    and schedulers send a SIGTERM to a program and to its parent.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._since = 0.0
        self._deferring = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, now = self.requested is not None, time.monotonic()
        if again and now - self._since < ECHO and (number == signal.SIGTERM or place().size > 1):
            return
        self.requested, self._since = number, now
        if again or not self._deferring:
            self.stop("stopped")

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a first signal only sets `requested`. One that nobody acted on raises at the end, and is not lost."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self.requested is not None:
            self.stop("stopped")

    def stop(self, message: str) -> None:
        """Raise `Interrupted` with the exit code of the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        raise Interrupted(message, 128 + (self.requested or signal.SIGINT))
