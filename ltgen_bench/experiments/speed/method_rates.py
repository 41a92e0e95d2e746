"""The stage `methods`: what a training image costs under each method, beside DDPM in the same seconds."""

from collections.abc import Iterable

import torch

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress
from ltgen_bench.data import load_dataset
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.experiments.recipes import resolve_recipe
from ltgen_bench.experiments.speed.conditions import Conditions
from ltgen_bench.experiments.speed.costs import BASE
from ltgen_bench.experiments.speed.rows import SpeedRow
from ltgen_bench.experiments.speed.side_by_side import Rounds, beside
from ltgen_bench.methods import METHODS
from ltgen_bench.training.cost import probing
from ltgen_bench.training.trainer import Trainer

STAGE = "methods"
DATASET = "digits-lt"
ROUNDS = Rounds(warm_up=3, least=40, most=40)


def methods_stage(conditions: Conditions, progress: Progress, names: Iterable[str] = ()) -> list[SpeedRow]:
    """Training images/s of each method under its recipe for the digits, beside `ddpm`'s.

    They are those of `names`, else of `conditions`, else all. A network that a method trains beforehand counts by its share;
    what else it does before, and sampling, are left out. A method that cannot train without something of the user's, as a
    checkpoint, is told and left out.
    """
    dataset = load_dataset(DataConfig(name=DATASET))
    device = torch.device(conditions.device)
    rows = []
    chosen = list(names or conditions.methods or METHODS)
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
    found = beside(base, trainer, ROUNDS)
    size = f"{DATASET}, batch {trainer.train.batch_size}, {trainer.precision} on {device}"
    return SpeedRow(STAGE, name, size, "images/s", found.rate, against=BASE, reference=found.base)


def _trainer(name: str, dataset: LongTailDataset, device: torch.device) -> Trainer:
    config = resolve_recipe(recipe=None, method=name, dataset=DATASET, overrides={})
    return probing(config, dataset, device, config.train.batch_size)
