"""CBDM: predictions for the true label stay near those for a second, randomly drawn label."""

from typing import Any, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Loss, Method
from ltgen_bench.methods.frequency import power
from ltgen_bench.methods.label_drop import LabelDropSettings, drop_labels


class CBDMSettings(LabelDropSettings):
    """Defaults are what the public code does. Where the paper is read differently, the setting says so."""

    tau: float = Field(1.0, ge=0, description="weight of both penalties is tau t / T; the paper's 0.001 t at T = 1000")
    gamma: float = Field(0.25, ge=0, description="weight of the penalty on the second label's branch; 1/4 in the code")
    auxiliary_labels: Literal["train-frequency", "square-root", "uniform"] = Field(
        "train-frequency", description="law of the second label y'; the paper offers all three, the code trains with "
        "the first and fine-tunes with the last")


class CBDM(Method):
    """Class-Balancing Diffusion Models (Qin et al., CVPR 2023). With h = f_theta(x_t, t, y), h' for the label y':

        L = mean((h - target)^2) + mean(w (h - sg[h'])^2) + gamma mean(w (sg[h] - h')^2),   w = tau t / T

    y' is drawn for every sample, independently of y, and may equal it. Both predictions see the same x_t, t, noise and
    augmentation, and have dropout masks of their own. Where the label was dropped the two penalties are absent, as in
    the public code. That code adds the penalties only if their sum is above zero, which squares always satisfy.
    """

    name = "cbdm"
    summary = "predictions under the true label stay near those under a random second label"
    source = "Qin et al., CVPR 2023, arXiv 2305.00562; github.com/qym7/CBDM-pytorch"
    evidence = "code"
    cites: ClassVar[tuple[str, ...]] = ("qin2023cbdm",)
    extra_forwards = "1 on 90 % of the steps"
    Settings: ClassVar[type[Any]] = CBDMSettings

    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The three terms; both predictions go through the network as one batch of twice the size."""
        x_t, t, target = self.noised(batch, draws)
        labels, dropped = drop_labels(batch.labels, self.problem.null_label, self.settings, draws)
        if dropped is True:
            mse = (net(x_t, t, labels, batch.augment) - target).square().mean()
            return Loss(mse, {"mse": mse.detach()})
        auxiliary = draws.categorical("auxiliary-labels", self.auxiliary_weights().to(t.device, non_blocking=True))
        h, h_aux = self.doubled(net, batch, x_t, t, labels, auxiliary).chunk(2)
        weight = self.problem.process.fraction(self.settings.tau * t)
        if dropped is not False:  # a mask: the samples without a label have no penalty
            weight = weight * ~dropped
        weight = weight.view(-1, 1, 1, 1)
        mse = (h - target).square().mean()
        pull = (weight * (h - h_aux.detach()).square()).mean()
        pull_auxiliary = self.settings.gamma * (weight * (h.detach() - h_aux).square()).mean()
        terms = {"mse": mse, "pull": pull, "pull_auxiliary": pull_auxiliary}
        return Loss(mse + pull + pull_auxiliary, {name: term.detach() for name, term in terms.items()})

    def auxiliary_weights(self) -> Float[Tensor, " K"]:
        """Relative probability of each class as y', float32: on a GPU float64 would draw other labels."""
        exponent = {"train-frequency": 1.0, "square-root": 0.5, "uniform": 0.0}[self.settings.auxiliary_labels]
        return power(self.problem.class_counts, exponent).float()
