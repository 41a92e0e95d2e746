"""The stage `methods`: what a training image costs under each method, beside DDPM in the same seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress
from ltgen_bench.data import load_dataset
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.experiments.recipes import resolve_recipe
from ltgen_bench.experiments.speed.conditions import Conditions
from ltgen_bench.experiments.speed.costs import BASE
from ltgen_bench.experiments.speed.speed_rows import SpeedRow
from ltgen_bench.methods import METHODS
from ltgen_bench.training.cost import Part, an_image, forked, in_turn, probing
from ltgen_bench.training.trainer import Trainer

STAGE = "methods"
DATASET = "digits-lt"
ROUNDS = {"warm_up": 3, "least": 40, "most": 40}  # as `in_turn` takes them, for each side of a coin of the whole batch


@dataclass(frozen=True)
class RelativeCost:
    """Images/s of the base, the cost of an image in images of the base, and the seconds that warming up took more."""

    base: float
    cost: float
    warming: float

    @property
    def rate(self) -> float:
        """Images/s."""
        return self.base / self.cost


def methods_stage(conditions: Conditions, progress: Progress) -> list[SpeedRow]:
    """Training images/s of each method under its recipe for the digits, beside `ddpm`'s.

    They are those of `conditions`, else all. A network that a method trains beforehand counts by its share;
    what else it does before, and sampling, are left out. A method that cannot train without something of the user's, as a
    checkpoint, is told and left out.
    """
    dataset = load_dataset(DataConfig(name=DATASET))
    device = torch.device(conditions.device)
    rows = []
    chosen = list(conditions.methods or METHODS)
    with progress.stage("speed", len(chosen), "methods") as stage:
        for name in chosen:
            stage.advance(0, name)
            try:
                rows.append(_beside_ddpm(name, dataset, device))
            except UserError as error:
                progress.say(f"{name} is left out: {error}")
            stage.advance(1)
    return rows


def _beside_ddpm(name: str, dataset: LongTailDataset, device: torch.device) -> SpeedRow:
    base, trainer = (_trainer(each, dataset, device) for each in (BASE, name))
    found = relative_cost(base, trainer, ROUNDS)
    size = f"{DATASET}, batch {trainer.train.batch_size}, {trainer.precision} on {device}"
    return SpeedRow(STAGE, name, size, "images/s", found.rate, against=BASE, reference=found.base)


def _trainer(name: str, dataset: LongTailDataset, device: torch.device) -> Trainer:
    config = resolve_recipe(recipe=None, method=name, dataset=DATASET, overrides={})
    return probing(config, dataset, device, config.train.batch_size)


def relative_cost(base: Trainer, trainer: Trainer, rounds: Mapping[str, Any]) -> RelativeCost:
    """Steps of both in turn, so that whatever else the machine does slows both: the medians of their ratios.

    A module that a method trains beforehand counts by its share.
    """
    base_seconds: list[float] = []
    warming: list[float] = []
    device = trainer.device

    def relative(part: Part) -> float:
        found = in_turn([base.step, part.stepper.step], device, **rounds)
        an_image_of_base = found.rounds[:, 0] / base.train.batch_size
        base_seconds.extend(an_image_of_base)
        warming.append(found.warming[:, 1].sum() - len(found.warming) * float(np.median(found.rounds[:, 1])))
        return float(np.median(found.rounds[:, 1] / an_image_of_base))

    with forked(device):
        cost = an_image(trainer, relative)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return RelativeCost(1 / float(np.median(base_seconds)), cost, max(0.0, sum(warming)))
