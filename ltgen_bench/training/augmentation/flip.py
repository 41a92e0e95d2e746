"""Augmentations without a condition: none, and horizontal mirroring."""

from dataclasses import replace

import torch

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch
from ltgen_bench.training.augmentation.augmentation import Augmentation


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
