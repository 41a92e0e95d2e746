"""What a signal does while the program is still being imported: one word and its exit code, with nothing begun."""

import os
import signal
import sys
from pathlib import PurePath


def _leave(number: int, frame: object) -> None:
    os.write(2, b"interrupted\n" if number == signal.SIGINT else b"stopped\n")
    os._exit(128 + number)


def mind_signals() -> None:
    """From now on a signal ends this program so; `main` takes over from there. Nothing in a program that only imports us."""
    started = PurePath(sys.argv[0])
    ours = started.name.removesuffix(".exe") == "ltgen-bench" or started.parts[-2:] == ("ltgen_bench", "__main__.py")
    if not ours or "WORLD_SIZE" in os.environ:
        return
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is usual:  # who started us may have it ignored, as a shell does in the background
            signal.signal(number, _leave)
