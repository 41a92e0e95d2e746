"""What an augmentation is, and how it goes together with what a method does to a batch itself."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Method


@dataclass(frozen=True)
class Augmentation:
    """`transform(batch, draws, flip)` changes the images of a batch and leaves it that long.

    `flip` tells it whether a mirrored image is still an image of its class. With a `condition_dim` the batch gets a
    condition vector of that length for each image (`Batch.augment`), zero where nothing was done. It goes through a linear
    layer without a bias into the network's time embedding; samples are drawn without it, which is the vector of zeros.
    """

    summary: str
    source: str
    evidence: str  # where the definition was read; one of methods.base.EVIDENCE
    transform: Callable[[Batch, Draws, bool], Batch]
    condition_dim: int = 0
    cites: tuple[str, ...] = ()  # keys of references.bib


def transformed(method: Method, batch: Batch, draws: Draws) -> Batch:
    """The augmented `batch` after the method's own `transform_batch`, with the condition vectors of both.

    The method sees a batch without a condition vector, and what it puts there comes behind that of the augmentation.
    """
    own = method.transform_batch(replace(batch, augment=None), draws)
    if batch.augment is None:
        return own
    vector = batch.augment.new_zeros(len(own.labels), method.augment_dim) if own.augment is None else own.augment
    return replace(own, augment=torch.cat([batch.augment, vector], dim=1))
