"""Handling of Ctrl-C and SIGTERM: at once, or at the end of a training step where the loop asks for it."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ltgen_bench.core.errors import Interrupted
from ltgen_bench.core.torchrun import torchrun_process

REPEAT_SECONDS = 1.0  # a SIGTERM so soon after another signal is the same request
PATIENCE = 5.0  # seconds that a step may still take after a signal, unless the loop sets more
ALARM: int | None = getattr(signal, "SIGALRM", None)  # Windows has none


class Interruption:
    """As a context manager it handles both signals in the main thread; the outermost of nested blocks restores the handlers.

    A signal raises `Interrupted`. Inside `deferred()` it only sets `requested`, for the loop to act on; it raises there too
    when the loop has not acted within `patience` seconds (a step that does not end), and at a second signal. A SIGTERM within
    a second of the first signal is not a second one: torchrun sends it after the Ctrl-C that it forwards.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self.patience = PATIENCE  # seconds; the loop sets more where its steps take longer
        self._since = 0.0
        self._deferring = self._failing = False
        self._previous: dict[int, Any] = {}
        self._depth = 0

    def __enter__(self) -> "Interruption":
        self._depth += 1
        if self._depth > 1:
            return self
        self.requested, self._failing = None, False
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
            if ALARM is not None:
                self._previous[ALARM] = signal.signal(ALARM, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._depth -= 1
        if self._depth:
            return
        self._ring_in(0.0)
        for number, handler in self._previous.items():
            # torchrun sends SIGTERM to the remaining processes; ignore it until the error has been printed
            ignored = number == signal.SIGTERM and kind is not None and torchrun_process().size > 1
            signal.signal(number, signal.SIG_IGN if ignored else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == ALARM:
            if self._deferring and self.requested is not None:
                self.stop(f"stopped in the middle of a step that did not end within {self.patience:.0f} s; what was saved "
                          "before it stays")
            return
        if self._failing and number == signal.SIGTERM and torchrun_process().size > 1:
            return
        again = self.requested is not None
        if again and number == signal.SIGTERM and time.monotonic() - self._since < REPEAT_SECONDS:
            return
        self.note(number)
        if again or not self._deferring:
            self.stop("stopped")
        self._ring_in(self.patience)

    def _ring_in(self, seconds: float) -> None:
        """Set an alarm in so many seconds, or cancel it with 0. Does nothing where the signals are not handled here."""
        if ALARM is not None and ALARM in self._previous:
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def heard(self) -> None:
        """Cancel the time limit: the loop has noticed the signal and is acting on it."""
        self._ring_in(0.0)

    def note(self, number: int) -> None:
        """Record that this signal was received, here or by another process of the run."""
        self.requested, self._since = number, time.monotonic()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer the first signal: it only sets `requested`. Raises `Interrupted` at the end where the loop did not act on it."""
        self._deferring = True
        try:
            yield
        except BaseException:
            self._failing = True
            raise
        finally:
            self._deferring = False
            self._ring_in(0.0)
        if self.requested is not None:
            self.stop("stopped")

    def stop(self, message: str) -> None:
        """Raise `Interrupted` with the exit code of the signal: 130 for Ctrl-C, 143 for SIGTERM."""
        raise Interrupted(message, 128 + (self.requested or signal.SIGINT))
