"""Profile of a training step: the kernels that took most of its time."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ltgen_bench.core.progress import Progress
from ltgen_bench.experiments.speed.conditions import Conditions
from ltgen_bench.experiments.speed.speed_setting import loop_config, random_images
from ltgen_bench.experiments.speed.training_rates import CPU_BATCH, CUDA_BATCH, METHODS
from ltgen_bench.training.cost import forked, probing

TOP, WARM_UP, STEPS = 15, 2, 3


@dataclass(frozen=True)
class Kernel:
    """An operation of the CPU, or a kernel of the CUDA device: calls and ms of a step without what it calls, and its share."""

    method: str
    kernel: str
    calls: float
    ms: float
    percent: float


def profiled(conditions: Conditions, progress: Progress) -> list[Kernel]:
    """The TOP kernels of each method's training step, largest first."""
    device, batch = torch.device(conditions.device), conditions.batch_size(CPU_BATCH, CUDA_BATCH)
    found: list[Kernel] = []
    names = conditions.methods or METHODS
    with progress.stage("profile", len(names), "methods") as stage:
        for name in names:
            stage.advance(0, name)
            config = loop_config(name, conditions.preset, batch, **{"train.compile": conditions.compile})
            found += _kernels(name, probing(config, random_images(), device, batch).step, device)
            stage.advance(1)
    return found


def _kernels(method: str, step: Callable[[], object], device: torch.device) -> list[Kernel]:
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
    events = [event for event in observed.key_averages() if event.device_type == kind and not event.is_user_annotation]
    times = {event.key: (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1000 / STEPS for event in events}
    calls = {event.key: event.count / STEPS for event in events}
    whole = sum(times.values())
    largest = sorted(times, key=lambda key: times[key], reverse=True)[:TOP]
    return [Kernel(method, key, calls[key], times[key], 100 * times[key] / whole) for key in largest]


def kernels_csv(kernels: Sequence[Kernel]) -> str:
    """A line a kernel; ms and calls are of one step, and percent of all of the step's kernels."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in fields(Kernel)])
    writer.writerows([f"{cell:.4g}" if isinstance(cell, float) else cell for cell in astuple(kernel)] for kernel in kernels)
    return out.getvalue()
