"""Training with label drop, for classifier-free guidance."""

from typing import Any, ClassVar

from torch import nn

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Loss, Method
from ltgen_bench.methods.label_drop import LabelDropSettings, drop_labels


class CFG(Method):
    """DDPM's loss in which the label is missing with probability `label_drop` (Ho and Salimans 2022, algorithm 1).

    The paper drops the label of each sample; the public code of this field drops a whole batch by one coin, which is
    the default here (`label_drop_unit = "batch"`).
    """

    name = "cfg"
    summary = "DDPM with 10 % label drop, sampled with classifier-free guidance omega"
    source = "Ho and Salimans, arXiv 2207.12598, algorithm 1; github.com/qym7/CBDM-pytorch"
    evidence = "code"
    cites: ClassVar[tuple[str, ...]] = ("ho2022cfg",)
    Settings: ClassVar[type[Any]] = LabelDropSettings

    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The mean squared error, with null labels where they were dropped."""
        x_t, t, target = self.noised(batch, draws)
        labels, _ = drop_labels(batch.labels, self.problem.null_label, self.settings, draws)
        total = (net(x_t, t, labels, batch.augment) - target).square().mean()
        return Loss(total, {"mse": total.detach()})
