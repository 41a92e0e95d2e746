"""Images of any size as a classifier of this benchmark sees them: its time and memory are bounded, whatever was generated."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn import functional

from ltgen_bench.evaluation.classifiers.classifier_recipe import LARGE_IMAGE

LEAST = 2  # pixels: the small CNN halves an image once
BLOCK = 64  # images at a time


def seen_size(height: int, width: int) -> tuple[int, int]:
    """Height and width that a classifier sees: at most LARGE_IMAGE, the shorter side in proportion, and at least LEAST."""
    longest = max(height, width)
    if longest > LARGE_IMAGE:
        height, width = (max(1, round(side * LARGE_IMAGE / longest)) for side in (height, width))
    return max(height, LEAST), max(width, LEAST)


def reduced(images: UInt8[np.ndarray, "N C H W"]) -> UInt8[np.ndarray, "N C h w"]:
    """The images in `seen_size`: means over areas, rounded; a side of one pixel is repeated. Others are left as they are."""
    size = seen_size(*images.shape[2:])
    if size == images.shape[2:]:
        return images
    made = np.empty((*images.shape[:2], *size), np.uint8)
    for start in range(0, len(images), BLOCK):
        part = torch.from_numpy(np.ascontiguousarray(images[start:start + BLOCK])).float()
        made[start:start + BLOCK] = functional.interpolate(part, size, mode="area").round().to(torch.uint8).numpy()
    return made
