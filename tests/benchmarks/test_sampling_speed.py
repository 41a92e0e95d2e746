"""DPM-Solver++ with guidance in one doubled batch and without, against a plain sampler of a pass for every prediction."""

import numpy as np
import pytest
import torch
from benchmarks.plain_references import first_noise, plain_sampling, wake

from ltgen_bench.experiments.speed.sampler_rates import IMAGES, STEPS, drawing, sampled_network, sampling_of
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.training.cost import in_turn
from ltgen_bench.training.trainer import resolve_precision

pytestmark = pytest.mark.benchmark
BATCH = {"cpu": 16, "cuda": 500}
SECONDS = 180.0  # at most, of 50,000 guided images on CUDA


@pytest.mark.parametrize("omega", [1.5, 0.0])
@exact_float32()
def test_ours_against_the_plain_sampler(omega, device, reach):
    batch, steps = BATCH[device.type], STEPS if device.type == "cuda" else 3
    precision = resolve_precision("auto", device)
    ours, plain = sampled_network("ddpm", device), sampled_network("ddpm", device).to(memory_format=torch.contiguous_format)
    for net in (ours, plain):
        wake(net)
    sampling = sampling_of(omega, precision, batch, steps)
    draw, noise = drawing(ours, sampling, device), first_noise(sampling, device)
    found = in_turn([draw, lambda: plain_sampling(plain, *noise, plain.null_label, omega, steps)], device, seconds=60).rounds
    guided = "guided" if omega else "unguided"
    reach(f"{guided}: plain sampler's seconds / ours, {precision}", np.median(found[:, 1] / found[:, 0]), at_least=1.0)
    seconds = float(np.median(found[:, 0])) * STEPS / steps * IMAGES / batch
    reach(f"{guided}: seconds of {IMAGES:,} images", seconds, at_most=SECONDS if omega and device.type == "cuda" else None)
