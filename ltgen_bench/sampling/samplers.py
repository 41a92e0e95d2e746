"""The samplers: diffusers' schedulers, set to what the papers of this field use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.registry import Registry, an_instance
from ltgen_bench.diffusion import DDPM_SCHEDULER, DEFAULT_PROCESS, PROCESSES, STEPS


@dataclass(frozen=True)
class Sampler:
    """Sampler of networks of one `process`.

    `make(steps)` gives a fresh diffusers scheduler whose `timesteps` are `steps` times, one network evaluation each; it raises
    `UserError` for a number that it cannot take. `stochastic` says whether it draws noise at every step.
    """

    summary: str
    source: str
    stochastic: bool
    make: Callable[[int], Any]
    process: str = DEFAULT_PROCESS
    usual_steps: int = 50  # where neither recipe nor user says how many


def _even_stride(name: str, steps: int) -> None:
    """`leading` spacing visits t = 0, s, 2s, ...; it reaches the last step only where s = 1000 / steps is whole."""
    if steps < 2 or STEPS % steps:
        raise UserError(f"sample.steps: {name} takes every (1000 / steps)-th step, so steps must be at least 2 and "
                        f"divide 1000; {steps} does not. Take 1000, 500, 250, 200, 125, 100, 50, 40, 25, 20 or 10.")


def _ddpm(steps: int) -> Any:
    from diffusers import DDPMScheduler

    _even_stride("ddpm", steps)
    scheduler = DDPMScheduler(**DDPM_SCHEDULER, variance_type="fixed_large", clip_sample=False, timestep_spacing="leading")
    scheduler.set_timesteps(steps)
    return scheduler


def _ddim(steps: int) -> Any:
    from diffusers import DDIMScheduler

    _even_stride("ddim", steps)
    # the last step ends at noise level 0 of the schedule, not at no noise: the released code of OC and CM
    scheduler = DDIMScheduler(**DDPM_SCHEDULER, clip_sample=False, set_alpha_to_one=False, timestep_spacing="leading")
    scheduler.set_timesteps(steps)
    return scheduler


def _dpm_solver(steps: int) -> Any:
    from diffusers import DPMSolverMultistepScheduler

    if not 2 <= steps <= STEPS:
        raise UserError(f"sample.steps: dpm-solver++ is a two-step method over {STEPS} times and takes at least 2 and at most "
                        f"{STEPS} steps; {steps} are not.")
    # Steps even in the log signal-to-noise ratio (`lu_lambdas`). On Gaussian data with standard deviations 0.1 to 0.8 and the
    # exact eps, 20 such steps give a deviation 0.9 to 1.5 % too large and 25 one 0.0 to 1.0 %, where steps even in t lose 44
    # to 0 %. Within the modes of a mixture it is more: 5.1 % and 3.1 % at three modes of deviation 0.1, 0.9 apart.
    scheduler = DPMSolverMultistepScheduler(**DDPM_SCHEDULER, algorithm_type="dpmsolver++", solver_order=2,
                                            solver_type="midpoint", use_lu_lambdas=True, thresholding=False)
    scheduler.set_timesteps(steps)
    _make_distinct(scheduler)
    return scheduler


def _make_distinct(scheduler: Any) -> None:
    """Give every step a time of its own, where rounding to whole times has made some equal (from 39 steps on).

    Each time is moved up as little as that takes, and the noise levels become those of the times. With the exact eps the
    deviation of Gaussian data is then off by at most 0.4 % at 40 to 1000 steps (before: 0.6 %).
    """
    import torch

    times = scheduler.timesteps.tolist()
    if len(set(times)) == len(times):
        return
    for place in reversed(range(len(times) - 1)):
        times[place] = max(times[place], times[place + 1] + 1)
    times = [min(time, STEPS - 1 - place) for place, time in enumerate(times)]
    bars = scheduler.alphas_cumprod[times]
    scheduler.timesteps = torch.tensor(times, dtype=torch.int64)
    scheduler.sigmas = torch.cat([((1 - bars) / bars).sqrt(), torch.zeros(1)])


def _euler(steps: int) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=STEPS)
    scheduler.set_timesteps(steps)
    return scheduler


def _heun(steps: int) -> Any:
    from diffusers import FlowMatchHeunDiscreteScheduler

    # from 1 to 0.001 in steps of two evaluations, and from there to 0 in an Euler step of one, which an even number leaves out:
    # 0.001 (noise - x_0) stays in the image then, half a grey level at most
    scheduler = FlowMatchHeunDiscreteScheduler(num_train_timesteps=STEPS)
    scheduler.set_timesteps(steps // 2 + 1)
    scheduler.timesteps = scheduler.timesteps[:steps]
    return scheduler


def samplers_of(process: str) -> list[str]:
    """The samplers for networks of a process; the first is what it is sampled by where nobody says otherwise."""
    return [name for name in SAMPLERS if SAMPLERS[name].process == process]


def fast_sampling(process: str) -> tuple[str, int]:
    """(the sampler of a process with the fewest usual steps, that number)."""
    name = min(samplers_of(process), key=lambda name: SAMPLERS[name].usual_steps)
    return name, SAMPLERS[name].usual_steps


def check_sampler(name: str, process: str) -> None:
    """Raise `UserError` for an unknown sampler, and for one that is of another process."""
    SAMPLERS.check(name)
    if SAMPLERS[name].process != process:
        raise UserError(f"sample.sampler: {name} is a sampler of process {SAMPLERS[name].process}, and the process is "
                        f"{process}; take {' or '.join(samplers_of(process))}.")


def _checked(entry: Any, name: str, where: str) -> Sampler:
    """A sampler of an installed package. Raises `UserError` for what is none, or is for an unknown process."""
    sampler = an_instance(Sampler)(entry, name, where)
    if sampler.process not in PROCESSES:
        raise UserError(f"{where} is for the process '{sampler.process}', which is unknown; known: {', '.join(PROCESSES)}.")
    return sampler


SAMPLERS: Registry[Sampler] = Registry("sampler", "samplers", "ltgen_bench.samplers", _checked)
SAMPLERS.add("ddpm", Sampler("ancestral sampling, fixed-large variance, x_0 not clipped; 1000 steps",
                             "Ho et al., NeurIPS 2020, arXiv 2006.11239, algorithm 2", True, _ddpm, usual_steps=1000))
SAMPLERS.add("ddim", Sampler("deterministic, every (1000 / steps)-th step down to t = 0; 50 or 100 steps",
                             "Song et al., ICLR 2021, arXiv 2010.02502, equation 12 with eta = 0", False, _ddim))
SAMPLERS.add("dpm-solver++", Sampler("second-order multistep solver of the probability-flow ODE; 20 to 50 steps",
                                     "Lu et al., 2022, arXiv 2211.01095, algorithm 2", False, _dpm_solver, usual_steps=25))
SAMPLERS.add("heun", Sampler("second-order solver of a flow, two evaluations a step; 20 to 100 evaluations",
                             "Karras et al., NeurIPS 2022, arXiv 2206.00364, algorithm 1; spaced as diffusers does", False, _heun,
                             "flow", 25))
SAMPLERS.add("euler", Sampler("first-order solver of a flow; 50 to 200 steps",
                              "Liu et al., ICLR 2023, arXiv 2209.03003, algorithm 1; spaced as diffusers does", False, _euler,
                              "flow", 100))
