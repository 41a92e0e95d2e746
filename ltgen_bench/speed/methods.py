"""The stage `methods`: what a training image costs under each method, beside DDPM in the same seconds."""

import time
from collections.abc import Iterable
from statistics import median
from typing import Any

import torch

from ltgen_bench.config import DataConfig
from ltgen_bench.data import load_dataset
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.errors import UserError
from ltgen_bench.methods import METHODS
from ltgen_bench.progress import Progress
from ltgen_bench.recipes import resolve_recipe
from ltgen_bench.speed.conditions import Conditions
from ltgen_bench.speed.costs import BASE
from ltgen_bench.speed.rows import SpeedRow
from ltgen_bench.training.cost import Part, an_image, forked, probing
from ltgen_bench.training.trainer import Stepper, Trainer

STAGE = "methods"
DATASET = "digits-lt"
ROUNDS, WARM_UP = 40, 3  # steps of each of the two, for each side of a coin that decides about the whole batch


def methods_stage(conditions: Conditions, progress: Progress, names: Iterable[str] = ()) -> list[SpeedRow]:
    """Training images/s of each method (all when `names` is empty) under its recipe for the digits, beside `ddpm`'s.

    A network that a method trains beforehand counts by its share; what else it does before, and sampling, are left out. A
    method that cannot train without something of the user's, as a checkpoint, is told and left out.
    """
    dataset = load_dataset(DataConfig(name=DATASET))
    device = torch.device(conditions.device)
    rows = []
    chosen = list(names) or list(METHODS)
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
    """Steps of both in turn, so that whatever else the machine does slows both; the median of the ratios of such pairs."""
    base, trainer = (_trainer(each, dataset, device) for each in (BASE, name))
    base_seconds: list[float] = []

    def relative(part: Part) -> float:
        pairs = [(_seconds(base), _seconds(part.stepper)) for _ in range(WARM_UP + ROUNDS)][WARM_UP:]
        base_seconds.extend(first for first, _ in pairs)
        return median(second / first for first, second in pairs) * part.stepper.train.batch_size

    with forked(device):
        cost = an_image(trainer, relative)
    reference = 1 / median(base_seconds)
    size = f"{DATASET}, batch {trainer.train.batch_size}, {trainer.precision} on {device}"
    return SpeedRow(STAGE, name, size, "images/s", reference / cost, against=BASE, reference=reference)


def _trainer(name: str, dataset: LongTailDataset, device: torch.device) -> Trainer:
    config = resolve_recipe(recipe=None, method=name, dataset=DATASET, overrides={})
    return probing(config, dataset, device, config.train.batch_size)


def _seconds(trainer: Stepper[Any]) -> float:
    """Of one step, per image."""
    begin = time.perf_counter()
    trainer.step()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return (time.perf_counter() - begin) / trainer.train.batch_size
