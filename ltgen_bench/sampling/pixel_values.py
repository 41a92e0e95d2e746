"""Pixels as bytes (0 ... 255) and as the networks take them (-1 ... 1)."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def to_uint8(x_0: Float[Tensor, "B C H W"]) -> UInt8[Tensor, "B C H W"]:
    """-1 ... 1 to 0 ... 255, rounded, clipped at the ends."""
    return ((x_0.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_uint8(images: UInt8[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """0 ... 255 to -1 ... 1 in float32."""
    return images.float() / 127.5 - 1
