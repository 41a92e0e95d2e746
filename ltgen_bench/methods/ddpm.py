"""The plain regression of the target: class-conditional DDPM, or a class-conditional flow."""

from typing import Any, ClassVar

from torch import nn

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Loss, Method, Settings


class DDPM(Method):
    """L = mean((f_theta(x_t, t, y) - target)^2), with the label always there (Ho et al. 2020, equation 14).

    The target is the noise, and under the process `flow` the velocity, which makes this conditional flow matching (Lipman et
    al., ICLR 2023, equation 23).

    It learns no null label, so it is sampled without guidance. Rows that papers call "DDPM" and that use guidance are
    `cfg`.
    """

    name = "ddpm"
    summary = "regress the target of the process (the noise that was added); no label drop, so no guidance"
    source = "Ho et al., NeurIPS 2020, arXiv 2006.11239, equation 14; github.com/w86763777/pytorch-ddpm"
    evidence = "code"
    cites: ClassVar[tuple[str, ...]] = ("ho2020ddpm",)
    has_null_label = False
    Settings: ClassVar[type[Any]] = Settings

    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The plain mean squared error over batch and pixels."""
        x_t, t, target = self.noised(batch, draws)
        total = (net(x_t, t, batch.labels, batch.augment) - target).square().mean()
        return Loss(total, {"mse": total.detach()})
