"""From noise to images: the sampler's steps, and how the network is asked."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ltgen_bench.config.schema import SampleConfig
from ltgen_bench.diffusion.draws import generator
from ltgen_bench.diffusion.guidance import Denoiser, Guidance
from ltgen_bench.runtime.compiling import asks_for_compiling
from ltgen_bench.sampling.samplers import SAMPLERS

WORTH_COMPILING = 2_000_000  # evaluations of the network; fewer may not make up for the minute that compiling takes


def guidance_of(config: SampleConfig, num_classes: int, device: torch.device) -> Guidance:
    """Return omega and whether to compile the network: with `compile` "auto" on CUDA for large sets."""
    passes = 2 if config.omega > 0 else 1
    worth_it = num_classes * config.images_per_class * config.steps * passes >= WORTH_COMPILING
    return Guidance(config.omega, compiled=asks_for_compiling(config.compile, device, worth_it=worth_it))


def autocast(config: SampleConfig, device: torch.device) -> torch.autocast:
    """Return the context in which the network computes, in the precision of `config`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")


def solve(denoiser: Denoiser, labels: Int64[Tensor, " B"], seeds: list[int], image_shape: tuple[int, int, int],
          config: SampleConfig, device: torch.device) -> Float[Tensor, "B C H W"]:
    """Run the sampler of `config` from noise to x_0 (about -1 ... 1, not clipped).

    Image i draws its initial noise, and at a stochastic sampler all later noise, from its own generator.
    """
    sampler = SAMPLERS[config.sampler]
    scheduler = sampler.make(config.steps)
    generators = [generator(seed, device) for seed in seeds]
    x_t = torch.stack([torch.randn(image_shape, generator=g, device=device) for g in generators])
    extra = {"generator": generators} if sampler.stochastic else {}
    for t in scheduler.timesteps:
        times = torch.full((len(seeds),), t.item(), dtype=t.dtype, device=device)
        predicted = denoiser(x_t, times, labels)
        x_t = scheduler.step(predicted, t, x_t, **extra).prev_sample
    return x_t
