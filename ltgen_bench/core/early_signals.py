"""Handling of Ctrl-C and SIGTERM while the program is still importing its modules: one word, and the signal's exit code."""

import os
import signal
import sys
from pathlib import PurePath


def _leave(number: int, frame: object) -> None:
    os.write(2, b"interrupted\n" if number == signal.SIGINT else b"stopped\n")
    os._exit(128 + number)


def handle_signals_early() -> None:
    """Install the handlers, until `main` installs its own. Does nothing in a program that imports ltgen_bench as a library."""
    started = PurePath(sys.argv[0])
    ours = started.name.removesuffix(".exe") == "ltgen-bench" or started.parts[-2:] == ("ltgen_bench", "__main__.py")
    if not ours or "WORLD_SIZE" in os.environ:
        return
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is usual:  # signals that the parent ignores stay ignored (background jobs)
            signal.signal(number, _leave)
