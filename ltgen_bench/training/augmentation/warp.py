"""Bicubic resampling of images at arbitrary points."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def warp(images: Float[Tensor, "B C H W"], x: Float[Tensor, "B h w"], y: Float[Tensor, "B h w"]) -> Float[Tensor, "B C h w"]:
    """Return the values of `images` at the points (x, y) in pixels, x to the right, y down, (0, 0) the first pixel's centre.

    Bicubic convolution with Keys' kernel, a = -1/2 (Catmull-Rom), which reproduces linear ramps; torch's has a = -3/4 and
    does not. Beyond its borders the image is mirrored at the outermost pixels, which are not repeated. Values are not
    clipped, so they may exceed the range of the image a little. At integer points the pixels are returned bit for bit.
    """
    (batch, channels, height, width), shape = images.shape, x.shape[1:]
    pixels, columns = images.flatten(2), _taps(x.flatten(1), width)
    result = images.new_zeros(batch, channels, *shape).flatten(2)
    for row, down in _taps(y.flatten(1), height):  # one of the 16 neighbours at a time, to save memory
        line = torch.zeros_like(result)
        for column, across in columns:
            there = (row * width + column)[:, None].expand(-1, channels, -1)
            line.addcmul_(pixels.gather(2, there), across[:, None])
        result.addcmul_(line, down[:, None])
    return result.view(batch, channels, *shape)


def _taps(places: Float[Tensor, "B N"], size: int) -> list[tuple[Int64[Tensor, "B N"], Float[Tensor, "B N"]]]:
    """Return index and weight of the four pixels around each point along one axis."""
    first = places.floor()
    t = places - first
    weights = (((2 - t) * t - 1) * t / 2, (3 * t - 5) * t * t / 2 + 1, ((4 - 3 * t) * t + 1) * t / 2, (t - 1) * t * t / 2)
    there_and_back = max(2 * (size - 1), 1)
    numbers = [(first.long() + offset).remainder(there_and_back) for offset in (-1, 0, 1, 2)]
    return [(torch.minimum(number, there_and_back - number), weight) for number, weight in zip(numbers, weights, strict=True)]
