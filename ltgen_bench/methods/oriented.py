"""Oriented calibration: the noise to predict may lead to another image of the batch, of a class in the wanted direction."""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from ltgen_bench.diffusion.ddpm_process import DDPMProcess
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Problem
from ltgen_bench.methods.label_drop import LabelDropSettings

DIRECTION = {"t2h": 1, "h2t": -1, "full": 0}


class OrientedSettings(LabelDropSettings):
    """Whether and where the target is exchanged. `tr_tau` at "full" is the public code's option of that name, whose factor
    for the image's own class cancels."""

    transfer: Literal["off", "t2h", "h2t", "full"] = Field(
        "off", description="classes whose images may become the target: none, those at least as frequent (t2h), those at "
        "most as frequent (h2t), all")
    cut_time: int = Field(1000, ge=0, le=1000, description="the target is exchanged only at t below it; 1000 is always")
    cut_full: bool = Field(True, description="whether cut_time holds for full too; the public code ignores it there")
    tr_tau: float = Field(0.0, description="each image of the batch weighs (frequency of its class)^tr_tau in the draw")


@torch.no_grad()
def oriented_noise(batch: Batch, x_t: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"], noise: Float[Tensor, "B C H W"],
                   settings: OrientedSettings, problem: Problem, draws: Draws) -> Float[Tensor, "B C H W"]:
    """eps', the noise that leads from each x_t to the image drawn for it; `noise` itself where that is its own.

        j ~ Categorical(p(x_t,i | x_0,j) n(y_j)^tr_tau over all j of the batch, i included)
        j := i unless t < cut_time and (t2h: n(y_j) >= n(y_i); h2t: n(y_j) <= n(y_i)); without `cut_full` full takes every j
        eps'_i = (x_t,i - sqrt(alphas_bar_t) x_0,j) / sqrt(1 - alphas_bar_t) = eps_i + (x_0,i - x_0,j) / sigma_t

    n are class counts and sigma_t^2 = 1 / alphas_bar_t - 1. It depends on the whole batch. One draw, "transfer".
    """
    if settings.transfer == "off":
        return noise
    x_0, labels = draws.gathered(batch.x_0), draws.gathered(batch.labels)  # those of other ranks too
    counts = torch.tensor(problem.class_counts, dtype=torch.float64).to(t.device, non_blocking=True)[labels]
    logits = log_likelihoods(x_0, x_t, t, problem.schedule) + settings.tr_tau * counts.log()
    drawn = pick(logits.softmax(1), draws.uniform("transfer"))
    itself = draws.offset + torch.arange(len(t), device=t.device)
    accepted = DIRECTION[settings.transfer] * (counts[drawn] - counts[itself]) >= 0
    if settings.transfer != "full" or settings.cut_full:
        accepted &= t < settings.cut_time
    source = torch.where(accepted, drawn, itself)
    bars = alphas_bar(problem.schedule, t)
    inverse_sigma = (bars / (1 - bars)).sqrt().float().view(-1, 1, 1, 1)
    return noise + inverse_sigma * (batch.x_0 - x_0[source])


def log_likelihoods(x_0: Float[Tensor, "J C H W"], x_t: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"],
                    schedule: DDPMProcess) -> Float[Tensor, "B J"]:
    """[i, j]: log p(x_t,i | x_0,j) up to a number for each i, that is -||x_t,i / sqrt(alphas_bar) - x_0,j||^2 / (2 sigma^2).

    By one matrix product. It is of float64, since at small t these are differences of large numbers divided by 1e-4; and
    since autocast and TF32 leave float64 alone. Beside a training step its cost does not show.
    """
    images, noisy = x_0.flatten(1).double(), x_t.flatten(1).double()
    bars = alphas_bar(schedule, t).unsqueeze(1)
    return (bars.sqrt() * (noisy @ images.T) - bars / 2 * images.square().sum(1)) / (1 - bars)


def pick(weights: Float[Tensor, "B J"], uniform: Float[Tensor, " B"]) -> Int64[Tensor, " B"]:
    """The column of each row in which `uniform`, in [0, 1), falls when the weights are laid end to end; never one of 0."""
    ends = weights.cumsum(1)
    return (ends <= uniform.unsqueeze(1) * ends[:, -1:]).sum(1)


def alphas_bar(schedule: DDPMProcess, t: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
    """alphas_bar_t in float64 on the device of `t`, which is not waited for."""
    return schedule.alphas_bar.to(t.device, non_blocking=True)[t]
