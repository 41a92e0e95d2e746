"""CCUA: features of different noisy images apart, conditional and unconditional predictions together."""

from types import MappingProxyType

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Loss, Method
from ltgen_bench.methods.frequency import brs
from ltgen_bench.methods.label_drop import LabelDropSettings, drop_labels


class CCUASettings(LabelDropSettings):
    """Defaults are the losses of the public U-Net script, without its resampling. Each of the three parts can be off."""

    a_ucl: float = Field(1.0, ge=0, description="weight of the contrastive loss on unconditional features; 0 is off")
    a_al: float = Field(1.0, ge=0, description="weight of the alignment of conditional and unconditional predictions; 0 is off")
    temperature: float = Field(0.1, gt=0, description="of the contrastive loss; fixed in the code")
    ucl_time_weight: bool = Field(True, description="the contrastive loss times t / T, as in the code for every data set")
    brs: float = Field(0.0, ge=0, le=1, description="batch resampling: how often the rarest class is drawn for each draw of the "
                       "most frequent one, 0.1 in the code; 0 is off")


class CCUA(Method):
    """Contrastive conditional-unconditional alignment (Chen et al., arXiv 2507.09052), in the form of its U-Net code. With
    h = f_theta(x_t, t, y), and h_u and the features f of the middle block from a second pass without label:

        L     = mean((h - target)^2) + a_ucl mean_i(t_i / T UCL_i) + a_al mean(t / T (h - h_u)^2)
        UCL_i = log(1 + sum_{j != i} exp((cos(f_i, f_j) - 1) / temperature))

    UCL is InfoNCE in which a sample is its own positive, so that it only pushes apart; f is flattened and not projected, and
    gradients flow through both sides of each pair. AL, the last term, flows through both predictions: CBDM with "no label"
    as the second label, equal weights and no stop-gradients. Both passes see the same x_t, t and augmentation, and have
    dropout masks of their own. Where the label was dropped there is no AL, while UCL stays, as in the code.

    BRS draws class c with a probability proportional to brs^(c / (C - 1)), c the rank from the most frequent class (0) to the
    rarest, then an image uniformly within the class, with replacement.

    UCL depends on the batch as a whole: accumulating gradients over smaller batches changes it.

    Paper and code. The U-Net script, for Tiny-ImageNet-LT, has a_ucl = a_al = 1 and BRS of 0.1, which is the variant
    `released-code`. The paper's weights for CIFAR are not known; others run it with 1 and 1, and without BRS, which the paper
    has for ImageNet-LT and Tiny-ImageNet-LT only (second-hand). According to its reviews the paper has the factor t / T in
    UCL for Tiny-ImageNet-LT and Places-LT only (`ucl_time_weight = false` elsewhere); the code always has it.
    """

    name = "ccua"
    summary = "unconditional features apart, conditional and unconditional predictions together; perhaps resampled"
    source = ("Chen et al., arXiv 2507.09052; U-Net code of "
              "github.com/C-Fun/Contrastive-Conditional-Unconditional-Alignment-for-Long-tailed-Diffusion-Model")
    evidence = "code"
    cites = ("chen2025ccua",)
    variants = MappingProxyType({"released-code": {"brs": 0.1}})
    extra_forwards = "1"
    Settings = CCUASettings

    def class_weights(self) -> Float[Tensor, " K"] | None:
        """BRS, or None where it is off."""
        return brs(self.problem.class_counts, self.settings.brs) if self.settings.brs > 0 else None

    def whole_batch(self) -> bool:
        """Where features are contrasted."""
        return self.settings.a_ucl > 0

    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The squared error, UCL and AL; both predictions go through the network as one batch of twice the size."""
        x_t, t, target = self.noised(batch, draws)
        labels, dropped = drop_labels(batch.labels, self.problem.null_label, self.settings, draws)
        contrasted, aligned = self.settings.a_ucl > 0, self.settings.a_al > 0 and dropped is not True
        if not (contrasted or aligned):
            mse = (net(x_t, t, labels, batch.augment) - target).square().mean()
            return Loss(mse, {"mse": mse.detach()})
        null = torch.full_like(labels, self.problem.null_label)
        predicted, features = self.doubled(net, batch, x_t, t, labels, null, middle=True)
        h, h_null = predicted.chunk(2)
        time = self.problem.process.fraction(t)
        terms = {"mse": (h - target).square().mean()}
        if contrasted:
            weight = time if self.settings.ucl_time_weight else torch.ones_like(time)
            apart = repulsion(features.chunk(2)[1], self.settings.temperature, draws)
            terms["ucl"] = self.settings.a_ucl * (weight * apart).mean()
        if aligned:
            weight = (time * (labels != null)).view(-1, 1, 1, 1)  # the samples without a label have nothing to align
            terms["al"] = self.settings.a_al * (weight * (h - h_null).square()).mean()
        return Loss(torch.stack(list(terms.values())).sum(), {name: term.detach() for name, term in terms.items()})


def repulsion(features: Float[Tensor, " B *shape"], temperature: float, draws: Draws) -> Float[Tensor, " B"]:
    """UCL of each sample, in float32: 0 for one alone, log B where all features are alike."""
    with torch.autocast(features.device.type, enabled=False):
        f = normalize(features.float().flatten(1), dim=1)
        near = torch.exp((f @ draws.gathered(f).T - 1) / temperature)  # beside those of other ranks too
        itself = torch.arange(near.shape[1], device=f.device) == draws.offset + torch.arange(len(f), device=f.device)[:, None]
        return near.masked_fill(itself, 0).sum(dim=1).log1p()
