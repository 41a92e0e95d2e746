"""Profile of a training step: the kernels that took most of its time."""

from collections.abc import Callable

import pandas as pd
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ltgen_bench.core.progress import Progress
from ltgen_bench.experiments.speed.speed_rows import Conditions
from ltgen_bench.experiments.speed.training_rates import CPU_BATCH, CUDA_BATCH, USUAL, loop_config, random_images
from ltgen_bench.training.cost import forked, probing

TOP, WARM_UP, STEPS = 15, 2, 3


def profiled(conditions: Conditions, progress: Progress) -> pd.DataFrame:
    """The TOP kernels of each method's training step, largest first: operations of the CPU, or kernels of the CUDA device.

    Columns: method, kernel, calls and ms of one step without what it calls, and percent of all kernels of the step.
    """
    device, batch = torch.device(conditions.device), conditions.batch_size(CPU_BATCH, CUDA_BATCH)
    found, names = [], conditions.methods or USUAL
    with progress.stage("profile", len(names), "methods") as stage:
        for name in names:
            stage.advance(0, name)
            config = loop_config(name, conditions.preset, batch, **{"train.compile": conditions.compile})
            found.append(_kernels(probing(config, random_images(), device, batch).step, device).assign(method=name))
            stage.advance(1)
    return pd.concat(found)[["method", "kernel", "calls", "ms", "percent"]]


def _kernels(step: Callable[[], object], device: torch.device) -> pd.DataFrame:
    cuda = device.type == "cuda"
    with forked(device):
        for _ in range(WARM_UP):
            step()
        with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as observed:
            for _ in range(STEPS):
                step()
            if cuda:
                torch.cuda.synchronize(device)
    kind = DeviceType.CUDA if cuda else DeviceType.CPU
    table = pd.DataFrame([
        {"kernel": event.key, "calls": event.count / STEPS,
         "ms": (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1000 / STEPS}
        for event in observed.key_averages() if event.device_type == kind and not event.is_user_annotation])
    return table.assign(percent=100 * table["ms"] / table["ms"].sum()).nlargest(TOP, "ms")
