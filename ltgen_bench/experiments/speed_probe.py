"""Expected cost of a plan on this machine, from a few measured steps of its own training and sampling."""

from dataclasses import dataclass

import torch

from ltgen_bench.diffusion.draws import generator
from ltgen_bench.experiments.plan import Plan
from ltgen_bench.experiments.workload import Part, workload
from ltgen_bench.methods.blame import blamed
from ltgen_bench.runtime.batch_size import AUTO
from ltgen_bench.runtime.memory import peak_memory
from ltgen_bench.runtime.precision import exact_float32
from ltgen_bench.sampling.chunks import chunk_size
from ltgen_bench.sampling.samplers import SAMPLERS
from ltgen_bench.sampling.solve import guidance_of
from ltgen_bench.training.cost import TIMED_IMAGES, pace, probing, seconds_each, timed_images


@dataclass(frozen=True)
class Estimate:
    """Seconds of all stages, the memory of training and sampling, and how they were found.

    The evaluation is counted in operations and never tried: its seconds are by the pace of the sampled network.
    """

    parameters: int
    train_seconds: float
    sample_seconds: float
    evaluate_seconds: float
    evaluation: tuple[Part, ...]
    memory_mb: float | None  # None where this machine does not tell
    train_images_per_second: float
    measured_steps: int


@blamed
@exact_float32()
def estimate(plan: Plan, device: torch.device) -> Estimate:
    """Run a few training steps and a few network evaluations of `plan` and scale them up. Nothing is written."""
    config, dataset = plan.config, plan.dataset
    with peak_memory(device) as peak:
        before = peak.mb
        trainer = probing(config, dataset, device, timed_images(config, device))
        step = pace(trainer)
        trainer.ema.net.to(memory_format=torch.channels_last)  # as a trained network is sampled from
        labels, size = plan.sampling.labels, config.sample.batch_size
        denoiser = trainer.method.denoiser(trainer.ema.net, guidance_of(config.sample, dataset.num_classes, device))
        if size == AUTO:
            size = chunk_size(denoiser, plan.sampling, device)
        chunk = min(size, len(labels))
        drawn = min(chunk, TIMED_IMAGES) if device.type == "cpu" else chunk
        noise = torch.randn(drawn, *dataset.image_shape, generator=generator(0, device), device=device)
        t = torch.zeros(drawn, dtype=torch.int64, device=device)
        autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.sample.precision == "bf16")
        with torch.inference_mode(), autocast:
            call_seconds, calls = seconds_each(lambda: denoiser(noise, t, t), device)
        largest = peak.mb
    memory = None if largest is None or before is None else \
        before + max(0.0, largest - before) * config.train.batch_size / trainer.train.batch_size
    load = workload(config, dataset)
    evaluations = len(SAMPLERS[config.sample.sampler].make(config.sample.steps).timesteps)
    sample_seconds = call_seconds / drawn * len(labels) * evaluations
    return Estimate(
        parameters=trainer.net.parameter_count, train_seconds=step.seconds_per_image * config.train.budget_images,
        sample_seconds=sample_seconds, evaluate_seconds=load.evaluate / load.sample * sample_seconds, evaluation=load.parts,
        memory_mb=memory,
        train_images_per_second=1 / step.seconds_per_image, measured_steps=step.steps + calls)
