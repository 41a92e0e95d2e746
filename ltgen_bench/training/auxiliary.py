"""Training of auxiliary modules of a method (e.g. a classifier), which comes before the training of the network."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.draws import Draws, derived_seed
from ltgen_bench.methods.base import AuxiliaryLoss, AuxiliaryTrainer, AuxiliaryTraining, Batch, Loss
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.distributed import SINGLE_PROCESS, Ranks
from ltgen_bench.training.batches import DataOrder, TrainingImages
from ltgen_bench.training.session import Session, refuse_too_many, refuse_unlike
from ltgen_bench.training.trainer import Stepper, resolve_precision

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Request(Generic[N]):
    """The training of one auxiliary module, as `AuxiliaryTrainer.fit` was asked for it."""

    name: str
    build: Callable[[], N]
    loss: AuxiliaryLoss
    training: AuxiliaryTraining


class AuxiliaryStepper(Stepper[N]):
    """Training steps of one auxiliary module."""

    def __init__(self, config: RunConfig, dataset: LongTailDataset, request: Request[N], device: torch.device,
                 ranks: Ranks = SINGLE_PROCESS) -> None:
        seed, training = derived_seed(config.seed, "prepare", request.name), request.training
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            net = request.build()
        steps = max(1, round(training.share * config.train.budget_images / training.batch_size))
        train = config.train.model_copy(update={
            "budget_images": steps * training.batch_size, "batch_size": training.batch_size,
            "learning_rate": training.learning_rate, "precision": "float32", "compile": "no",
            "warmup_images": int(training.share * config.train.warmup_images),
            "ema_halflife_images": int(training.share * config.train.ema_halflife_images)})
        images = TrainingImages(dataset.train, DataOrder(dataset.train.labels, seed), flip=dataset.flip, device=device)
        super().__init__(train, seed, images, net, nn.ModuleDict(), device, ranks)
        self._loss = request.loss

    def batch(self, draws: Draws) -> Batch:
        """Training images, mirrored at random where the data set allows it."""
        return self.images.batch(draws)

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        """The loss that the method gave for this module."""
        return self._loss(self.call, batch, draws)


class CheckpointedTrainer(AuxiliaryTrainer):
    """The `AuxiliaryTrainer` of the training `run`: checkpoints of a module are in the folder of its name below `folder`.

    `seconds` is the time of all these trainings, interrupted sessions included; `exact` says whether the same command gives the
    same bits again.
    """

    def __init__(self, config: RunConfig, dataset: LongTailDataset, folder: Path, run: str, context: RunContext) -> None:
        self.config, self.dataset, self.folder, self.run, self.context = config, dataset, folder, run, context
        self.device = context.device
        self.seconds, self.exact = 0.0, True

    def fit(self, name: str, build: Callable[[], N], loss: AuxiliaryLoss, training: AuxiliaryTraining) -> N:
        """Train the module, continue its training, or read the finished one. Raises as `train` does."""
        ranks = self.context.ranks
        stepper = AuxiliaryStepper(self.config, self.dataset, Request(name, build, loss, training), self.device, ranks)
        session = Session(stepper, self.folder / name, self.context, f"{self.run}-{name}", stage=name)
        session.go_on()
        if stepper.images_seen < stepper.train.budget_images:
            # the network's own training has yet to begin
            refuse_too_many(ranks, self.config.train)
            refuse_unlike(ranks, resolve_precision(self.config.train.precision, self.device))
        session.complete(stepper.train.budget_images)
        self.seconds += session.seconds
        self.exact = self.exact and session.info["exact"]
        return stepper.ema.net


@dataclass
class UntrainedTrainer(AuxiliaryTrainer):
    """An `AuxiliaryTrainer` that returns untrained modules and lists the requests, so that their cost can be measured.

    `images` is an upper bound of the batch size.
    """

    config: RunConfig
    dataset: LongTailDataset
    device: torch.device
    images: int | None = None
    requests: list[tuple[float, AuxiliaryStepper[Any]]] = field(default_factory=list)  # (share of the budget, the training)

    def fit(self, name: str, build: Callable[[], N], loss: AuxiliaryLoss, training: AuxiliaryTraining) -> N:
        """The module with its first weights."""
        batch = training.batch_size if self.images is None else min(self.images, training.batch_size)
        request = Request(name, build, loss, replace(training, batch_size=batch))
        stepper = AuxiliaryStepper(self.config, self.dataset, request, self.device)
        self.requests.append((training.share, stepper))
        return stepper.ema.net
