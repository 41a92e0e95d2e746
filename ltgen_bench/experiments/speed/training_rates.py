"""The stages `train` and `methods`: what a training step of each method takes, beside steps of DDPM in the same seconds.

`train` measures the recipes of CIFAR-10-LT on images of that size, with memory and operations; `methods` those of the digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from ltgen_bench.config.schema import Compile, DataConfig, RunConfig
from ltgen_bench.core.progress import Progress
from ltgen_bench.data import load_dataset
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.data.images import ImageSet
from ltgen_bench.diffusion.draws import generator
from ltgen_bench.experiments.recipes import resolve_recipe
from ltgen_bench.experiments.speed.speed_rows import BASE, Conditions, SpeedRow, measured, rows_of
from ltgen_bench.methods import METHODS
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.training.cost import Part, an_image, flops_per_image, forked, in_turn, probing
from ltgen_bench.training.trainer import Trainer, resolve_precision

USUAL = ("ddpm", "cbdm")  # of the stage `train`, where no method is asked for
CPU_BATCH, CUDA_BATCH = 16, 128
DIGITS = "digits-lt"
# as `in_turn` takes them: of a large step, and of a small one for each side of a coin of the whole batch
ROUNDS = {"warm_up": 1, "least": 3, "most": 40, "seconds": 30.0}
SMALL_ROUNDS = {"warm_up": 3, "least": 40, "most": 40}
MEMORY_STEPS = 2  # the second finds the optimiser's state there
DTYPES = {"bf16": torch.bfloat16, "float32": torch.float32}
CPU_SIDE, CUDA_SIDE = 2048, 8192  # of the matrices of `matrix_rate`
PRODUCT_SECONDS, PRODUCTS_AT_ONCE = 2.0, 10
COUNTS = (500, 300, 180, 108, 65, 39, 23, 14, 8, 5)  # images of each class; what they show changes no time
SHAPE = (3, 32, 32)


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


@dataclass(frozen=True)
class TrainingSpeed:
    """What was measured of one method: precision, operations of an image, times, and MB of memory (NaN: not known)."""

    precision: str
    flops: float
    times: RelativeCost
    memory_mb: float


def loop_config(method: str, preset: str, batch: int, **overrides: object) -> RunConfig:
    """The recipe of `method` for CIFAR-10-LT with this network and batch, in the device's precision, at its full rate from the
    first step. `overrides` are of the recipe, by dotted keys."""
    given = {"network.preset": preset, "train.batch_size": batch, "train.warmup_images": 0, "train.precision": "auto"}
    return resolve_recipe(recipe=None, method=method, dataset="cifar10-lt", overrides={**given, **overrides})


def random_images() -> LongTailDataset:
    """A long-tailed set of 1,242 images 32 x 32 of noise in 10 classes."""
    labels = np.repeat(np.arange(len(COUNTS), dtype=np.int64), COUNTS)
    images = ImageSet(np.random.default_rng(0).integers(0, 256, (len(labels), *SHAPE), dtype=np.uint8), labels)
    return LongTailDataset("noise", images, images, images, tuple(f"class {c}" for c in range(len(COUNTS))), flip=True)


def train_stage(conditions: Conditions, progress: Progress) -> list[SpeedRow]:
    """Images/s, ms a step, memory, operations and their share of the rate of matrix products; the first steps apart."""
    device, batch = torch.device(conditions.device), conditions.batch_size(CPU_BATCH, CUDA_BATCH)
    peaks = {precision: matrix_rate(precision, device) for precision in (resolve_precision("auto", device), "float32")}
    base_flops = flops_per_image(loop_config(BASE, conditions.preset, batch), random_images(), device)
    how = "" if conditions.compile == "auto" else f", compile {conditions.compile}"

    def of_method(name: str) -> list[SpeedRow]:
        found = training_speed(name, conditions.preset, batch, device, conditions.compile)
        row = partial(SpeedRow, "train", size=f"{conditions.preset}, batch {batch}, {found.precision} on {device}{how}")
        rate = found.times.rate
        return [
            row(name, unit="images/s", value=rate, memory_mb=found.memory_mb),
            row(f"{name} cost", unit="x", value=found.times.cost, against=BASE, reference=1.0),
            row(f"{name} step", unit="ms", value=1000 * batch / rate),
            row(f"{name} first steps", unit="s", value=found.times.warming),
            row(f"{name} memory", unit="MB", value=found.memory_mb),
            row(f"{name} operations", unit="GFLOP", value=found.flops / 1e9, against=BASE, reference=base_flops / 1e9),
            row(f"{name} of peak", unit="%", value=100 * rate * found.flops / peaks[found.precision])]

    products = [SpeedRow("train", f"{precision} products", f"on {device}", "TFLOP/s", peak / 1e12, "float32",
                         peaks["float32"] / 1e12) for precision, peak in peaks.items()]
    return products + rows_of({name: partial(of_method, name) for name in conditions.methods or USUAL}, progress)


@exact_float32()
def training_speed(method: str, preset: str, batch: int, device: torch.device, how: Compile) -> TrainingSpeed:
    """Measure the training of `method` and, for the ratio, that of `ddpm`; `how` it is compiled is as `train.compile`."""
    dataset = random_images()
    base, config = (loop_config(name, preset, batch, **{"train.compile": how}) for name in (BASE, method))
    trainer = probing(config, dataset, device, batch)  # refuses what cannot be trained

    def steps() -> None:
        own = probing(config, dataset, device, batch)
        for _ in range(MEMORY_STEPS):
            own.step()

    memory = measured(steps, device).memory_mb
    times = relative_cost(probing(base, dataset, device, batch), trainer, ROUNDS)
    return TrainingSpeed(trainer.precision, flops_per_image(config, dataset, device), times, memory)


def methods_stage(conditions: Conditions, progress: Progress) -> list[SpeedRow]:
    """Training images/s of each method under its recipe for the digits, beside `ddpm`'s.

    A network that a method trains beforehand counts by its share; what else it does before, and sampling, are left out.
    """
    dataset, device = load_dataset(DataConfig(name=DIGITS)), torch.device(conditions.device)

    def of_method(name: str) -> list[SpeedRow]:
        configs = [resolve_recipe(recipe=None, method=each, dataset=DIGITS, overrides={}) for each in (BASE, name)]
        base, trainer = (probing(config, dataset, device, config.train.batch_size) for config in configs)
        found = relative_cost(base, trainer, SMALL_ROUNDS)
        size = f"{DIGITS}, batch {trainer.train.batch_size}, {trainer.precision} on {device}"
        return [SpeedRow("methods", name, size, "images/s", found.rate, against=BASE, reference=found.base)]

    return rows_of({name: partial(of_method, name) for name in conditions.methods or METHODS}, progress)


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


def matrix_rate(precision: str, device: torch.device, side: int | None = None) -> float:
    """Floating-point operations a second of square matrices in `precision`: the best of a few products in about two seconds.

    A multiplication and an addition are two. float32 is without TF32, torch's default for matrix products.
    """
    side = side or (CPU_SIDE if device.type == "cpu" else CUDA_SIDE)
    first, second = (torch.randn(side, side, generator=generator(seed, device), device=device).to(DTYPES[precision])
                     for seed in (0, 1))
    products = 1 if device.type == "cpu" else PRODUCTS_AT_ONCE  # on CUDA several for one wait

    def multiply() -> None:
        for _ in range(products):
            torch.mm(first, second)

    seconds = in_turn([multiply], device, least=4, most=1_000, seconds=PRODUCT_SECONDS).rounds
    return float(2 * side**3 * products / seconds.min())
