"""The coupling of IGD-ML as one term of a loss: a label's prediction moves towards those under all other labels."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.methods.base import Batch, Loss, Method
from ltgen_bench.methods.label_drop import LabelDropSettings, drop_labels


class IGDMLStyleSettings(LabelDropSettings):
    """beta is the value in the public code's README, under another name there."""

    beta: float = Field(0.1, ge=0, description="weight of the coupling is beta t / T")
    other_labels: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        1, description="labels y' != y drawn for each sample, without replacement, a forward pass each; all is the exact mean")
    class_balanced: bool = Field(False, description="draw all classes equally often, as a step for each class in turn does")


class IGDMLStyle(Method):
    """A joint loss after IGD-ML (Das et al., NeurIPS 2025), ours. With h(y) = f_theta(x_t, t, y):

        L = mean((h(y) - target)^2) + mean over S labels y' != y of mean(beta t / T (h(y) - sg[h(y')])^2)

    All predictions see the same x_t, t and augmentation, and have dropout masks of their own; those under the other labels
    are computed without gradients. The S labels (`other_labels`) are drawn for each sample, uniformly and without replacement
    from the K - 1 others: any S has the same expectation, and S = K - 1, or "all", is the mean itself. Where the label was
    dropped there is no coupling.

    IGD-ML is a game in which each class is a player who lowers the loss of its own images, the coupling included. Its public
    code takes a batch of one class and an optimiser step for each class in turn, with the mean over all y' divided by K - 1
    once more. Here all classes share one step, since K steps an iteration would not be the same budget, and the mean is a
    mean. With `class_balanced` classes are drawn equally often, as in those turns. That code's README gives 0.1 for what it
    calls the weight, while its coupling reads another flag that stays at 1; 1 / (K - 1) of that is 0.11 for ten classes.
    """

    name = "igd-ml-style"
    summary = "predictions under the true label move towards those under other labels, one joint loss"
    source = "ours, after Das et al., NeurIPS 2025, and github.com/pranoydas51/IGD-ML"
    evidence = "ours"
    cites = ("ho2022cfg", "das2025igdml")
    extra_forwards = "other_labels (1) without gradients on 90 % of the steps"
    Settings = IGDMLStyleSettings

    def class_weights(self) -> Float[Tensor, " K"] | None:
        """Equal, or None."""
        return torch.ones(self.problem.num_classes) if self.settings.class_balanced else None

    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The squared error and the coupling."""
        x_t, t, target = self.noised(batch, draws)
        labels, dropped = drop_labels(batch.labels, self.problem.null_label, self.settings, draws)
        # first, since autocast keeps the weights that it has cast, and under no_grad casts them without a gradient
        h = net(x_t, t, labels, batch.augment)
        mse = (h - target).square().mean()
        if dropped is True or self.settings.beta == 0:
            return Loss(mse, {"mse": mse.detach()})
        others = self.others(batch.labels, draws)
        with torch.no_grad():  # one label at a time: what a pass holds is let go before the next
            towards = [net(x_t, t, other, batch.augment) for other in others]
        distance = torch.stack([(h - h_other).square().mean((1, 2, 3)) for h_other in towards]).mean(0)
        weight = self.problem.process.fraction(self.settings.beta * t) * (labels != self.problem.null_label)
        coupling = (weight * distance).mean()
        return Loss(mse + coupling, {"mse": mse.detach(), "coupling": coupling.detach()})

    def others(self, labels: Int64[Tensor, " B"], draws: Draws) -> Int64[Tensor, "S B"]:
        """For each sample S different labels, none its own."""
        classes = self.problem.num_classes
        wanted = self.settings.other_labels
        if wanted == "all" or wanted >= classes - 1:
            steps = torch.arange(1, classes, device=labels.device).expand(len(labels), -1)
        else:  # the places of the largest of exchangeable numbers are a uniform draw without replacement
            steps = 1 + draws.normal("other-labels", classes - 1).topk(wanted, dim=1).indices
        return ((labels.unsqueeze(1) + steps) % classes).T
