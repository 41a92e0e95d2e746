"""The stage `train`: one training step of each method, its memory and operations, and its cost beside `ddpm`."""

import time
from dataclasses import dataclass
from functools import partial

import torch

from ltgen_bench.config.schema import Compile
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress
from ltgen_bench.diffusion.draws import generator
from ltgen_bench.experiments.speed.conditions import Conditions
from ltgen_bench.experiments.speed.costs import BASE
from ltgen_bench.experiments.speed.method_rates import RelativeCost, relative_cost
from ltgen_bench.experiments.speed.own_process import in_own_process, measured
from ltgen_bench.experiments.speed.speed_rows import SpeedRow
from ltgen_bench.experiments.speed.speed_setting import loop_config, random_images
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.training.cost import flops_per_image, probing
from ltgen_bench.training.trainer import resolve_precision

STAGE = "train"
METHODS = ("ddpm", "cbdm")  # where none are asked for
CPU_BATCH, CUDA_BATCH = 16, 128
ROUNDS = {"warm_up": 1, "least": 3, "most": 40, "seconds": 30.0}
MEMORY_STEPS = 2  # the second finds the optimiser's state there
DTYPES = {"bf16": torch.bfloat16, "float32": torch.float32}
CPU_SIDE, CUDA_SIDE = 2048, 8192  # of the matrices of `matrix_rate`
PRODUCT_SECONDS, PRODUCTS_AT_ONCE = 2.0, 10


@dataclass(frozen=True)
class TrainingSpeed:
    """What was measured of one method: precision, operations of an image, times, and MB of memory (NaN: not known)."""

    precision: str
    flops: float
    times: RelativeCost
    memory_mb: float


def train_stage(conditions: Conditions, progress: Progress) -> list[SpeedRow]:
    """Images/s, ms a step, memory, operations and their share of the rate of matrix products; the first steps apart.

    A method that cannot train without something of the user's, as a checkpoint, is told and left out.
    """
    device = torch.device(conditions.device)
    names = conditions.methods or METHODS
    batch = conditions.batch_size(CPU_BATCH, CUDA_BATCH)
    rows: list[SpeedRow] = []
    with progress.stage(STAGE, 1 + len(names), "measurements") as stage:
        stage.advance(0, "matrix products")
        peaks = {precision: matrix_rate(precision, device) for precision in (resolve_precision("auto", device), "float32")}
        base_flops = flops_per_image(loop_config(BASE, conditions.preset, batch), random_images(), device)
        stage.advance(1)
        for name in names:
            stage.advance(0, name)
            try:
                found = in_own_process(training_speed, conditions.threads, name, conditions.preset, batch, conditions.device,
                                       conditions.compile)
                rows += _rows(name, found, conditions, peaks[found.precision], base_flops)
            except UserError as error:
                progress.say(f"{name} is left out: {error}")
            stage.advance(1)
    return [SpeedRow(STAGE, f"{precision} products", f"on {device}", "TFLOP/s", peak / 1e12, "float32", peaks["float32"] / 1e12)
            for precision, peak in peaks.items()] + rows


@exact_float32()
def training_speed(method: str, preset: str, batch: int, device: str, how: Compile) -> TrainingSpeed:
    """Measure the training of `method` and, for the ratio, that of `ddpm`; `how` it is compiled is as `train.compile`."""
    place, dataset = torch.device(device), random_images()
    config = loop_config(method, preset, batch, **{"train.compile": how})
    trainer = probing(config, dataset, place, batch)  # refuses what cannot be trained

    def steps() -> None:
        own = probing(config, dataset, place, batch)
        for _ in range(MEMORY_STEPS):
            own.step()

    memory = measured(steps, device).memory_mb
    base = probing(loop_config(BASE, preset, batch, **{"train.compile": how}), dataset, place, batch)
    return TrainingSpeed(trainer.precision, flops_per_image(config, dataset, place), relative_cost(base, trainer, ROUNDS), memory)


def _rows(name: str, found: TrainingSpeed, conditions: Conditions, peak: float, base_flops: float) -> list[SpeedRow]:
    """`peak`: operations a second of matrix products; `base_flops`: of one image of `ddpm`."""
    batch = conditions.batch_size(CPU_BATCH, CUDA_BATCH)
    how = "" if conditions.compile == "auto" else f", compile {conditions.compile}"
    row = partial(SpeedRow, STAGE, size=f"{conditions.preset}, batch {batch}, {found.precision} on {conditions.device}{how}")
    rate, memory = found.times.rate, found.memory_mb
    return [
        row(name, unit="images/s", value=rate, memory_mb=memory),
        row(f"{name} cost", unit="x", value=found.times.cost, against=BASE, reference=1.0),
        row(f"{name} step", unit="ms", value=1000 * batch / rate),
        row(f"{name} first steps", unit="s", value=found.times.warming),
        row(f"{name} memory", unit="MB", value=memory),
        row(f"{name} operations", unit="GFLOP", value=found.flops / 1e9, against=BASE, reference=base_flops / 1e9),
        row(f"{name} of peak", unit="%", value=100 * rate * found.flops / peak)]


def matrix_rate(precision: str, device: torch.device, side: int | None = None) -> float:
    """Floating-point operations a second of square matrices in `precision`: the best of a few products in about two seconds.

    A multiplication and an addition are two. float32 is without TF32, torch's default for matrix products.
    """
    side = side or (CPU_SIDE if device.type == "cpu" else CUDA_SIDE)
    first, second = (torch.randn(side, side, generator=generator(seed, device), device=device).to(DTYPES[precision])
                     for seed in (0, 1))
    products = 1 if device.type == "cpu" else PRODUCTS_AT_ONCE  # on CUDA several for one wait
    best, begin = float("inf"), time.perf_counter()
    for number in range(1_000):
        start = time.perf_counter()
        for _ in range(products):
            torch.mm(first, second)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number:  # the first warms up
            best = min(best, (time.perf_counter() - start) / products)
        if number >= 3 and time.perf_counter() - begin > PRODUCT_SECONDS:
            break
    return 2 * side**3 / best
