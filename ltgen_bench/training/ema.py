"""The moving average of the weights, with a half-life in images."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)


class EMA(Generic[N]):
    """ema <- d ema + (1 - d) weights after every step, d = 0.5^(images of the step / half-life).

    The half-life is at most `rampup` times the images seen, so that an early average is not held back by the random
    initial weights (the rule of the released training loop of EDM, Karras et al., NeurIPS 2022, arXiv 2206.00364).
    """

    def __init__(self, net: N, halflife_images: int, rampup: float) -> None:
        self.net: N = copy.deepcopy(net).eval().requires_grad_(False)
        self.halflife_images = halflife_images
        self.rampup = rampup

    def decay(self, images_seen: int, images: int) -> float:
        """The factor of the old average for a step of `images` images that ends at `images_seen`."""
        halflife = self.halflife_images if self.rampup == 0 else min(self.halflife_images, images_seen * self.rampup)
        return 0.5 ** (images / halflife) if halflife > 0 else 0.0

    @torch.no_grad()
    def update(self, net: nn.Module, images_seen: int, images: int) -> None:
        """Take one step towards the weights of `net`, all tensors in one fused call."""
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), 1 - self.decay(images_seen, images))
