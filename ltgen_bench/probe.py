"""What a plan will take on this machine, from a few measured steps of its own training and sampling."""

from dataclasses import dataclass

import torch

from ltgen_bench.diffusion.draws import generator
from ltgen_bench.diffusion.guidance import Guidance
from ltgen_bench.diffusion.samplers import SAMPLERS
from ltgen_bench.machine import peak_memory_mb
from ltgen_bench.pipeline import Plan
from ltgen_bench.training.cost import TIMED_IMAGES, pace, probing, seconds_each, timed_images


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
    trainer = probing(config, dataset, device, timed_images(config, device))
    step = pace(trainer)
    chunk = min(config.sample.batch_size, config.sample.images_per_class * dataset.num_classes)
    drawn = min(chunk, TIMED_IMAGES) if device.type == "cpu" else chunk
    denoiser = trainer.method.denoiser(trainer.ema.net, Guidance(config.sample.omega))
    noise = torch.randn(drawn, *dataset.image_shape, generator=generator(0, device), device=device)
    t = torch.zeros(drawn, dtype=torch.int64, device=device)
    with torch.inference_mode():
        call_seconds, calls = seconds_each(lambda: denoiser(noise, t, t), device)
    evaluations = len(SAMPLERS[config.sample.sampler].make(config.sample.steps).timesteps)
    images = config.sample.images_per_class * dataset.num_classes
    grown = max(0.0, peak_memory_mb(device) - before)
    return Estimate(
        parameters=trainer.net.parameter_count, train_seconds=step.seconds_per_image * config.train.budget_images,
        sample_seconds=call_seconds / drawn * images * evaluations,
        memory_mb=before + grown * config.train.batch_size / trainer.train.batch_size,
        train_images_per_second=1 / step.seconds_per_image, measured_steps=step.steps + calls)
