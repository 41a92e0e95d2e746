"""Every random number of a run as a function of (seed, position, name): nothing to store, share or set globally.

A draw does not depend on which other draws were made before it. So methods that differ in one term see the same data,
time steps and noise at the same seed, and a run that goes on draws what an undisturbed one would have drawn.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch import distributed as dist

from ltgen_bench.runtime.distributed import SINGLE_PROCESS, Ranks


def derived_seed(*parts: int | str) -> int:
    """A seed below 2^63 that depends on all `parts` (the CPU generator uses its lower 32 bits)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little") >> 1


def image_seed(seed: int, index: int) -> int:
    """The seed of generated image `index`, below 2^32. Images of one set never share a seed."""
    return (derived_seed(seed, "image") + index) % 2**32


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator on `device`."""
    return torch.Generator(device=device).manual_seed(seed)


@dataclass(frozen=True)
class Draws:
    """The draws of one training step at `images_seen`, made for the global batch and sliced to [start, stop).

    With several ranks or micro-batches each takes its own slice of the same draw, so their number changes nothing. `sizes` says
    how many images each of `ranks` has in the slice that it takes now.
    """

    seed: int
    images_seen: int
    global_batch: int
    device: torch.device
    start: int = 0
    stop: int | None = None
    ranks: Ranks = SINGLE_PROCESS
    sizes: tuple[int, ...] = ()

    def _generator(self, name: str, device: torch.device | None = None) -> torch.Generator:
        return generator(derived_seed(self.seed, self.images_seen, name), device or self.device)

    def _slice(self, drawn: Tensor) -> Tensor:
        return drawn[self.start:self.stop]

    def normal(self, name: str, *shape: int) -> Float[Tensor, " B *shape"]:
        """Standard normal float32 [B, *shape]."""
        drawn = torch.randn(self.global_batch, *shape, generator=self._generator(name), device=self.device)
        return self._slice(drawn)

    def uniform(self, name: str) -> Float[Tensor, " B"]:
        """Uniform in [0, 1), one number a sample."""
        return self._slice(torch.rand(self.global_batch, generator=self._generator(name), device=self.device))

    def integers(self, name: str, high: int) -> Int64[Tensor, " B"]:
        """Uniform in 0 ... high - 1, one number a sample."""
        drawn = torch.randint(high, (self.global_batch,), generator=self._generator(name), device=self.device)
        return self._slice(drawn)

    def categorical(self, name: str, weights: Float[Tensor, " K"]) -> Int64[Tensor, " B"]:
        """Independent classes with probabilities proportional to `weights`, one a sample."""
        drawn = torch.multinomial(weights, self.global_batch, replacement=True, generator=self._generator(name))
        return self._slice(drawn)

    def coin(self, name: str, probability: float) -> bool:
        """One decision for the whole global batch, made on the CPU so that no device is waited for."""
        return bool(torch.rand((), generator=self._generator(name, torch.device("cpu"))) < probability)

    def gathered(self, values: Shaped[Tensor, " b *shape"]) -> Shaped[Tensor, " B *shape"]:
        """`values` of the images of this slice, and of those that other ranks have now: for losses over the batch.

        In the order of the global batch, where there are no micro-batches. Gradients flow to the ranks that they belong to.
        """
        return values if self.ranks.size == 1 else gathered(values, self.ranks.rank, self.sizes)

    @property
    def offset(self) -> int:
        """The row of the first own image among what is gathered."""
        return sum(self.sizes[:self.ranks.rank])


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


def gathered(values: Shaped[Tensor, " b *shape"], rank: int, sizes: Sequence[int]) -> Shaped[Tensor, " B *shape"]:
    """`values` of all processes in order, where process i has `sizes[i]` rows. Gradients flow back to where they came from.

    A loss that every process computes of all rows, and whose gradients are then averaged over the processes, is differentiated
    as if one process had all of it.
    """
    return _Gathered.apply(values, rank, tuple(sizes))
