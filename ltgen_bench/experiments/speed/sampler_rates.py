"""The stage `sample`: images by DPM-Solver++ with 25 steps, with guidance and without, beside a plain sampler."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ltgen_bench.core.progress import Progress
from ltgen_bench.experiments.speed.conditions import Conditions
from ltgen_bench.experiments.speed.loops import IMAGES, first_noise, our_sampling, sampled_network, sampling_of
from ltgen_bench.experiments.speed.plain import plain_sampling
from ltgen_bench.experiments.speed.process import Measured, measured
from ltgen_bench.experiments.speed.rows import SpeedRow, Target
from ltgen_bench.experiments.speed.side_by_side import Rounds
from ltgen_bench.training.cost import in_turn
from ltgen_bench.training.trainer import resolve_precision

STAGE = "sample"
STEPS, CPU_STEPS = 25, 3  # a CPU times the fewer; each step takes as long as the next
CPU_BATCH, CUDA_BATCH = 16, 500
OMEGA = 1.5
PLAIN = "plain sampler (float32)"
ROUNDS = Rounds()
TOLERANCE = {"float32": 1e-4, "bf16": 0.05}  # of x_0, relative to the largest
ON_CUDA = "the ddpm network on CUDA"


def sample_stage(conditions: Conditions, progress: Progress) -> list[SpeedRow]:
    """Images/s and the seconds of 50,000 with guidance and without, in float32 and where the device has it in bf16."""
    device = torch.device(conditions.device)
    precisions = list(dict.fromkeys([resolve_precision("auto", device), "float32"]))
    rows: list[SpeedRow] = []
    with progress.stage(STAGE, 2 * (2 + len(precisions)), "measurements") as stage:
        for what, omega in (("guided", OMEGA), ("unguided", 0.0)):
            batch = conditions.batch or (CUDA_BATCH if conditions.cuda else CPU_BATCH)
            steps = STEPS if conditions.cuda else CPU_STEPS
            inputs = {"omega": omega, "preset": conditions.preset, "batch": batch, "steps": steps, "device": conditions.device}
            stage.advance(0, f"{what}, memory")
            plain = measured("draw_plain", inputs, conditions.threads)
            stage.advance(1)
            ours = {}
            for precision in precisions:
                ours[precision] = measured("draw_ours", {**inputs, "precision": precision}, conditions.threads)
                stage.advance(1)
            stage.advance(0, f"{what}, steps")
            rates = batch / (_seconds(omega, precisions, conditions.preset, batch, steps, device) * STEPS / steps)
            stage.advance(1)
            size = f"dpm-solver++ {STEPS}, omega {omega:g}, {conditions.preset}, chunks of {batch}"
            for precision, rate in zip(precisions, rates[1:].tolist(), strict=True):
                rows += _rows(f"{what} {precision}", f"{size}, {precision} on {device}", conditions, rate, float(rates[0]),
                              ours[precision], plain, TOLERANCE[precision])
    return rows


def _seconds(omega: float, precisions: list[str], preset: str, batch: int, steps: int, device: torch.device) -> np.ndarray:
    """Of a chunk: of the plain sampler, and of ours in each precision; the medians of what was drawn in turn."""
    plain_net = sampled_network(preset, device)
    x_t, labels = first_noise(sampling_of(omega, "float32", batch, steps, device))
    calls: list[Callable[[], object]] = [partial(plain_sampling, plain_net, x_t, labels, plain_net.null_label, omega, steps)]
    calls += [our_sampling(sampled_network(preset, device), sampling_of(omega, precision, batch, steps, device))
              for precision in precisions]
    found = in_turn(calls, device, warm_up=ROUNDS.warm_up, least=ROUNDS.least, most=ROUNDS.most, seconds=ROUNDS.seconds)
    return np.median(found.rounds, axis=0)


def _rows(what: str, size: str, conditions: Conditions, rate: float, plain_rate: float, ours: Measured, plain: Measured,
          tolerance: float) -> list[SpeedRow]:
    row = partial(SpeedRow, STAGE, size=size, against=PLAIN)
    here = f"{conditions.network} on {'CUDA' if conditions.cuda else 'a CPU'}"
    first, second = np.array(ours.values), np.array(plain.values)
    difference = float(np.abs(first - second).max() / np.abs(second).max())
    target = Target.at(ON_CUDA, here, "value", "<=", 180.0) if what == "guided bf16" else None
    return [
        row(what, unit="images/s", value=rate, reference=plain_rate, difference=difference, tolerance=tolerance,
            memory_mb=ours.memory_mb, reference_memory_mb=plain.memory_mb),
        row(f"{what}, {IMAGES:,}", unit="s", value=IMAGES / rate, reference=IMAGES / plain_rate, target=target)]
