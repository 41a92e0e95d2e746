"""What a plan will take on this machine, from a few measured steps of its own training and sampling."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ltgen_bench.diffusion.draws import generator
from ltgen_bench.diffusion.guidance import Guidance
from ltgen_bench.diffusion.samplers import SAMPLERS
from ltgen_bench.machine import peak_memory_mb
from ltgen_bench.pipeline import Plan
from ltgen_bench.training.loop import Trainer, build_method

PROBE_SECONDS = 8.0  # a probe of one stage ends after its first step beyond this
CPU_BATCH = 16  # larger batches are scaled up from this, since a CPU's time grows in proportion


@dataclass(frozen=True)
class Estimate:
    """Seconds of training and sampling, the memory of the larger of the two, and how they were found."""

    parameters: int
    train_seconds: float
    sample_seconds: float
    memory_mb: float
    train_images_per_second: float
    measured_steps: int


def estimate(plan: Plan, device: torch.device) -> Estimate:
    """Run a few training steps and a few network evaluations of `plan` and scale them up. Nothing is written."""
    config, dataset = plan.config, plan.dataset
    before = peak_memory_mb(device)
    small = device.type == "cpu" and config.train.batch_size > CPU_BATCH
    batch = CPU_BATCH if small else config.train.batch_size
    whole = {"batch_size": batch, "budget_images": 10**12}  # so that no probed step is cut short by the end of the budget
    shrunk = config.model_copy(update={"train": config.train.model_copy(update=whole)})
    method = build_method(config, dataset, device)
    method.prepare(dataset)
    trainer = Trainer(shrunk, dataset, method, device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        step_seconds, steps = _seconds_each(trainer.step, device)
    chunk = min(config.sample.batch_size, config.sample.images_per_class * dataset.num_classes)
    drawn = min(chunk, CPU_BATCH) if device.type == "cpu" else chunk
    denoiser = method.denoiser(trainer.ema.net, Guidance(config.sample.omega))
    noise = torch.randn(drawn, *dataset.image_shape, generator=generator(0, device), device=device)
    t = torch.zeros(drawn, dtype=torch.int64, device=device)
    with torch.inference_mode():
        call_seconds, calls = _seconds_each(lambda: denoiser(noise, t, t), device)
    evaluations = len(SAMPLERS[config.sample.sampler].make(config.sample.steps).timesteps)
    images = config.sample.images_per_class * dataset.num_classes
    grown = max(0.0, peak_memory_mb(device) - before)
    return Estimate(
        parameters=trainer.net.parameter_count, train_seconds=step_seconds * config.train.budget_images / batch,
        sample_seconds=call_seconds / drawn * images * evaluations,
        memory_mb=before + grown * config.train.batch_size / batch, train_images_per_second=batch / step_seconds,
        measured_steps=steps + calls)


def _seconds_each(call: Callable[[], object], device: torch.device) -> tuple[float, int]:
    """(seconds of one call after a first one that warms up, number of calls)."""
    begin = time.monotonic()
    call()
    _wait(device)
    times: list[float] = []
    while len(times) < 3 or (len(times) < 10 and time.monotonic() - begin < PROBE_SECONDS / 2):
        start = time.monotonic()
        call()
        _wait(device)
        times.append(time.monotonic() - start)
        if time.monotonic() - begin > PROBE_SECONDS:
            break
    return sorted(times)[len(times) // 2], len(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
