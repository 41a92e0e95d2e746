"""What comes before the network: modules of a method's own, trained by the one loop and kept beside the checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ltgen_bench.config.schema import RunConfig
from ltgen_bench.core.interruption import Interruption
from ltgen_bench.core.progress import Progress
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion.draws import Draws, derived_seed
from ltgen_bench.methods.base import Batch, Fit, Loss, Workshop
from ltgen_bench.runtime.distributed import ALONE, Ranks
from ltgen_bench.training.batches import DataOrder, TrainingImages
from ltgen_bench.training.session import Session, refuse_too_many, refuse_unlike
from ltgen_bench.training.trainer import Stepper, resolve_precision

N = TypeVar("N", bound=nn.Module)


class Fitting(Stepper[N]):
    """The training of one module of a method's own."""

    def __init__(self, config: RunConfig, dataset: LongTailDataset, name: str, make: Callable[[], N],
                 loss: Callable[[nn.Module, Batch, Draws], Loss], how: Fit, device: torch.device, ranks: Ranks = ALONE) -> None:
        seed = derived_seed(config.seed, "prepare", name)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            net = make()
        steps = max(1, round(how.share * config.train.budget_images / how.batch_size))
        train = config.train.model_copy(update={
            "budget_images": steps * how.batch_size, "batch_size": how.batch_size, "learning_rate": how.learning_rate,
            "warmup_images": int(how.share * config.train.warmup_images), "precision": "float32", "compile": "no",
            "ema_halflife_images": int(how.share * config.train.ema_halflife_images)})
        images = TrainingImages(dataset.train, DataOrder(dataset.train.labels, seed), flip=dataset.flip, device=device)
        super().__init__(train, seed, images, net, nn.ModuleDict(), device, ranks)
        self._loss = loss

    def batch(self, draws: Draws) -> Batch:
        """Training images as they are, or mirrored."""
        return self.images.batch(draws)

    def loss(self, batch: Batch, draws: Draws) -> Loss:
        """The method's loss of this module."""
        return self._loss(self.call, batch, draws)


@dataclass
class Preparation(Workshop):
    """The workshop of a run: what it trains lies in a folder of its name below `folder`.

    `seconds` is what all of it has taken, interrupted sessions included; `exact` whether the same command gives its bits again.
    """

    config: RunConfig
    dataset: LongTailDataset
    device: torch.device
    folder: Path
    run: str
    progress: Progress
    interruption: Interruption
    ranks: Ranks = ALONE
    seconds: float = 0.0
    exact: bool = True

    def fit(self, name: str, make: Callable[[], N], loss: Callable[[nn.Module, Batch, Draws], Loss], how: Fit) -> N:
        """Train, go on, or read what is finished. Raises as `train` does."""
        fitting = Fitting(self.config, self.dataset, name, make, loss, how, self.device, self.ranks)
        session = Session(fitting, self.folder / name, self.progress, f"{self.run}-{name}", stage=name)
        session.go_on()
        if fitting.images_seen < fitting.train.budget_images:
            # the network's own training has yet to begin
            refuse_too_many(self.ranks, self.config.train)
            refuse_unlike(self.ranks, resolve_precision(self.config.train.precision, self.device))
        session.complete(self.interruption, fitting.train.budget_images)
        self.seconds += session.seconds
        self.exact = self.exact and session.info["exact"]
        return fitting.ema.net


@dataclass
class Rehearsal(Workshop):
    """A workshop that trains and keeps nothing. It remembers what it was asked for, so that its cost can be measured.

    `images`: steps of what was asked for have at most so many.
    """

    config: RunConfig
    dataset: LongTailDataset
    device: torch.device
    images: int | None = None
    asked: list[tuple[float, Fitting[Any]]] = field(default_factory=list)  # (share of the budget, its training)

    def fit(self, name: str, make: Callable[[], N], loss: Callable[[nn.Module, Batch, Draws], Loss], how: Fit) -> N:
        """The module with its first weights."""
        batch = how.batch_size if self.images is None else min(self.images, how.batch_size)
        fitting = Fitting(self.config, self.dataset, name, make, loss, Fit(how.share, batch, how.learning_rate), self.device)
        self.asked.append((how.share, fitting))
        return fitting.ema.net
