"""The stage `sample`: images by DPM-Solver++ with 25 steps, with guidance and without."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.core.progress import Progress
from ltgen_bench.diffusion.guidance import guided
from ltgen_bench.diffusion.network import ConditionalUNet, build_network
from ltgen_bench.experiments.speed.speed_rows import Conditions, SpeedRow, measured, rows_of
from ltgen_bench.experiments.speed.training_rates import COUNTS, SHAPE, loop_config
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.sampling.chunks import Sampling
from ltgen_bench.sampling.solve import guidance_of
from ltgen_bench.training.cost import in_turn
from ltgen_bench.training.trainer import resolve_precision

STEPS, CPU_STEPS = 25, 3  # a CPU times the fewer; each step takes as long as the next
CPU_BATCH, CUDA_BATCH = 16, 500
OMEGA = 1.5
IMAGES = 50_000  # of the set whose sampling is timed by a chunk
ROUNDS: dict[str, Any] = {"warm_up": 1, "least": 3, "most": 40, "seconds": 30.0}


@exact_float32()
def sample_stage(conditions: Conditions, progress: Progress) -> list[SpeedRow]:
    """Images/s and the seconds of 50,000 with guidance and without, in float32 and where the device has it in bf16."""
    device = torch.device(conditions.device)
    batch, steps = conditions.batch_size(CPU_BATCH, CUDA_BATCH), CPU_STEPS if conditions.device == "cpu" else STEPS

    def of_chunks(what: str, omega: float, precision: str) -> list[SpeedRow]:
        draw = drawing(sampled_network(conditions.preset, device), sampling_of(omega, precision, batch, steps), device)
        memory, seconds = measured(draw, device).memory_mb, float(np.median(in_turn([draw], device, **ROUNDS).rounds))
        rate = batch * steps / (seconds * STEPS)
        size = f"dpm-solver++ {STEPS}, omega {omega:g}, {conditions.preset}, chunks of {batch}, {precision} on {device}"
        return [SpeedRow("sample", what, size, "images/s", rate, memory_mb=memory),
                SpeedRow("sample", f"{what}, {IMAGES:,}", size, "s", IMAGES / rate)]

    precisions = dict.fromkeys([resolve_precision("auto", device), "float32"])
    return rows_of({f"{what} {precision}": partial(of_chunks, f"{what} {precision}", omega, precision)
                    for what, omega in (("guided", OMEGA), ("unguided", 0.0)) for precision in precisions}, progress)


def sampled_network(preset: str, device: torch.device) -> ConditionalUNet:
    """A network with its first weights, as it is sampled from."""
    net = build_network(loop_config("ddpm", preset, 1).network, SHAPE, len(COUNTS), seed=0)
    return net.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)


def drawing(net: ConditionalUNet, sampling: Sampling, device: torch.device) -> Callable[[], object]:
    """The call that draws the first chunk of `sampling` as `run` does."""
    denoiser = guided(net, guidance_of(sampling.config, len(COUNTS), device), net.null_label)
    return lambda: sampling.draw(denoiser, range(sampling.size), device)


def sampling_of(omega: float, precision: str, batch: int, steps: int) -> Sampling:
    """A chunk of `batch` images by DPM-Solver++, one of a set of IMAGES."""
    config = SampleConfig(sampler="dpm-solver++", steps=steps, omega=omega, images_per_class=IMAGES // len(COUNTS),
                          batch_size=batch, precision="bf16" if precision == "bf16" else "float32")
    return Sampling(config, SHAPE, len(COUNTS))
