"""The samplers: diffusers' schedulers, set to what the papers of this field use. One `make(steps)` each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ltgen_bench.diffusion import BETA_END, BETA_START, STEPS
from ltgen_bench.errors import UserError
from ltgen_bench.registry import Registry

COMMON = {"num_train_timesteps": STEPS, "beta_start": BETA_START, "beta_end": BETA_END, "beta_schedule": "linear",
          "prediction_type": "epsilon"}


@dataclass(frozen=True)
class Sampler:
    """`make(steps)` gives a fresh diffusers scheduler; `stochastic` says whether it draws noise at every step."""

    summary: str
    source: str
    stochastic: bool
    make: Callable[[int], Any]


def _even_stride(name: str, steps: int) -> None:
    """`leading` spacing visits t = 0, s, 2s, ...; it reaches the last step only where s = 1000 / steps is whole."""
    if steps < 2 or STEPS % steps:
        raise UserError(f"sample.steps: {name} takes every (1000 / steps)-th step, so steps must be at least 2 and "
                        f"divide 1000; {steps} does not. Take 1000, 500, 250, 200, 125, 100, 50, 40, 25, 20 or 10.")


def _ddpm(steps: int) -> Any:
    from diffusers import DDPMScheduler

    _even_stride("ddpm", steps)
    scheduler = DDPMScheduler(**COMMON, variance_type="fixed_large", clip_sample=False, timestep_spacing="leading")
    scheduler.set_timesteps(steps)
    return scheduler


def _ddim(steps: int) -> Any:
    from diffusers import DDIMScheduler

    _even_stride("ddim", steps)
    # the last step ends at noise level 0 of the schedule, not at no noise: the released code of OC and CM
    scheduler = DDIMScheduler(**COMMON, clip_sample=False, set_alpha_to_one=False, timestep_spacing="leading")
    scheduler.set_timesteps(steps)
    return scheduler


def _dpm_solver(steps: int) -> Any:
    from diffusers import DPMSolverMultistepScheduler

    if steps < 2:
        raise UserError("sample.steps: dpm-solver++ is a two-step method and needs at least 2 steps.")
    # Steps even in the log signal-to-noise ratio (`lu_lambdas`). On Gaussian data with standard deviations 0.1 to 0.8
    # and the exact eps, 25 such steps keep the deviation within 1 % (20: 1.5 %), where steps even in t lose 44 to 0 %.
    scheduler = DPMSolverMultistepScheduler(**COMMON, algorithm_type="dpmsolver++", solver_order=2,
                                            solver_type="midpoint", use_lu_lambdas=True, thresholding=False)
    scheduler.set_timesteps(steps)
    return scheduler


SAMPLERS: Registry[Sampler] = Registry("sampler", "samplers")
SAMPLERS.add("ddpm", Sampler("ancestral sampling, fixed-large variance, x_0 not clipped; 1000 steps",
                             "Ho et al., NeurIPS 2020, arXiv 2006.11239, algorithm 2", True, _ddpm))
SAMPLERS.add("ddim", Sampler("deterministic, every (1000 / steps)-th step down to t = 0; 50 or 100 steps",
                             "Song et al., ICLR 2021, arXiv 2010.02502, equation 12 with eta = 0", False, _ddim))
SAMPLERS.add("dpm-solver++", Sampler("second-order multistep solver of the probability-flow ODE; 20 to 50 steps",
                                     "Lu et al., 2022, arXiv 2211.01095, algorithm 2", False, _dpm_solver))
