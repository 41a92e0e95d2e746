"""The processes of one run, started by torchrun: each has a device of its own and takes a part of every batch.

What one process decides by its clock, its disk or a signal is broadcast before any process acts on it. A single process, the
usual case, is `SINGLE_PROCESS`: its collectives return what they are given.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ltgen_bench.core.errors import LostError, MachineError, UserError
from ltgen_bench.core.files import write_text
from ltgen_bench.core.torchrun import torchrun_process

if TYPE_CHECKING:  # torch takes seconds to import, and one process has no use for its collectives
    import torch

T = TypeVar("T")

TIMEOUT = timedelta(days=7)  # the other processes wait for whatever the main process does alone; torchrun ends dead ones
VISIBLE_WITHIN = 60.0  # seconds until a file that one process has written is visible to all
# messages of gloo and NCCL when a peer has ended; any other error is a fault of this machine
PEER_LOST = ("closed by peer", "connection reset", "broken pipe", "socket timeout", "remote process exited", "ncclremoteerror")


@dataclass(frozen=True)
class Ranks:
    """The rank of this process among the `size` processes of the run, and the collectives over them.

    Rank 0 is the main process: it alone writes files of the run and prints.
    """

    rank: int = 0
    size: int = 1
    control: Any = None  # the gloo process group for small objects
    local: int = 0  # rank on this machine

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, of rank 0."""
        return self.rank == 0

    def split(self, count: int) -> tuple[range, ...]:
        """Return the indices 0 ... count - 1 in one contiguous range per rank, in order; lengths differ by at most one."""
        ends = [count * number // self.size for number in range(self.size + 1)]
        return tuple(range(start, stop) for start, stop in pairwise(ends))

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        if self.size > 1:
            from torch import distributed as dist

            dist.barrier(group=self.control)

    def broadcast(self, value: T) -> T:
        """Return the `value` of the main process."""
        if self.size == 1:
            return value
        from torch import distributed as dist

        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def from_main(self, compute: Callable[[], T]) -> T:
        """Return the result of `compute`, which only the main process calls."""
        return self.broadcast(cast(T, compute() if self.is_main else None))

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes by rank, in the main process; an empty list in the others."""
        if self.size == 1:
            return [value]
        from torch import distributed as dist

        values = [value] * self.size if self.is_main else None
        dist.gather_object(value, values, dst=0, group=self.control)
        return values or []

    def all_gather(self, value: T) -> list[T]:
        """Return the values of all processes by rank."""
        if self.size == 1:
            return [value]
        from torch import distributed as dist

        values = [value] * self.size
        dist.all_gather_object(values, value, group=self.control)
        return values

    def all_reduce_max(self, values: Sequence[int]) -> list[int]:
        """Return the element-wise maximum of `values` over all processes."""
        if self.size == 1:
            return list(values)
        import torch
        from torch import distributed as dist

        found = torch.tensor(values)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return [int(value) for value in found.tolist()]

    def all_reduce_sum(self, values: "torch.Tensor") -> "torch.Tensor":
        """Return the sum of `values` over all processes, on their device."""
        if self.size > 1:
            from torch import distributed as dist

            values = values.clone()
            dist.all_reduce(values)
        return values

    def only_on_main(self, manager: AbstractContextManager[None]) -> AbstractContextManager[None]:
        """Return `manager` in the main process, a context manager without effect in the others."""
        return manager if self.is_main else nullcontext()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process, then in the first process of each other machine, then in all others.

        What the block fetches or makes is so made once for a disk that all machines share, or once a machine.
        """
        turn = 0 if self.is_main else 1 if self.local == 0 else 2
        for _ in range(turn):
            self.barrier()
        yield
        for _ in range(turn, 2):
            self.barrier()

    def check_shared_folder(self, folder: Path) -> None:
        """Make sure that all processes see the same `folder`, by a temporary file in it.

        Raises `UserError` where a process does not see the file within `VISIBLE_WITHIN` seconds (network disks need some).
        """
        if self.size == 1:
            return
        file = folder / self.broadcast(f".seen-by-all-{uuid.uuid4().hex}")
        if self.is_main:
            write_text(file, "")
        self.barrier()
        deadline = time.monotonic() + VISIBLE_WITHIN
        while not (seen := file.is_file()) and time.monotonic() < deadline:
            time.sleep(1)
        seen_by_all = all(self.all_gather(seen))
        if self.is_main:
            file.unlink(missing_ok=True)
        if not seen_by_all:
            raise UserError(f"{folder} is not the same for all processes; let --runs be on a disk that all machines share.")


SINGLE_PROCESS = Ranks()


def local_device(name: str | None) -> str | None:
    """Return the device of this process: `name`, or the CUDA device of its local rank where there are several processes.

    Raises `UserError` where torchrun started more processes than there are CUDA devices, or `name` is one of them.
    """
    import torch

    own = torchrun_process()
    if own.size == 1 or name == "cpu" or not torch.cuda.is_available():
        return name
    if name not in (None, "cuda"):
        raise UserError(f"--device {name}: of several processes each takes a GPU of its own; leave the option out, or say "
                        "--device cpu.")
    devices = torch.cuda.device_count()
    if own.here > devices:
        raise UserError(f"torchrun started {own.here} processes, and torch sees {devices} CUDA devices here; take "
                        f"--nproc-per-node {devices}, or --device cpu.")
    return f"cuda:{own.local}"


def init_process_group(device: str | None) -> Ranks:
    """Connect to the other processes that torchrun started; `SINGLE_PROCESS` where there are none. Once a program.

    Raises `MachineError` where the processes do not find each other.
    """
    if torchrun_process().size == 1:
        return SINGLE_PROCESS
    import torch
    from torch import distributed as dist

    cuda = device is not None and device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        control = dist.new_group(backend="gloo", timeout=TIMEOUT)
    except RuntimeError as error:
        raise MachineError(f"the {torchrun_process().size} processes of this run did not find each other "
                           f"({_first_line(error)}); see torchrun's options --nnodes and --rdzv-endpoint.") from error
    return Ranks(dist.get_rank(), dist.get_world_size(), control, torchrun_process().local)


def destroy_process_group() -> None:
    """Disconnect from the other processes, at the end of the program."""
    from torch import distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def report_lost_processes() -> Iterator[None]:
    """Turn an error of a collective whose cause is that another process has ended into a `LostError`."""
    try:
        yield
    except RuntimeError as error:
        if not any(word in str(error).lower() for word in PEER_LOST):
            raise
        from torch import distributed as dist

        if dist.is_initialized():
            raise LostError("another process of this run has ended, so this one stops too; what was saved is whole, and the "
                            f"same command goes on from there ({_first_line(error)}).") from error
        raise


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
