"""Reweighting: an image of a rare class counts more in the loss."""

from types import MappingProxyType
from typing import Any

import torch
from pydantic import Field
from torch import nn

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Loss, Method, Problem
from ltgen_bench.methods.frequency import effective_number, mean_one
from ltgen_bench.methods.label_drop import LabelDropSettings, drop_labels


class ReweightSettings(LabelDropSettings):
    """The default is the effective number of samples with the beta that is usual for it."""

    beta: float = Field(0.9999, ge=0, le=1, description="an image weighs (1 - beta) / (1 - beta^n) in a class of n images; 1 is "
                        "the limit 1 / n, inverse frequency; 0 is off")
    weight_dropped: bool = Field(True, description="whether images whose label was dropped are weighted by their true class; "
                                 "false leaves \"no label\" the training mixture of classes")


class Reweight(Method):
    """The loss of `cfg` in which a sample weighs w_c by its true class c:

        L = mean(w_y (f_theta(x_t, t, y) - target)^2),   w_c = a (1 - beta) / (1 - beta^n_c),   sum_c n_c w_c = sum_c n_c

    n_c is the number of training images. These are the weights of the effective number of samples (Cui et al., CVPR 2019);
    beta = 1 (variant `inverse`) is their limit, inverse class frequency, and beta = 0 is `cfg`. The factor a makes the mean
    weight over the training images 1, so that clipping of gradients and learning rate mean what they mean for `cfg`. Their
    usual factor, sum_c w_c = K, would shrink the loss: to 0.17 on CIFAR-10-LT at factor 100. A batch is not normalised once
    more. Single samples weigh much (23 there, 79 times a head image), which makes the gradient noisy.

    Images whose label was dropped are weighted as well, by the class they come from: then inverse frequency minimises the
    expected loss of class-balanced `resample`, with "no label" as the balanced mixture of classes. `weight_dropped = false`
    gives them the weight 1, and "no label" is the training mixture as in `cfg`.

    Papers of this field name reweighting as a baseline and give no complete recipe; so this one is ours. Focal loss is not
    here, since it weighs by the confidence of a classification.
    """

    name = "reweight"
    summary = "cfg in which an image of a rare class counts more: by effective number of samples or inverse frequency"
    source = "ours; weights from Cui et al., CVPR 2019, arXiv 1901.05555, for classifiers"
    evidence = "ours"
    cites = ("ho2022cfg", "cui2019effective")
    variants = MappingProxyType({"inverse": {"beta": 1.0}})
    Settings = ReweightSettings

    def __init__(self, settings: Any, problem: Problem) -> None:
        super().__init__(settings, problem)
        counts = problem.class_counts
        self.weights = mean_one(1 / effective_number(counts, settings.beta), counts).float()

    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The weighted mean squared error, with null labels where they were dropped."""
        x_t, t, target = self.noised(batch, draws)
        labels, _ = drop_labels(batch.labels, self.problem.null_label, self.settings, draws)
        weight = self.weights.to(t.device, non_blocking=True)[batch.labels]
        if not self.settings.weight_dropped:
            weight = torch.where(labels == self.problem.null_label, 1.0, weight)
        mse = (net(x_t, t, labels, batch.augment) - target).square().mean((1, 2, 3))
        total = (weight * mse).mean()
        return Loss(total, {"weighted_mse": total.detach()})
