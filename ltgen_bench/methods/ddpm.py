"""Class-conditional DDPM: the backbone of the other methods."""

from torch import nn

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Loss, Method, Settings


class DDPM(Method):
    """L = mean((eps_theta(x_t, t, y) - eps)^2), with the label always there (Ho et al. 2020, equation 14).

    It learns no null label, so it is sampled without guidance. Rows that papers call "DDPM" and that use guidance are
    `cfg`.
    """

    name = "ddpm"
    summary = "regress the noise that was added; no label drop, so no guidance"
    source = "Ho et al., NeurIPS 2020, arXiv 2006.11239, equation 14; github.com/w86763777/pytorch-ddpm"
    evidence = "code"
    cites = ("ho2020ddpm",)
    has_null_label = False
    Settings = Settings

    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The plain mean squared error over batch and pixels."""
        x_t, t, noise = self.noised(batch, draws)
        total = (net(x_t, t, batch.labels, batch.augment) - noise).square().mean()
        return Loss(total, {"mse": total.detach()})
