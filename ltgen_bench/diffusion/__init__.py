"""Noise processes, the network, guidance, and the random numbers of a run."""

from typing import TYPE_CHECKING

from ltgen_bench.core.registry import Registry

if TYPE_CHECKING:  # torch takes seconds to import, and a bad name is refused before
    from ltgen_bench.diffusion.process import Process

STEPS = 1000  # the largest time that a network is given, under every process
BETA_START, BETA_END = 1e-4, 0.02  # of DDPM's linear schedule
# the same schedule as diffusers' schedulers are configured
DDPM_SCHEDULER = {"num_train_timesteps": STEPS, "beta_start": BETA_START, "beta_end": BETA_END, "beta_schedule": "linear",
                  "prediction_type": "epsilon"}

DEFAULT_PROCESS = "ddpm"
PROCESSES: "Registry[type[Process]]" = Registry("process", "processes")
PROCESSES.add("ddpm", "ltgen_bench.diffusion.ddpm_process:DDPMProcess")
PROCESSES.add("flow", "ltgen_bench.diffusion.flow_process:FlowProcess")
