"""Choice of the device, description of machine and versions, and cost of the stages."""

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ltgen_bench.core.errors import DamagedError, UserError
from ltgen_bench.core.files import read_checked_json, set_aside, write_checked_json
from ltgen_bench.runtime.memory import peak_memory
from ltgen_bench.runtime.memory import peak_memory_mb as peak_memory_mb

PACKAGES = ("ltgen-bench", "torch", "torchvision", "diffusers", "torch-fidelity", "numpy", "scipy", "scikit-learn", "pillow")
COST_CURE = "it is set aside, and the time of earlier sessions of this stage is not counted"


def choose_device(name: str | None = None) -> torch.device:
    """Return the device `name`, by default CUDA if available, else the CPU. Raises `UserError` for one that is missing."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: it is cpu, cuda, or cuda:N.") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name}: it is cpu, cuda, or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices here; take --device cpu, or "
                        "install the CUDA build of torch and a driver.")
    return device


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change results."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def hardware(device: torch.device) -> dict[str, str | int]:
    """Return device, processor, threads and operating system."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {"device": device.type, "device_name": name, "cpu": cpu_name(), "cpu_count": os.cpu_count() or 0,
            "threads": torch.get_num_threads(), "system": f"{platform.system()} {platform.machine()}"}


def cpu_name() -> str:
    """Return the processor's model name, where the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def stage_cost(path: Path, device: torch.device, say: Callable[[str], object] = lambda message: None, *,
               done: bool = False) -> Iterator[None]:
    """Add the seconds spent inside, also before an interruption, and the peak memory to the JSON file `path`.

    Nothing is added where the stage was `done` before. A damaged file is set aside and reported by `say`.
    """
    begin = time.monotonic()
    try:
        read_cost(path)
    except DamagedError as error:
        set_aside(path)
        say(str(error))
    if done and path.is_file():
        yield
        return
    with peak_memory(device) as peak:
        try:
            yield
        finally:
            cost = read_cost(path)
            peaks = [*([cost["peak_memory_mb"]] if path.is_file() else []), None if done else peak.mb]
            known = [mb for mb in peaks if mb is not None]
            write_checked_json(path, {
                "seconds": round(cost["seconds"] + time.monotonic() - begin, 3), "device": device.type,
                "peak_memory_mb": round(max(known), 1) if len(known) == len(peaks) else None})


def read_cost(path: Path) -> dict[str, Any]:
    """Return what `stage_cost` wrote: zero seconds without a file, None where the peak is unknown. Raises `DamagedError`."""
    if path.is_file():
        found = read_checked_json(path, COST_CURE)
        seconds, peak = found.get("seconds"), found.get("peak_memory_mb", "missing")
        if not isinstance(seconds, int | float) or not isinstance(peak, int | float | None) or "device" not in found:
            raise DamagedError(f"{path} is damaged (it does not say what a stage costs); {COST_CURE}.")
        return found
    return {"seconds": 0.0, "device": "cpu", "peak_memory_mb": None}
