"""The contract of a method: it owns its loss, and the one loop owns everything else."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from jaxtyping import Float, Int64
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.guidance import Denoiser, Guidance, guided
from ltgen_bench.diffusion.network import ConditionalUNet
from ltgen_bench.diffusion.schedule import Schedule

EVIDENCE = {
    "code": "read in the authors' public code",
    "copy": "read in a copy of the authors' code that others carry",
    "standard": "a textbook definition, or one that many public codes share",
    "ours": "our own construction; no paper's name stands on it",
}


class Settings(BaseModel):
    """The base of every method's hyper-parameters: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Problem:
    """What a method may know of the data before it sees a batch."""

    class_counts: list[int]
    groups: dict[str, list[int]]
    schedule: Schedule
    image_shape: tuple[int, int, int]

    @property
    def num_classes(self) -> int:
        return len(self.class_counts)

    @property
    def null_label(self) -> int:
        """The label that means "no label"."""
        return self.num_classes


@dataclass(frozen=True)
class Batch:
    """Training images in -1 ... 1 with their true labels, and perhaps the condition vector of an augmentation."""

    x_0: Float[Tensor, "B C H W"]
    labels: Int64[Tensor, " B"]
    augment: Float[Tensor, "B A"] | None = None


@dataclass(frozen=True)
class Loss:
    """`total` is what the loop differentiates; `terms` are its named parts, detached, for the log."""

    total: Float[Tensor, ""]
    terms: dict[str, Tensor] = field(default_factory=dict)


class Method(ABC):
    """One way to train a class-conditional diffusion model on long-tailed data.

    A method is one file with this class, its `Settings` beside it, and one line in the registry. Only `loss` must be
    written; the hooks below it do nothing by default.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]  # paper, equation, public code
    evidence: ClassVar[str] = "ours"  # where the definition was read; one of EVIDENCE
    cites: ClassVar[tuple[str, ...]] = ()  # keys of references.bib: what a user of the method should cite
    # NAME -> settings that differ from the defaults, for `method.variant = NAME`, where paper and released code differ
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    extra_forwards: ClassVar[str] = "0"  # network passes a training step beyond DDPM's one
    has_null_label: ClassVar[bool] = True  # whether training teaches the network "no label", which guidance needs
    augment_dim: ClassVar[int] = 0  # length of the condition vector that `transform_batch` gives
    code_digest: ClassVar[str] = ""  # of the file of a user's method, so that an edited one is another training
    Settings: ClassVar[type[Settings]]

    def __init__(self, settings: Any, problem: Problem) -> None:
        self.settings = settings
        self.problem = problem

    @abstractmethod
    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The training loss of one batch. Every random number comes from `draws`, under a name of its own."""

    def prepare(self, dataset: LongTailDataset) -> None:
        """Called once before training: train a classifier, compute statistics, ..."""
        return

    def initial_weights(self) -> Path | None:
        """A checkpoint to start from, for fine-tuning."""
        return None

    def adapt_network(self, net: ConditionalUNet) -> ConditionalUNet:
        """Change the network before training, for example add a low-rank reserve."""
        return net

    def extra_modules(self) -> nn.ModuleDict:
        """Modules trained with the network and left out of sampling, such as projection heads."""
        return nn.ModuleDict()

    def class_weights(self) -> Float[Tensor, " K"] | None:
        """Relative frequency with which each class is drawn (with replacement); None keeps the data's order."""
        return None

    def transform_batch(self, batch: Batch, draws: Draws) -> Batch:
        """Augment a batch, and say so in its condition vector."""
        return batch

    def denoiser(self, net: nn.Module, guidance: Guidance) -> Denoiser:
        """What the sampler calls; classifier-free guidance unless a method says otherwise."""
        return guided(net, guidance, self.problem.null_label)

    def noised(self, batch: Batch, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """(x_t, t, noise) of a batch: t uniform in 0 ... T - 1 for each sample."""
        t = draws.integers("t", self.problem.schedule.T)
        noise = draws.normal("noise", *self.problem.image_shape)
        return self.problem.schedule.add_noise(batch.x_0, t, noise), t, noise
