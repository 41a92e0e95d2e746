"""The forward process q(x_t | x_0) of DDPM (Ho et al., NeurIPS 2020, arXiv 2006.11239)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ltgen_bench.diffusion import BETA_END, BETA_START, STEPS


class Schedule:
    """beta_t linear from 1e-4 to 0.02 over T = 1000 steps, t = 0 ... 999; alphas_bar_t = prod_{s <= t} (1 - beta_s).

    `betas` and `alphas_bar` are float64 [T] on the CPU; what a step needs is gathered on the device in float32.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.T = STEPS
        self.betas = torch.linspace(BETA_START, BETA_END, STEPS, dtype=torch.float64)
        self.alphas_bar = torch.cumprod(1 - self.betas, dim=0)
        self._signal = self.alphas_bar.sqrt().float().to(device)
        self._noise = (1 - self.alphas_bar).sqrt().float().to(device)

    def add_noise(self, x_0: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"],
                  noise: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """x_t = sqrt(alphas_bar_t) x_0 + sqrt(1 - alphas_bar_t) noise (equation 4)."""
        return self._signal[t].view(-1, 1, 1, 1) * x_0 + self._noise[t].view(-1, 1, 1, 1) * noise

    def noise_towards(self, x_t: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"],
                      x_0: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The noise that leads from `x_0` to `x_t`: the inverse of `add_noise` in its third argument."""
        return (x_t - self._signal[t].view(-1, 1, 1, 1) * x_0) / self._noise[t].view(-1, 1, 1, 1)

    def predicted_x_0(self, x_t: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"],
                      eps: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """x_0 that `eps` implies, not clipped (equation 15)."""
        return (x_t - self._noise[t].view(-1, 1, 1, 1) * eps) / self._signal[t].view(-1, 1, 1, 1)
