"""Classifier guidance: a classifier of noisy images, trained on the same long-tailed data, leads the sampler to the class."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.guidance import Denoiser, Guidance, guided
from ltgen_bench.methods.base import AuxiliaryTrainer, AuxiliaryTraining, Batch, Loss, Problem, Settings
from ltgen_bench.methods.ddpm import DDPM
from ltgen_bench.methods.noisy_classifier import GROUPS, NoisyClassifier, log_probability_gradient
from ltgen_bench.methods.oriented import alphas_bar


class ClassifierGuidanceSettings(Settings):
    """How the classifier is trained. How strongly it guides is `sample.omega`, so another strength is no other training."""

    tau: float = Field(1.0, ge=0, description="tau log p_c is added to the classifier's logits in training: 1 for a classifier "
                       "of balanced classes, 0 for a plain one")
    classifier_share: float = Field(0.5, gt=0, le=10, description="images that the classifier sees, as a multiple of "
                                    "train.budget_images")
    classifier_batch: int = Field(64, ge=1, description="images of one of its steps")
    classifier_learning_rate: float = Field(1e-3, gt=0, description="of its own Adam")
    classifier_width: int = Field(32, ge=GROUPS, multiple_of=GROUPS, description="its channels at full resolution, twice as many "
                                  "below; a multiple of 8")
    classifier_blocks: int = Field(1, ge=1, le=8, description="its residual blocks a level")


class ClassifierGuidance(DDPM):
    """The network of `ddpm`, guided by a classifier of noisy images that is trained on the same long-tailed data:

        eps = eps_theta(x_t, t, y) - omega sqrt(1 - alphas_bar_t) grad_x log p(y | x_t, t),   p = softmax(f(x_t, t))

    This is algorithm 2 of Dhariwal and Nichol (2021), the form of guidance that fits every sampler, on a network that knows the
    label as well. There omega scales the gradient as in classifier-free guidance, where cond - null stands for the same
    gradient, so `sample.omega` means the same for `cfg`. At omega = 0 it is `ddpm`, bit for bit.

    The classifier f is trained before the network, with the loss of logit adjustment (Menon et al., ICLR 2021):

        L_f = mean(-log softmax_y(f(x_t, t) + tau log p))

    p are the class frequencies in training, x_t the network's own forward process at t uniform in 0 ... T - 1. At tau = 1
    softmax(f) without the addition is a classifier for equally frequent classes; variant `plain` (tau = 0) is one for the
    training mixture. f is the first half of the network's architecture, in float32, with averaged weights; warm-up and half-life
    of the average are those of `train`, times `classifier_share`.

    What it costs: `classifier_share` images of the classifier for each image of the budget, which do not count as images seen,
    and do count in floating-point operations and seconds. In sampling one forward and backward pass of f a step.

    The combination is ours, and so are all values: no paper on long-tailed diffusion gives a recipe. Dhariwal and Nichol's
    classifier has attention at three resolutions and attention pooling.
    """

    name = "classifier-guidance"
    summary = "ddpm guided by a classifier of noisy images, logit-adjusted for the long tail or plain"
    source = ("ours; guidance from Dhariwal and Nichol, NeurIPS 2021, arXiv 2105.05233, algorithm 2; logit adjustment from Menon "
              "et al., ICLR 2021, arXiv 2007.07314")
    evidence = "ours"
    cites = ("ho2020ddpm", "dhariwal2021guidance", "menon2021logit")
    needs_process = ("ddpm", "its guidance is a term of the predicted noise, scaled by DDPM's noise level")
    variants = MappingProxyType({"plain": {"tau": 0.0}})
    extra_forwards = "0, and a smaller classifier before"
    Settings = ClassifierGuidanceSettings
    classifier: NoisyClassifier

    def __init__(self, settings: Any, problem: Problem) -> None:
        super().__init__(settings, problem)
        counts = torch.tensor(problem.class_counts, dtype=torch.float64)
        self.adjustment = (settings.tau * (counts / counts.sum()).log()).float()

    @classmethod
    def guidable(cls) -> bool:
        """By the classifier, without a null label."""
        return True

    def prepare(self, trainer: AuxiliaryTrainer) -> None:
        """Train the classifier, or read it where that was done."""
        settings, problem = self.settings, self.problem
        self.classifier = trainer.fit(
            "classifier", lambda: NoisyClassifier(problem.image_shape, problem.num_classes, settings.classifier_width,
                                                  settings.classifier_blocks), self.classifier_loss,
            AuxiliaryTraining(settings.classifier_share, settings.classifier_batch, settings.classifier_learning_rate))

    def classifier_loss(self, classifier: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The logit-adjusted cross-entropy of noisy images."""
        x_t, t, _ = self.noised(batch, draws)
        total = cross_entropy(classifier(x_t, t) + self.adjustment.to(t.device, non_blocking=True), batch.labels)
        return Loss(total, {"cross_entropy": total.detach()})

    def denoiser(self, net: nn.Module, guidance: Guidance) -> Denoiser:
        """eps of the formula above."""
        conditional = guided(net, replace(guidance, omega=0.0), self.problem.null_label)
        if guidance.omega == 0:
            return conditional

        def eps(x_t: Float[Tensor, "B C H W"], t: Int64[Tensor, " B"],
                labels: Int64[Tensor, " B"]) -> Float[Tensor, "B C H W"]:
            noise_level = (1 - alphas_bar(self.problem.schedule, t)).sqrt().float().view(-1, 1, 1, 1)
            gradient = log_probability_gradient(self.classifier, x_t, t, labels)
            return conditional(x_t, t, labels) - guidance.omega * noise_level * gradient

        return eps
