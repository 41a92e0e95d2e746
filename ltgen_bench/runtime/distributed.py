"""The processes that share one run: torchrun starts them, and each has a device and a part of every batch of its own.

They work in step: what one process decides by its clock, its disk or a signal is agreed upon before anybody acts on it. One
process, the ordinary case, is `ALONE`, for which everything here does nothing.
"""

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ltgen_bench.core.errors import LostError, MachineError, UserError
from ltgen_bench.core.files import write_text
from ltgen_bench.core.torchrun import place

if TYPE_CHECKING:  # torch takes seconds to import, and one process has no use for its collectives
    import torch

T = TypeVar("T")

WAIT = timedelta(days=7)  # as long as the first process may take for what the others only wait for; torchrun ends the dead
SEEN_WITHIN = 60.0  # seconds in which a file that one process has written is there for the others
# what gloo and NCCL say when the other side is gone; their other errors are faults of the machine
LOST = ("closed by peer", "connection reset", "broken pipe", "socket timeout", "remote process exited", "ncclremoteerror")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run: number `rank` of `size`. The first one writes and speaks."""

    rank: int = 0
    size: int = 1
    control: Any = None  # the process group of small things, on the CPU
    local: int = 0  # its number on its machine

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def parts(self, count: int) -> tuple[range, ...]:
        """0 ... count - 1 in one piece a process, in order; their lengths differ by one at most."""
        ends = [count * number // self.size for number in range(self.size + 1)]
        return tuple(range(start, stop) for start, stop in pairwise(ends))

    def wait(self) -> None:
        """Go on when all are here."""
        if self.size > 1:
            from torch import distributed as dist

            dist.barrier(group=self.control)

    def agree(self, value: T) -> T:
        """What the first process has."""
        if self.size == 1:
            return value
        from torch import distributed as dist

        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def collected(self, value: T) -> list[T]:
        """What every process has, in order, in the first one; nothing in the others."""
        if self.size == 1:
            return [value]
        from torch import distributed as dist

        values = [value] * self.size if self.first else None
        dist.gather_object(value, values, dst=0, group=self.control)
        return values or []

    def everyone(self, value: T) -> list[T]:
        """What every process has, in order."""
        if self.size == 1:
            return [value]
        from torch import distributed as dist

        values = [value] * self.size
        dist.all_gather_object(values, value, group=self.control)
        return values

    def largest(self, values: Sequence[int]) -> list[int]:
        """The largest that any process has, for each of `values`."""
        if self.size == 1:
            return list(values)
        import torch
        from torch import distributed as dist

        found = torch.tensor(values)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return [int(value) for value in found.tolist()]

    def summed(self, values: "torch.Tensor") -> "torch.Tensor":
        """The sum over all processes, on the device of `values`."""
        if self.size > 1:
            from torch import distributed as dist

            values = values.clone()
            dist.all_reduce(values)
        return values

    def first_alone(self, context: AbstractContextManager[None]) -> AbstractContextManager[None]:
        """`context` for the first process; the others, which neither lock nor write, do without."""
        return context if self.first else nullcontext()

    @contextmanager
    def first_goes(self) -> Iterator[None]:
        """The first process does what is inside alone, then the first of each other machine, then all others.

        So each finds what is made or fetched there once, on a disk that all share or on that of its machine.
        """
        turn = 0 if self.first else 1 if self.local == 0 else 2
        for _ in range(turn):
            self.wait()
        yield
        for _ in range(turn, 2):
            self.wait()

    def share_disk(self, folder: Path) -> None:
        """Make sure that all processes see the same `folder`, by a file in it that the first one makes and takes away.

        A `UserError` where some do not see it for a minute, which a disk of the network may take to show what is new.
        """
        if self.size == 1:
            return
        file = folder / self.agree(f".seen-by-all-{uuid.uuid4().hex}")
        if self.first:
            write_text(file, "")
        self.wait()
        deadline = time.monotonic() + SEEN_WITHIN
        while not (seen := file.is_file()) and time.monotonic() < deadline:
            time.sleep(1)
        everyone = all(self.everyone(seen))
        if self.first:
            file.unlink(missing_ok=True)
        if not everyone:
            raise UserError(f"{folder} is not the same for all processes; let --runs be on a disk that all machines share.")


ALONE = Ranks()


def device_here(name: str | None) -> str | None:
    """The device of this process where `name` leaves the choice among several GPUs.

    Raises `UserError` where torchrun started more processes than there are.
    """
    import torch

    own = place()
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


def join(device: str | None) -> Ranks:
    """Meet the other processes on the `device_here`, where torchrun started some; `ALONE` otherwise. Once a program."""
    if place().size == 1:
        return ALONE
    import torch
    from torch import distributed as dist

    cuda = device is not None and device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        control = dist.new_group(backend="gloo", timeout=WAIT)
    except RuntimeError as error:
        raise MachineError(f"the {place().size} processes of this run did not find each other "
                           f"({_first_line(error)}); see torchrun's options --nnodes and --rdzv-endpoint.") from error
    return Ranks(dist.get_rank(), dist.get_world_size(), control, place().local)


def leave() -> None:
    """Say good-bye at the end of the program, when all have done so."""
    from torch import distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def minding_the_others() -> Iterator[None]:
    """What torch raises because another process has ended becomes a `LostError`."""
    try:
        yield
    except RuntimeError as error:
        if not any(word in str(error).lower() for word in LOST):
            raise
        from torch import distributed as dist

        if dist.is_initialized():
            raise LostError("another process of this run has ended, so this one stops too; what was saved is whole, and the "
                            f"same command goes on from there ({_first_line(error)}).") from error
        raise


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
