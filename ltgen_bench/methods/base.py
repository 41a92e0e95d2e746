"""The contract of a method: it owns its loss, and the one loop owns everything else."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int64
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ltgen_bench.core.errors import UserError
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.ddpm_process import DDPMProcess
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.guidance import Denoiser, Guidance, guided
from ltgen_bench.diffusion.network import ConditionalUNet
from ltgen_bench.diffusion.process import Process

N = TypeVar("N", bound=nn.Module)

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
    process: Process
    image_shape: tuple[int, int, int]

    @property
    def num_classes(self) -> int:
        return len(self.class_counts)

    @property
    def null_label(self) -> int:
        """The label that means "no label"."""
        return self.num_classes

    @property
    def schedule(self) -> DDPMProcess:
        """The schedule of the process `ddpm`, for methods whose definition needs it; a `UserError` under another process."""
        if not isinstance(self.process, DDPMProcess):
            raise UserError(f"the method asks for the schedule of process ddpm, and the process is {self.process.name}; run it "
                            "with --process ddpm, and let the method state `needs_process`.")
        return self.process


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


@dataclass(frozen=True)
class AuxiliaryTraining:
    """How an auxiliary module of a method is trained before the network.

    It sees `share` times as many images as the training budget has. Warm-up and half-life of the averaged weights are multiplied
    by the same factor.
    """

    share: float
    batch_size: int
    learning_rate: float


AuxiliaryLoss = Callable[[nn.Module, Batch, Draws], Loss]


class AuxiliaryTrainer(ABC):
    """What `Method.prepare` gets: the data set, the device, and the training loop for auxiliary modules of the method."""

    dataset: LongTailDataset
    device: torch.device

    @abstractmethod
    def fit(self, name: str, build: Callable[[], N], loss: AuxiliaryLoss, training: AuxiliaryTraining) -> N:
        """Train the module that `build` returns with `loss`; returns it with averaged weights, without gradients, in eval mode.

        Its first weights, images, noise and dropout depend on the seed of the run and on `name`. It is trained in float32 on
        the training images, mirrored where the data allow it. Its checkpoints are in the folder `name` beside those of the run:
        a finished training is read, an interrupted one continues. Its time and operations count as training. Buffers are
        not averaged, so it should have no running statistics. Where only speed and shapes are measured, it comes back untrained.
        """


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
    # (process, reason in words) where the definition holds for one process alone
    needs_process: ClassVar[tuple[str, str] | None] = None
    has_null_label: ClassVar[bool] = True  # whether training teaches the network "no label", which guidance needs
    augment_dim: ClassVar[int] = 0  # length of the condition vector that `transform_batch` gives
    code_digest: ClassVar[str] = ""  # of the file of a user's method, so that an edited one is another training
    Settings: ClassVar[type[Settings]]

    def __init__(self, settings: Any, problem: Problem) -> None:
        self.settings = settings
        self.problem = problem

    @abstractmethod
    def loss(self, net: nn.Module, batch: Batch, draws: Draws) -> Loss:
        """The training loss of one batch. Every random number comes from `draws`, under a name of its own.

        Which passes through `net` it makes may depend on `draws.coin` and on settings, which are of the whole batch, but not on
        the images it is given: with several processes or micro-batches these are a part of it, and all must do alike.
        """

    @classmethod
    def guidable(cls) -> bool:
        """Whether its denoiser can be asked for omega > 0: as a rule where training teaches "no label"."""
        return cls.has_null_label

    def whole_batch(self) -> bool:
        """Whether the loss of an image depends on the others of its batch, so that micro-batches make another loss of it.

        Such a loss takes what it compares from `draws.gathered`, so that several processes are one batch.
        """
        return False

    def prepare(self, trainer: AuxiliaryTrainer) -> None:
        """Called before training, and before sampling after it: train a classifier by `trainer.fit`, compute statistics, ..."""
        return

    def base(self) -> "tuple[Method, float] | None":
        """(another method, a share of the budget), for fine-tuning: the other one's loss trains the network up to there.

        Then this method starts from the averaged weights, with optimiser and warm-up anew. The images of both are the budget.
        """
        return None

    def initial_weights(self) -> Path | None:
        """A checkpoint whose averaged weights the network starts from, if it is not to start at random."""
        return None

    def adapt_network(self, net: ConditionalUNet) -> ConditionalUNet:
        """The network before training, seen here first: change it, for example add a low-rank reserve, or note its widths."""
        return net

    def extra_modules(self) -> nn.ModuleDict:
        """Modules trained with the network, such as projection heads. A denoiser finds them as they were trained."""
        return nn.ModuleDict()

    def class_weights(self) -> Float[Tensor, " K"] | None:
        """Relative frequency with which each class is drawn (with replacement); None keeps the data's order."""
        return None

    def transform_batch(self, batch: Batch, draws: Draws) -> Batch:
        """Augment a batch, and say so in its condition vector, of `augment_dim` numbers; the one that comes has none.

        With an augmentation that has a vector of its own (`train.augment`), that one is put in front of the method's.
        """
        return batch

    def denoiser(self, net: nn.Module, guidance: Guidance) -> Denoiser:
        """What the sampler calls; classifier-free guidance unless a method says otherwise."""
        return guided(net, guidance, self.problem.null_label)

    def noised(self, batch: Batch, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """(x_t, t, target) of a batch: noisy images, their times, and what the network is to predict for them.

        The process defines them. `target` is the noise under `ddpm` and the velocity under `flow`; `t` is what the network
        takes, and `self.problem.process.fraction(t)` is t / T, from 0 (the image) to 1 (noise).
        """
        return self.problem.process.noised(batch.x_0, draws)

    def doubled(self, net: nn.Module, batch: Batch, x_t: Tensor, t: Tensor, labels: Tensor, others: Tensor, **more: Any) -> Any:
        """What `net` gives for the batch under `labels` and again under `others`, as one batch of twice the size."""
        augment = None if batch.augment is None else torch.cat([batch.augment, batch.augment])
        return net(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([labels, others]), augment, **more)
