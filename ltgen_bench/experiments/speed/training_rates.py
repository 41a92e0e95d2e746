"""The stage `train`: one training step of each method, beside a plain loop and beside `ddpm` in the same seconds."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import Progress, Stage
from ltgen_bench.experiments.speed.conditions import Conditions
from ltgen_bench.experiments.speed.costs import BASE
from ltgen_bench.experiments.speed.loops import fast_loop
from ltgen_bench.experiments.speed.peak import matrix_rate
from ltgen_bench.experiments.speed.plain import LOSSES, PlainLoop
from ltgen_bench.experiments.speed.process import Measured, measured
from ltgen_bench.experiments.speed.rows import SpeedRow, Target
from ltgen_bench.experiments.speed.setting import loop_config, random_images
from ltgen_bench.experiments.speed.side_by_side import Beside, Rounds, beside
from ltgen_bench.training.cost import flops_per_image
from ltgen_bench.training.trainer import resolve_precision

STAGE = "train"
METHODS = ("ddpm", "cbdm")  # where none are asked for
PLAIN, PLAIN_TF32 = "plain loop (float32)", "plain loop in TF32 (its convolutions: torch's default)"
ROUNDS = Rounds()
TOLERANCE = {"float32": 1e-5, "bf16": 1e-2}  # of a loss, relative
NETWORK = "the ddpm network"
ON_CPU, ON_CUDA = f"{NETWORK} at batch 16 on two CPU cores", f"{NETWORK} at batch 128 on CUDA"
COSTS = {"cbdm": 1.9, "coral": 1.1, "oc": 1.1, "resample": 1.1}  # of an image, in those of ddpm
SLACK = 1.1  # of other methods, beyond what their operations explain
MEMORY_MB = 12_000.0
ONCE = {"ddpm": 3.0, "cbdm": 1.8}  # images/s of the seed paper's code on two CPU cores, recorded once


@dataclass(frozen=True)
class _Found:
    """What was measured of one method."""

    size: str
    precision: str
    flops: float  # of an image
    times: Beside
    ours: Measured
    plain: Measured | None


def train_stage(conditions: Conditions, progress: Progress) -> list[SpeedRow]:
    """Images/s, ms a step, memory, operations and their share of the matrix rate, with targets; compiling apart.

    A method without a plain loop stands beside `ddpm` alone. One that cannot train without something of the user's, as a
    checkpoint, is told and left out.
    """
    device = torch.device(conditions.device)
    names = conditions.methods or METHODS
    rows: list[SpeedRow] = []
    with progress.stage(STAGE, 1 + 4 * len(names), "measurements") as stage:
        stage.advance(0, "matrix products")
        peaks = {precision: matrix_rate(precision, device) for precision in (resolve_precision("auto", device), "float32")}
        base = loop_config(BASE, conditions.preset, conditions.batch_size)
        base_flops = flops_per_image(base, random_images(), device)
        stage.advance(1)
        for name in names:
            try:
                found = _measured(name, conditions, device, stage)
            except UserError as error:
                progress.say(f"{name} is left out: {error}")
                stage.advance(4)
                continue
            rows += _rows(name, found, conditions, peaks[found.precision], base_flops)
    return [SpeedRow(STAGE, f"{precision} products", f"on {device}", "TFLOP/s", peak / 1e12, against="float32",
                     reference=peaks["float32"] / 1e12) for precision, peak in peaks.items()] + rows


def _measured(name: str, conditions: Conditions, device: torch.device, stage: Stage) -> _Found:
    batch, preset, data = conditions.batch_size, conditions.preset, random_images()
    compiled = {"train.compile": conditions.compile}
    config = loop_config(name, preset, batch, **compiled)
    inputs = {"method": name, "preset": preset, "batch": batch, "device": conditions.device}
    trainer = fast_loop(config, device)  # before all else: it refuses what cannot be trained
    kinds = ([False, True] if conditions.cuda else [False]) if name in LOSSES else []
    stage.advance(0, f"{name}, memory")
    ours = measured("train_ours", {**inputs, "compile": conditions.compile}, conditions.threads)
    stage.advance(1, f"{name}, memory of the plain loop")
    plain = measured("train_plain", inputs, conditions.threads) if kinds else None
    stage.advance(1, f"{name}, operations")
    flops = flops_per_image(config, data, device)
    stage.advance(1, f"{name}, steps")
    base = fast_loop(loop_config(BASE, preset, batch, **compiled), device)
    times = beside(base, trainer, ROUNDS, [PlainLoop(config, data, device, tf32=tf32) for tf32 in kinds])
    stage.advance(1)
    how = "" if conditions.compile == "auto" else f", compile {conditions.compile}"
    return _Found(f"{preset}, batch {batch}, {trainer.precision} on {device}{how}", trainer.precision, flops, times, ours, plain)


def _rows(name: str, found: _Found, conditions: Conditions, peak: float, base_flops: float) -> list[SpeedRow]:
    """`peak`: operations a second of matrix products; `base_flops`: of one image of `ddpm`."""
    times, at = found.times, conditions.placed
    row = partial(SpeedRow, STAGE, size=found.size)
    rate, share = times.rate, 100 * found.flops / peak  # share: of the peak, in % for an image a second
    plain = times.base / times.plain_costs[0] if times.plain_costs else math.nan
    against = PLAIN if times.plain_costs else ""
    memory, plain_memory = found.ours.memory_mb, math.nan if found.plain is None else found.plain.memory_mb
    target = Target.at(ON_CUDA, at, "ratio", ">=", 8.0) if conditions.cuda else Target.at(ON_CPU, at, "ratio", ">=", 1.7)
    rows = [row(name, unit="images/s", value=rate, target=target if against else None, against=against, reference=plain,
                difference=_difference(found), tolerance=TOLERANCE[found.precision], memory_mb=memory,
                reference_memory_mb=plain_memory)]
    rows += [row(name, unit="images/s", value=rate, against=PLAIN_TF32, reference=times.base / cost)
             for cost in times.plain_costs[1:]]
    if name in ONCE and conditions.network == NETWORK and not conditions.cuda:
        rows.append(row(name, unit="images/s", value=rate, target=Target.at(ON_CPU, at, "ratio", ">=", 2.5),
                        against="seed code (the seed paper's, recorded once on two other cores)", reference=ONCE[name]))
    limit = COSTS.get(name, SLACK * found.flops / base_flops)
    cheap = None if name == BASE else Target.at(NETWORK, conditions.network, "value", "<=", limit)
    batch = conditions.batch_size
    small = Target.at(f"{NETWORK} at batch 128", conditions.sized, "value", "<=", MEMORY_MB)
    return [
        *rows,
        row(f"{name} cost", unit="x", value=times.cost, target=cheap, against=BASE, reference=1.0),
        row(f"{name} step", unit="ms", value=1000 * batch / rate, against=against, reference=1000 * batch / plain),
        row(f"{name} first steps", unit="s", value=times.warming),
        row(f"{name} memory", unit="MB", value=memory, target=small, against=against, reference=plain_memory),
        row(f"{name} operations", unit="GFLOP", value=found.flops / 1e9, against=BASE, reference=base_flops / 1e9),
        row(f"{name} of peak", unit="%", value=rate * share, against=against, reference=plain * share,
            target=Target.at(ON_CUDA, at, "value", ">=", 35.0) if conditions.cuda else None),
    ]


def _difference(found: _Found) -> float:
    """The largest between our losses and those of the plain loop, relative to these."""
    if found.plain is None:
        return math.nan
    ours, plain = np.array(found.ours.values), np.array(found.plain.values)
    return float((np.abs(ours - plain) / np.abs(plain)).max())
