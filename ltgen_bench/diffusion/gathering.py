"""What the images of a batch are compared with where several processes share it: the rows of all of them."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch import distributed as dist


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
