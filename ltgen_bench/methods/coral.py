"""CORAL: a supervised contrastive loss keeps the classes apart in the middle of the U-Net."""

from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int64, Num
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.network import ConditionalUNet
from ltgen_bench.methods.base import Batch, Loss, Method
from ltgen_bench.methods.label_drop import LabelDropSettings, drop_labels


class CORALSettings(LabelDropSettings):
    """Defaults are the paper's values for CIFAR-10-LT at factor 100, known second-hand."""

    weight: float = Field(0.01, ge=0, description="w in the weight of the contrastive loss, w exp((1 - t / T) / decay)")
    decay: float = Field(0.8, gt=0, description="tau_r: the smaller, the more the contrastive loss is one of low noise")
    temperature: float = Field(0.12, gt=0, description="tau_SC of the contrastive loss")
    times_temperature: bool = Field(False, description="the contrastive loss times its temperature, as in the public code")
    projection: int = Field(128, ge=1, description="dimensions of the features that are compared")


class CORAL(Method):
    """CORAL (Rodriguez et al., NeurIPS 2025). With h = f_theta(x_t, t, y), v the spatial mean of the output of the middle
    block of the same pass, and z = W v + b at unit length:

        L      = mean((h - target)^2) + mean_i(w exp((1 - t_i / T) / tau_r)) SupCon
        SupCon = mean_i -1/|P_i| sum_{j in P_i} log(exp(z_i z_j / tau_SC) / sum_{k != i} exp(z_i z_k / tau_SC))

    P_i are the other samples of the batch with the label of i. Samples without any are left out of the mean of SupCon (Khosla
    et al. 2020), which is zero where there are none; its weight is averaged over the batch on its own. W and b are trained
    with the network and left out of sampling. Where the label was dropped there is no contrastive loss, as in the public
    code; with `label_drop_unit = "sample"` the samples without a label have weight 0, and are compared with nothing.

    The loss depends on the batch as a whole: with few samples of a class in it there is little to compare.

    Paper and code. The values of the paper (its table of hyper-parameters, second-hand) are w = 0.01 with tau_r = 0.8,
    tau_SC = 0.12 for CIFAR-10-LT at factor 100; 1.0, 0.10 at factor 1000; 1.0, 0.09 for CIFAR-100-LT at factor 100. The
    defaults of the public training script, the variant `released-code`, are w = 0.5, tau_r = 0.3, tau_SC = 0.1; and the script
    multiplies SupCon once more by tau_SC (`times_temperature`). Averaged over t the weight of SupCon is 0.406 in that variant,
    0.020 at the defaults here, and 0.0024 at these with the additional factor. Whether the runs of the paper had it is not
    known. The script also defines a second head and does not use it.
    """

    name = "coral"
    summary = "classes are held apart in the U-Net's middle block by a supervised contrastive loss"
    source = ("Rodriguez et al., NeurIPS 2025, arXiv 2506.15933; github.com/SankarLab/coral-lt-diffusion (values of the paper "
              "second-hand)")
    evidence = "code"
    cites = ("rodriguez2025coral", "khosla2020supcon")
    variants = MappingProxyType({
        "released-code": {"weight": 0.5, "decay": 0.3, "temperature": 0.1, "times_temperature": True}})
    Settings = CORALSettings
    head: nn.Linear

    def adapt_network(self, net: ConditionalUNet) -> ConditionalUNet:
        """`net` as it is; the head is made to fit its middle block."""
        self.head = nn.Linear(net.middle_channels, self.settings.projection)
        return net

    def extra_modules(self) -> nn.ModuleDict:
        """The head, W and b."""
        return nn.ModuleDict({"head": self.head})

    def whole_batch(self) -> bool:
        """Where features are contrasted."""
        return self.settings.weight > 0

    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The squared error, and the contrastive loss where labels were kept."""
        x_t, t, target = self.noised(batch, draws)
        labels, dropped = drop_labels(batch.labels, self.problem.null_label, self.settings, draws)
        if dropped is True or self.settings.weight == 0:
            mse = (net(x_t, t, labels, batch.augment) - target).square().mean()
            return Loss(mse, {"mse": mse.detach()})
        predicted, features = net(x_t, t, labels, batch.augment, middle=True)
        mse = (predicted - target).square().mean()
        labelled = labels != self.problem.null_label
        weight = (self.time_weight(t) * labelled).mean()
        with torch.autocast(features.device.type, enabled=False):  # cosines over a small temperature: in float32
            z = normalize(self.head(features.float().mean(dim=(2, 3))), dim=1)
            z, y, taken = draws.gathered(z), draws.gathered(batch.labels), draws.gathered(labelled)  # those of other ranks too
            contrast = weight * supervised_contrast(z, y, taken, self.settings.temperature)
        return Loss(mse + contrast, {"mse": mse.detach(), "contrast": contrast.detach()})

    def time_weight(self, t: Num[Tensor, " B"]) -> Float[Tensor, " B"]:
        """What SupCon is multiplied by at time t, largest at t = 0."""
        settings = self.settings
        factor = settings.weight * (settings.temperature if settings.times_temperature else 1.0)
        return factor * torch.exp((1 - self.problem.process.fraction(t)) / settings.decay)


def supervised_contrast(z: Float[Tensor, "B D"], labels: Int64[Tensor, " B"], taken: Bool[Tensor, " B"],
                        temperature: float) -> Float[Tensor, ""]:
    """SupCon among the samples that are `taken`, for z of unit length (Khosla et al., NeurIPS 2020, equation 2).

    Zero, with a gradient of zero, where no two of them share a label.
    """
    others = taken & ~torch.eye(len(z), dtype=torch.bool, device=z.device)  # [i, k]: k is compared with i
    positive = others & taken[:, None] & (labels[:, None] == labels)
    logits = z @ z.T / temperature
    # not -inf, whose sum over nothing has no gradient
    log_sum = logits.masked_fill(~others, torch.finfo(z.dtype).min).logsumexp(dim=1, keepdim=True)
    number = positive.sum(dim=1)
    of_anchor = ((log_sum - logits) * positive).sum(dim=1) / number.clamp(min=1)
    return of_anchor.sum() / (number > 0).sum().clamp(min=1)
