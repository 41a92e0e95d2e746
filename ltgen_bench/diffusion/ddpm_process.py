"""The process of DDPM: 1000 steps of a linear schedule, and the network predicts the noise."""

from types import MappingProxyType

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ltgen_bench.diffusion import BETA_END, BETA_START, DDPM_SCHEDULER
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.process import Process


class DDPMProcess(Process):
    """q(x_t | x_0) = N(sqrt(alphas_bar_t) x_0, (1 - alphas_bar_t) I) at t = 0 ... 999; the network predicts the noise.

    beta_t is linear from 1e-4 to 0.02 and alphas_bar_t = prod_{s <= t} (1 - beta_s). `betas` and `alphas_bar` are float64 [T] on
    the CPU; what a training step needs is gathered on the device in float32.
    """

    name = "ddpm"
    summary = "1000 steps of a linear schedule; the network predicts the noise"
    source = "Ho et al., NeurIPS 2020, arXiv 2006.11239, equations 4 and 14"
    predicts = "noise of DDPM's linear schedule (1000 steps)"
    schedulers = ""  # all that are of no other process
    scheduler_values = MappingProxyType({**DDPM_SCHEDULER, "trained_betas": None, "rescale_betas_zero_snr": False})
    scheduler_defaults = MappingProxyType({"prediction_type": "epsilon", "trained_betas": None, "rescale_betas_zero_snr": False})

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__(device)
        self.betas = torch.linspace(BETA_START, BETA_END, self.T, dtype=torch.float64)
        self.alphas_bar = torch.cumprod(1 - self.betas, dim=0)
        # the means of the reverse steps differ by beta_t / sqrt((1 - beta_t) (1 - alphas_bar_t)) (h - h'), and both have the
        # variance beta_t
        self.divergences = self.betas / (2 * (1 - self.betas) * (1 - self.alphas_bar))
        self._signal = self.alphas_bar.sqrt().float().to(device)
        self._noise = (1 - self.alphas_bar).sqrt().float().to(device)
        self._divergences = self.divergences.float().to(device)

    def times(self, draws: Draws) -> Int64[Tensor, " B"]:
        """Uniform in 0 ... T - 1."""
        return draws.integers("t", self.T)

    def add_noise(self, x_0: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"],
                  noise: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """x_t = sqrt(alphas_bar_t) x_0 + sqrt(1 - alphas_bar_t) noise (equation 4)."""
        return self._signal[t].view(-1, 1, 1, 1) * x_0 + self._noise[t].view(-1, 1, 1, 1) * noise

    def target(self, x_0: Float[Tensor, "B C H W"], noise: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The noise (equation 14)."""
        return noise

    def reverse_divergence(self, t: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """k_t = beta_t / (2 (1 - beta_t) (1 - alphas_bar_t)): of the reverse steps p(x_{t-1} | x_t), of variance beta_t."""
        return self._divergences[t]
