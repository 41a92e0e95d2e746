"""What the oracle tests of the losses share: a small batch, its draws, and a network of one number a label."""

import torch
from torch import nn

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch

COUNTS = (20, 9, 4)
SHAPE = (1, 8, 8)
BATCH = 8


def draws(position=0, batch=BATCH, seed=0):
    return Draws(seed, position, batch, torch.device("cpu"))


def batch_of(*labels):
    """Noise with these labels."""
    x_0 = torch.rand(len(labels), *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(x_0, torch.tensor(labels))


def as_batch(images):
    """An `ImageSet` as the loss sees it."""
    return Batch(torch.from_numpy(images.images).float() / 127.5 - 1, torch.from_numpy(images.labels))


class ByLabel(nn.Module):
    """eps is one learnt number for each label, the last for none; it notes the labels of every forward pass."""

    def __init__(self, num_labels=4):
        super().__init__()
        self.number = nn.Parameter(torch.linspace(-1, 2, num_labels))
        self.calls = []

    def forward(self, x_t, t, labels, augment=None):
        self.calls.append(labels.clone())
        return self.number[labels].view(-1, 1, 1, 1).expand_as(x_t)
