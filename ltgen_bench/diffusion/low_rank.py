"""A low-rank reserve in the decoder's convolutions: a part of their weights that a method can switch off for one pass."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ltgen_bench.diffusion.network import ConditionalUNet

N = TypeVar("N", bound=nn.Module)


class LowRankReserve(nn.Module):
    """A convolution whose weight is W + B A. `active` says whether B A, the reserve, takes part.

    W [c_out, c_in, k, k] is that of `conv`. A [r k, c_in k] is Kaiming normal for a leaky slope of sqrt(5), B [c_out k, r k]
    is zero, so that the convolution is at first what it was; their product is reshaped to W's shape and not scaled. The
    rank is r = max(floor(rank_ratio min(c_in, c_out)), 1). Initial values come from torch's global generator.
    """

    def __init__(self, conv: nn.Conv2d, rank_ratio: float) -> None:
        super().__init__()
        c_out, c_in, k, _ = conv.weight.shape
        rank = max(int(rank_ratio * min(c_in, c_out)), 1)
        self.conv = conv
        self.A = nn.Parameter(conv.weight.new_empty(rank * k, c_in * k))
        self.B = nn.Parameter(conv.weight.new_zeros(c_out * k, rank * k))
        nn.init.kaiming_normal_(self.A, a=math.sqrt(5))
        self.active = True

    def full_weight(self) -> Float[Tensor, "O I k k"]:
        """W + B A."""
        return self.conv.weight + (self.B @ self.A).view(self.conv.weight.shape)

    def forward(self, x: Float[Tensor, "B I h w"]) -> Float[Tensor, "B O h w"]:
        weight = self.full_weight() if self.active else self.conv.weight
        return nn.functional.conv2d(x, weight, self.conv.bias, self.conv.stride, self.conv.padding)


def add_reserve(net: ConditionalUNet, rank_ratio: float) -> ConditionalUNet:
    """`net` itself, with a reserve in every 3 x 3 convolution of the up path: residual blocks and up-sampling."""
    for parent in list(net.unet.up_blocks.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3):
                setattr(parent, name, LowRankReserve(child, rank_ratio))
    return net


@contextmanager
def without_reserve(net: nn.Module) -> Iterator[None]:
    """Inside, `net` computes with W alone; its reserves get no gradient from there.

    `net` may wrap the network. A compiled one has a graph for each of the two states, since it looks at `active`.
    """
    reserves = [module for module in net.modules() if isinstance(module, LowRankReserve)]
    try:
        for reserve in reserves:
            reserve.active = False
        yield
    finally:
        for reserve in reserves:
            reserve.active = True


def merged(net: N) -> N:
    """A copy of `net` with plain convolutions of the weight W + B A: the same function without further cost."""
    net = copy.deepcopy(net)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LowRankReserve):
                with torch.no_grad():
                    child.conv.weight.copy_(child.full_weight())
                setattr(parent, name, child.conv)
    return net
