"""What the command line does otherwise where torchrun started several processes of it: one of them speaks.

The others work silently. They speak up only with a mistake that the first one did not make too, since that one's end is theirs.
"""

import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.torchrun import place

if TYPE_CHECKING:
    from torch.distributed import TCPStore

SHARED = ("run",)  # commands whose work several processes share
GRACE = 3.0  # seconds in which torchrun ends the others after the first one


def check_shared(command: str | None) -> None:
    """A `UserError` for a command that several processes would each do for themselves."""
    if place().size > 1 and command is not None and command not in SHARED:
        raise UserError(f"several processes share the work of {', '.join(SHARED)} alone; start 'ltgen-bench {command}' without "
                        "torchrun.")


def launcher() -> str:
    """How this command was started: `ltgen-bench`, or by torchrun."""
    own = place()
    if own.size == 1:
        return "ltgen-bench"
    # what torchrun was told of where the machines meet, it does not pass on
    nodes = f"--nnodes {own.machines} ... " if own.machines > 1 else ""
    return f"torchrun {nodes}--nproc-per-node {own.here} -m ltgen_bench"


def _leave_word() -> None:
    """Let the others know, in the store of torchrun which outlives this process, that the user has been told why it ends."""
    store = _store()
    if store is not None:
        store.set(_word(), "told")


def _first_has_told() -> bool:
    store = _store()
    return store is not None and store.check([_word()])


def _word() -> str:
    return f"ltgen_bench/told/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"


def _store() -> "TCPStore | None":
    """None where the processes have not met yet, or there is no such store any more."""
    if "torch" not in sys.modules:
        return None
    from torch import distributed as dist

    if not dist.is_initialized():
        return None
    try:
        return dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False,
                             wait_for_workers=False, timeout=timedelta(seconds=2))
    except RuntimeError:
        return None


class Voice:
    """Where errors go: to stderr, and from the processes behind the first one late and with their number."""

    def __init__(self) -> None:
        own = place()
        self.rank, self.size = own.rank, own.size
        self.stderr = sys.stderr
        if self.size > 1:  # torch warns of looking for unused parameters, which is meant
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        if self.rank:
            sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (as long as the program lasts)

    def tell(self, message: str, *, stopped: bool = False, at_once: bool = False) -> None:
        """Print `message`; `at_once` also from a process behind the first, of what that one may not live to tell.

        That the user `stopped` them is told by the first alone, and so is a mistake of which the others see that it has ended.
        """
        if self.rank and stopped:
            return
        if at_once:  # torchrun is about to end this process too: the message first
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.rank and at_once and _first_has_told():
            return
        if self.rank and not at_once:
            time.sleep(GRACE)  # the same mistake is told by the first one, and then this process is ended
        number = f"process {self.rank} of {self.size}: " if self.rank else ""
        print(f"{number}{message}", file=self.stderr, flush=True)
        if self.rank == 0 and self.size > 1 and not at_once:
            _leave_word()
