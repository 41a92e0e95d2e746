"""CM: frequent classes do without a low-rank reserve of the decoder, rare ones make use of it."""

from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.guidance import Denoiser, Guidance
from ltgen_bench.diffusion.low_rank import add_reserve, merged, without_reserve
from ltgen_bench.diffusion.network import ConditionalUNet
from ltgen_bench.methods.base import Batch, Loss, Method, Problem
from ltgen_bench.methods.label_drop import drop_labels
from ltgen_bench.methods.oriented import OrientedSettings, oriented_noise


class CMSettings(OrientedSettings):
    """Defaults are the paper's, which leaves the target alone; the released code exchanges it as OC does."""

    weight: float = Field(1.0, ge=0, description="lambda of the paper, on both terms; 0.5 to 1.5 make no difference there")
    w_con: float = Field(1.0, ge=0, description="factor of the consistency term, in which frequent classes count")
    w_div: float = Field(1.0, ge=0, description="factor of the diversity term, in which rare classes count; 0.2 in the code")
    rank_ratio: float = Field(0.1, gt=0, le=1, description="rank of the reserve / the lesser number of channels")


class CM(Method):
    """Capacity Manipulation (Hong et al., ICLR 2026). The 3 x 3 convolutions of the up path have the weight W + B A, where
    B A is a reserve of low rank. With h = eps_theta(x_t, t, y) of the full weights and h_g of W alone:

        L = mean((h - target)^2) + lambda C mean_i(d_i (w_con p(y_i) - w_div q(y_i))),   d_i = mean over pixels (h - h_g)^2

    C is the number of classes, p(y) = n_y / sum n, q(y) = (1 / n_y) / sum (1 / n). The first part, consistency, holds for
    frequent classes; the second, diversity, drives rare ones into the reserve and has no lower bound. Both passes see the
    same x_t, t, label (or none, where it was dropped; y_i in the weights stays) and augmentation, have dropout masks of
    their own, and are both differentiated. Sampling merges W + B A, so it costs nothing more.

    Paper and code. The paper's form has w_con = w_div = 1, which is zero for balanced data, and the drawn noise as target.
    The released code (variant `released-code`) has w_div = 0.2 and takes OC's target (`transfer = "t2h"`, which depends on
    the whole batch); its scale of 0.5 for B A is never applied, nor is it here. The paper's ||h - h_g||^2 is read as the
    mean over pixels, as in the code. The paper's form for fine-tuning is not here.
    """

    name = "cm"
    summary = "a low-rank reserve of the decoder is kept for rare classes: frequent ones predict the same without it"
    source = ("Hong et al., ICLR 2026, OpenReview wSGle6ag5I, second-hand; the code as a third party carries it "
              "(github.com/Feng-Hong/ImbDiff-CM announces it)")
    evidence = "copy"
    cites = ("hong2026cm", "zhang2024oc")
    needs_process = ("ddpm", "its consistency, its diversity and the target that it takes from oc are of predicted noise")
    variants = MappingProxyType({"released-code": {"w_div": 0.2, "transfer": "t2h"}})
    extra_forwards = "1"
    Settings = CMSettings

    def __init__(self, settings: Any, problem: Problem) -> None:
        super().__init__(settings, problem)
        self.coefficients = self._coefficients()

    def _coefficients(self) -> Float[Tensor, "2 K"]:
        """(C w_con p(y), C w_div q(y)) of each class."""
        counts = torch.tensor(self.problem.class_counts, dtype=torch.float64)
        p, q = counts / counts.sum(), (1 / counts) / (1 / counts).sum()
        return (len(counts) * torch.stack([self.settings.w_con * p, self.settings.w_div * q])).float()

    def adapt_network(self, net: ConditionalUNet) -> ConditionalUNet:
        """Put the reserve in."""
        return add_reserve(net, self.settings.rank_ratio)

    def whole_batch(self) -> bool:
        """Where targets are exchanged."""
        return self.settings.transfer != "off"

    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The squared error, consistency, and diversity, which is negative; two passes."""
        x_t, t, noise = self.noised(batch, draws)
        target = oriented_noise(batch, x_t, t, noise, self.settings, self.problem, draws)
        labels, _ = drop_labels(batch.labels, self.problem.null_label, self.settings, draws)
        h = net(x_t, t, labels, batch.augment)
        with without_reserve(net):
            h_general = net(x_t, t, labels, batch.augment)
        d = (h - h_general).square().mean((1, 2, 3))
        consistency, diversity = self.coefficients.to(t.device, non_blocking=True)[:, batch.labels]
        terms = {"mse": (h - target).square().mean(), "consistency": self.settings.weight * (consistency * d).mean(),
                 "diversity": -self.settings.weight * (diversity * d).mean()}
        total = terms["mse"] + terms["consistency"] + terms["diversity"]
        return Loss(total, {name: term.detach() for name, term in terms.items()})

    def denoiser(self, net: nn.Module, guidance: Guidance) -> Denoiser:
        """Classifier-free guidance with the merged weights."""
        return super().denoiser(merged(net), guidance)
