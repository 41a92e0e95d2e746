"""What a noise process defines: the noisy image x_t, the target of the network, and the time."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Num
from torch import Tensor

from ltgen_bench.diffusion import STEPS
from ltgen_bench.diffusion.draws import Draws


class Process(ABC):
    """How noise is added to an image, and what the network predicts from the noisy image.

    Times t are given as the network takes them, one a sample: from 0 (the image) to T = 1000 (noise). `fraction` makes them
    0 ... 1. Methods take x_t, t and the target from `noised`, so that they work under every process.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]  # paper, equation
    predicts: ClassVar[str]  # what the network predicts, in words
    # of a diffusers folder whose network is of this process: the beginning of its scheduler's class name, what the scheduler's
    # file must state, and what it means where the file states nothing
    schedulers: ClassVar[str]
    scheduler_values: ClassVar[Mapping[str, Any]]
    scheduler_defaults: ClassVar[Mapping[str, Any]]
    T: ClassVar[int] = STEPS

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    @abstractmethod
    def times(self, draws: Draws) -> Num[Tensor, " B"]:
        """Times for training, uniform over the process: the draw "t"."""

    @abstractmethod
    def add_noise(self, x_0: Float[Tensor, "B C H W"], t: Num[Tensor, " B"],
                  noise: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """x_t: the images `x_0` with standard normal `noise` at times `t`."""

    @abstractmethod
    def target(self, x_0: Float[Tensor, "B C H W"], noise: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """What the network is to predict for x_t made of `x_0` and `noise`."""

    @abstractmethod
    def reverse_divergence(self, t: Num[Tensor, " B"]) -> Float[Tensor, " B"]:
        """k_t: a reverse step of 1 / T under two predictions h and h' differs by KL = k_t ||h - h'||^2, a sum over pixels."""

    def noised(self, x_0: Float[Tensor, "B C H W"], draws: Draws,
               ) -> tuple[Float[Tensor, "B C H W"], Num[Tensor, " B"], Float[Tensor, "B C H W"]]:
        """(x_t, t, target) of training images `x_0`, by the draws "t" and "noise"."""
        t = self.times(draws)
        noise = draws.normal("noise", *x_0.shape[1:])
        return self.add_noise(x_0, t, noise), t, self.target(x_0, noise)

    def fraction(self, t: Num[Tensor, " B"]) -> Float[Tensor, " B"]:
        """t / T: 0 for the image, 1 for noise. It is linear: `fraction(tau * t)` is tau t / T, rounded once."""
        return t / self.T
