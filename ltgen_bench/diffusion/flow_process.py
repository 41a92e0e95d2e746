"""Rectified flow: a straight path from image to noise in continuous time, and the network predicts its velocity."""

from types import MappingProxyType

from jaxtyping import Float, Num
from torch import Tensor

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.process import Process


class FlowProcess(Process):
    """x_t = (1 - s) x_0 + s noise with s = t / 1000 uniform in [0, 1); the network predicts the velocity noise - x_0.

    This is the linear path of rectified flow (Liu et al.) and of flow matching with optimal-transport paths (Lipman et al., with
    sigma_min = 0). Those papers run time from noise (0) to image (1); here s = 0 is the image, as in DDPM and in diffusers'
    flow-matching schedulers, whose sigma is s and whose timestep is 1000 s. So the velocity is dx_t / ds, a sampler goes from
    s = 1 to s = 0, and a weight that grows with t / T grows with the noise under either process. The network is given 1000 s as
    a real number, since its sinusoidal time embedding is made for times of 0 to 1000.
    """

    name = "flow"
    summary = "rectified flow: linear path in continuous time; the network predicts the velocity noise - x_0"
    source = "Liu et al., ICLR 2023, arXiv 2209.03003, equation 1; Lipman et al., ICLR 2023, arXiv 2210.02747, equation 23"
    predicts = "velocity noise - x_0 of the linear path x_t = (1 - s) x_0 + s noise, at the time 1000 s"
    schedulers = "FlowMatch"
    # how they space the steps of sampling (`shift` and its like) is no part of the process
    scheduler_values = MappingProxyType({"num_train_timesteps": Process.T, "invert_sigmas": False})
    scheduler_defaults = MappingProxyType({"invert_sigmas": False})

    def times(self, draws: Draws) -> Float[Tensor, " B"]:
        """Uniform in [0, T)."""
        return draws.uniform("t") * self.T

    def add_noise(self, x_0: Float[Tensor, "B C H W"], t: Num[Tensor, " B"],
                  noise: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """x_t = (1 - s) x_0 + s noise, s = t / T."""
        s = self.fraction(t).view(-1, 1, 1, 1)
        return (1 - s) * x_0 + s * noise

    def target(self, x_0: Float[Tensor, "B C H W"], noise: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The velocity noise - x_0."""
        return noise - x_0

    def reverse_divergence(self, t: Num[Tensor, " B"]) -> Float[Tensor, " B"]:
        """k_t = (1 - s) / (T s), s at least 1 / T: of steps of the reverse SDE that has the marginals of the flow.

        Its forward SDE is dx = -x / (1 - s) ds + g dw with g^2 = 2 s / (1 - s), the score is -(x + (1 - s) v) / s for the
        velocity v, and a step of 1 / T has the variance g^2 / T.
        """
        s = self.fraction(t).clamp(min=1 / self.T)
        return (1 - s) / (self.T * s)
