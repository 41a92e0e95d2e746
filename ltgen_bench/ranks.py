"""The processes that share one run: torchrun starts them, and each has a device and a part of every batch of its own.

They work in step: what one process decides by its clock, its disk or a signal is agreed upon before anybody acts on it. One
process, the ordinary case, is `ALONE`, for which everything here does nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch import distributed as dist

from ltgen_bench.errors import LostError, UserError
from ltgen_bench.torchrun import place

T = TypeVar("T")

WAIT = timedelta(days=7)  # as long as the first process may take for what the others only wait for; torchrun ends the dead
LOST = ("closed by peer", "connection reset", "broken pipe", "socket timeout", "nccl", "gloo")  # what a dead process leaves


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run: number `rank` of `size`. The first one writes and speaks."""

    rank: int = 0
    size: int = 1
    control: Any = None  # the process group of small things, on the CPU

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
            dist.barrier(group=self.control)

    def agree(self, value: T) -> T:
        """What the first process has."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self.control)
        return values[0]

    def collected(self, value: T) -> list[T]:
        """What every process has, in order, in the first one; nothing in the others."""
        if self.size == 1:
            return [value]
        values = [value] * self.size if self.first else None
        dist.gather_object(value, values, dst=0, group=self.control)
        return values or []

    def largest(self, values: Sequence[int]) -> list[int]:
        """The largest that any process has, for each of `values`."""
        if self.size == 1:
            return list(values)
        found = torch.tensor(values)
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return [int(value) for value in found.tolist()]

    def summed(self, values: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """The sum over all processes, on the device of `values`."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    @contextmanager
    def first_goes(self) -> Iterator[None]:
        """The first process does what is inside alone, then the others do it, who find what it has left on the disk."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


ALONE = Ranks()


class _Gathered(torch.autograd.Function):
    """Rows of all processes, one after the other; a gradient is the sum of what all of them have for a row."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rank: int, sizes: tuple[int, ...]) -> Tensor:
        ctx.own = slice(sum(sizes[:rank]), sum(sizes[:rank + 1]))
        padded = values.new_zeros(max(sizes), *values.shape[1:])  # every process sends as many
        padded[:len(values)] = values
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded)
        return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient[ctx.own], None, None


def gathered(values: Shaped[Tensor, "b *shape"], rank: int, sizes: Sequence[int]) -> Shaped[Tensor, "B *shape"]:
    """`values` of all processes in order, where process i has `sizes[i]` rows. Gradients flow back to where they came from.

    A loss that every process computes of all rows, and whose gradients are then averaged over the processes, is differentiated
    as if one process had all of it.
    """
    return _Gathered.apply(values, rank, tuple(sizes))


def device_here(name: str | None) -> str | None:
    """The device of this process where `name` leaves the choice among several GPUs.

    Raises `UserError` where torchrun started more processes than there are.
    """
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
    cuda = device is not None and device.startswith("cuda")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    return Ranks(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=WAIT))


def leave() -> None:
    """Say good-bye at the end of the program, when all have done so."""
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def minding_the_others() -> Iterator[None]:
    """What torch raises because another process has ended becomes a `LostError`."""
    try:
        yield
    except RuntimeError as error:
        if dist.is_initialized() and any(word in str(error).lower() for word in LOST):
            raise LostError("another process of this run has ended, so this one stops too; what was saved is whole, and the "
                               "same command goes on from there.") from error
        raise
