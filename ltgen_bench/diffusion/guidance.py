"""Classifier-free guidance wraps the network; a sampler does not know about it (Ho and Salimans, arXiv 2207.12598)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, Num
from torch import Tensor, nn

from ltgen_bench.runtime.compiling import compiled

# (x_t [B, C, H, W] float32, t [B] as the process has it, labels [B] int64) -> the prediction [B, C, H, W] float32
Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Guidance:
    """cond + omega (cond - null), of predicted noise or velocities.

    omega = 0 is plain conditional sampling; other texts' scale is 1 + omega.

    `compiled`: `guided` compiles the network. What else a method's denoiser does runs as it stands.
    """

    omega: float = 0.0
    compiled: bool = False


def guided(net: nn.Module, guidance: Guidance, null_label: int) -> Denoiser:
    """What the sampler calls. Conditional and null predictions go through the network as one doubled batch."""
    net = compiled(net) if guidance.compiled else net

    def conditional(x_t: Float[Tensor, "B C H W"], t: Num[Tensor, " B"],
                    labels: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
        return net(x_t, t, labels)

    def both(x_t: Float[Tensor, "B C H W"], t: Num[Tensor, " B"],
             labels: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
        both_labels = torch.cat([labels, torch.full_like(labels, null_label)])
        cond, null = net(torch.cat([x_t, x_t]), torch.cat([t, t]), both_labels).chunk(2)
        return cond + guidance.omega * (cond - null)

    return both if guidance.omega > 0 else conditional
