"""OC: the noise to predict may be that of another image of the batch, of a class at least as frequent."""

from types import MappingProxyType
from typing import Literal

from pydantic import Field
from torch import nn

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Loss, Method
from ltgen_bench.methods.label_drop import drop_labels
from ltgen_bench.methods.oriented import OrientedSettings, oriented_noise


class OCSettings(OrientedSettings):
    """The direction is that of the command in the public code's README, whose flags alone exchange nothing."""

    transfer: Literal["off", "t2h", "h2t", "full"] = Field(
        "t2h", description="classes whose images may become the target: none, those at least as frequent (t2h), those at "
        "most as frequent (h2t), all")


class OC(Method):
    """Oriented Calibration (Zhang et al., ICLR 2024). A noisy image may stem from any image of the batch:

        j* ~ Categorical(softmax_j -||x_t,i / sqrt(alphas_bar_t) - x_0,j||^2 / (2 sigma_t^2)),  j = i included
        accepted if n(y_j*) >= n(y_i) (t2h), n(y_j*) <= n(y_i) (h2t), always (full); otherwise j* = i
        eps'_i = (x_t,i - sqrt(alphas_bar_t) x_0,j*) / sqrt(1 - alphas_bar_t)
        L = mean((eps_theta(x_t, t, y_i) - eps')^2),   sigma_t^2 = 1 / alphas_bar_t - 1, n class counts

    The network is told y_i, or nothing where the label was dropped, which changes neither draw nor gate. At 32 x 32 pixels
    nothing is exchanged below t of about 450, at 8 x 8 below about 150. The loss depends on the whole batch: one cut into
    parts is another loss. With ADA the images of a batch are augmented each in its own way, and exchanged all the same.

    Paper and code. The paper draws from a class-balanced reference batch of its own ("Batch Resample") and writes a weighted
    mean of targets; the public code, followed here, draws one target from the training batch. `cut_time` and `tr_tau` are
    options of that code, with two differences. With `transfer = "full"` it ignores `cut_time`, which here holds for every
    `transfer`; the variant `released-code` ignores it too (`cut_full = false`). And `tr_tau` goes there without a gate and
    without `cut_time`, here with those of `transfer`: "full" in that variant is the same.
    """

    name = "oc"
    summary = "the noise to predict may lead to another image of the batch, of a class at least as frequent"
    source = "Zhang et al., ICLR 2024, OpenReview NW2s5XXwXU; github.com/MediaBrain-SJTU/OC_LT"
    evidence = "code"
    cites = ("zhang2024oc",)
    needs_process = ("ddpm", "its target is the noise of DDPM that leads to x_0 of another image")
    variants = MappingProxyType({"released-code": {"cut_full": False}})
    Settings = OCSettings

    def whole_batch(self) -> bool:
        """Where images are exchanged at all."""
        return self.settings.transfer != "off"

    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The mean squared error towards eps', with null labels where they were dropped."""
        x_t, t, noise = self.noised(batch, draws)
        target = oriented_noise(batch, x_t, t, noise, self.settings, self.problem, draws)
        labels, _ = drop_labels(batch.labels, self.problem.null_label, self.settings, draws)
        total = (net(x_t, t, labels, batch.augment) - target).square().mean()
        return Loss(total, {"mse": total.detach()})
