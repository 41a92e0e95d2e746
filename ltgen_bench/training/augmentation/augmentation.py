"""The interface of augmentations, their combination with a method's own transform of the batch, and those without a condition."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Method


@dataclass(frozen=True)
class Augmentation:
    """Augmentation by `transform(batch, draws, flip)`, which returns a batch of the same length.

    `flip` says whether a mirrored image still belongs to its class. With a `condition_dim` the batch gets condition vectors
    of that length (`Batch.augment`), zero for the identity. A linear layer without bias adds them to the network's time
    embedding; sampling uses zeros.
    """

    summary: str
    source: str
    evidence: str  # where the definition was read; one of methods.base.EVIDENCE
    transform: Callable[[Batch, Draws, bool], Batch]
    condition_dim: int = 0
    cites: tuple[str, ...] = ()  # keys of references.bib


def transformed(method: Method, batch: Batch, draws: Draws) -> Batch:
    """Return the augmented `batch` after the method's own `transform_batch`, with the condition vectors of both.

    The method gets a batch without condition vectors; its own are concatenated after those of the augmentation.
    """
    own = method.transform_batch(replace(batch, augment=None), draws)
    if batch.augment is None:
        return own
    vector = batch.augment.new_zeros(len(own.labels), method.augment_dim) if own.augment is None else own.augment
    return replace(own, augment=torch.cat([batch.augment, vector], dim=1))


def _mirrored(batch: Batch, draws: Draws, flip: bool) -> Batch:
    if not flip:
        return batch
    mirrored = (draws.uniform("flip") < 0.5).view(-1, 1, 1, 1)
    return replace(batch, x_0=torch.where(mirrored, batch.x_0.flip(3), batch.x_0))


def _unchanged(batch: Batch, draws: Draws, flip: bool) -> Batch:
    return batch


FLIP = Augmentation(
    summary="mirrored left to right with probability 1/2, where data.flip allows it; the network is not told",
    source="Ho et al., NeurIPS 2020, arXiv 2006.11239, appendix B", evidence="standard", transform=_mirrored,
    cites=("ho2020ddpm",))
NONE = Augmentation(summary="images as they are", source="no augmentation", evidence="standard", transform=_unchanged, cites=())
