"""Output of the command line under torchrun: only the first process prints.

The other processes are silent, except for errors that the first process does not have, since it ends with them.
"""

import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.torchrun import torchrun_process

if TYPE_CHECKING:
    from torch.distributed import TCPStore

SHARED = ("run",)  # commands whose work several processes share
END_SECONDS = 3.0  # seconds in which torchrun ends the others after the first one


def check_shared(command: str | None) -> None:
    """Raise `UserError` for a command that several processes cannot share."""
    if torchrun_process().size > 1 and command is not None and command not in SHARED:
        raise UserError(f"several processes share the work of {', '.join(SHARED)} alone; start 'ltgen-bench {command}' without "
                        "torchrun.")


def launcher() -> str:
    """Return the command that started this process: `ltgen-bench`, or torchrun's."""
    own = torchrun_process()
    if own.size == 1:
        return "ltgen-bench"
    # torchrun does not pass on its rendezvous options
    nodes = f"--nnodes {own.machines} ... " if own.machines > 1 else ""
    return f"torchrun {nodes}--nproc-per-node {own.here} -m ltgen_bench"


def _mark_reported() -> None:
    """Record in torchrun's store, which outlives this process, that the error has been printed."""
    store = _store()
    if store is not None:
        store.set(_reported_key(), "told")


def _first_has_reported() -> bool:
    store = _store()
    return store is not None and store.check([_reported_key()])


def _reported_key() -> str:
    return f"ltgen_bench/told/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"


def _store() -> "TCPStore | None":
    """Return torchrun's store; None where the processes have not connected, or it is gone."""
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


class ErrorOutput:
    """Output of errors on stderr; processes other than the first print later, with their rank."""

    def __init__(self) -> None:
        own = torchrun_process()
        self.rank, self.size = own.rank, own.size
        self.stderr = sys.stderr
        if self.size > 1:  # torch warns that unused parameters are looked for, as intended
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        if self.rank:
            sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (as long as the program lasts)

    def print_error(self, message: str, *, stopped: bool = False, at_once: bool = False) -> None:
        """Print `message`; with `at_once` also from a process other than the first, without waiting for it.

        Only the first process prints that the user `stopped` the run, and the failure of another process.
        """
        if self.rank and stopped:
            return
        if at_once:  # torchrun is about to end this process too: the message first
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.rank and at_once and _first_has_reported():
            return
        if self.rank and not at_once:
            time.sleep(END_SECONDS)  # the first process prints the same error, and torchrun then ends this one
        number = f"process {self.rank} of {self.size}: " if self.rank else ""
        print(f"{number}{message}", file=self.stderr, flush=True)
        if self.rank == 0 and self.size > 1 and not at_once:
            _mark_reported()
