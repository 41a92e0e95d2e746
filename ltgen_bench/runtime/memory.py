"""Memory of this machine: how much there is, how much is free, and the peak that a part of the work takes.

Linux can reset the peak of the resident memory, torch that of a CUDA device. On other systems a peak is known only where it
exceeds all earlier ones; else the result is None.
"""

import ctypes
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK_OF_PROCESS = "5"  # value written to FORGET
CGROUPS = (("/sys/fs/cgroup", "memory.max", "memory.current"),  # cgroup version 2 and version 1
           ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"))


def machine_memory() -> int:
    """Return the bytes that this process may use: the machine's memory, or the limit of its container where that is less."""
    return min([psutil.virtual_memory().total, *(limit for limit, _ in _containers())])


def free_memory() -> int:
    """Return the bytes that are free now, on the machine and below the limit of its container."""
    return max(0, min([psutil.virtual_memory().available, *(limit - used for limit, used in _containers())]))


def _containers() -> list[tuple[int, int]]:
    """Return (limit, bytes in use) of the container of this process, if there is one; cached files do not count as in use."""
    found = []
    for folder, limit, used in CGROUPS:
        with suppress(OSError, ValueError):  # no container, or "max": no limit
            given_back = 0
            with suppress(OSError):
                stat = dict(line.split() for line in Path(folder, "memory.stat").read_text().splitlines())
                given_back = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
            found.append((int(Path(folder, limit).read_text()), int(Path(folder, used).read_text()) - given_back))
    return found


def resident_mb() -> float:
    """Return the resident memory of this process in 10^6 bytes."""
    return float(psutil.Process().memory_info().rss / 1e6)


def peak_memory_mb(device: "torch.device") -> float:
    """Return the peak memory since the start, or since a `Peak` began, in 10^6 bytes.

    On CUDA the allocated memory of the device, on the CPU the resident memory of this process.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 1e6
    found = _peak_of_status()
    if found is not None:  # on Linux, getrusage includes the memory of the parent process
        return found
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class Peak:
    """Peak memory since this object was made. Several may be active at once."""

    def __init__(self, device: "torch.device") -> None:
        self.device = device
        self.largest = 0.0  # peak before another `Peak` reset it
        _release()
        for other in _open:
            if other.device.type == device.type:
                other.largest = max(other.largest, other.mb or 0.0)
        self.before = peak_memory_mb(device)
        self.from_now_on = _forget(device)

    @property
    def mb(self) -> float | None:
        """Return the peak in 10^6 bytes; None where it is unknown."""
        now = peak_memory_mb(self.device)
        known = now if self.from_now_on or now > self.before else None
        return max(known or 0.0, self.largest) or None


_open: list[Peak] = []


@contextmanager
def peak_memory(device: "torch.device") -> Iterator[Peak]:
    """Yield a `Peak` that measures the block."""
    peak = Peak(device)
    _open.append(peak)
    try:
        yield peak
    finally:
        _open.remove(peak)


def _forget(device: "torch.device") -> bool:
    """Reset the peak; returns whether that was possible."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        FORGET.write_text(PEAK_OF_PROCESS, encoding="ascii")
    except OSError:
        return False
    peak = _peak_of_status()
    return peak is not None and peak <= 1.05 * resident_mb() + 1  # a system may accept the command without effect


def _release() -> None:
    """Release unused memory of earlier work, so that it does not count for what follows."""
    with suppress(OSError, AttributeError):  # only in GNU's C library
        ctypes.CDLL(None).malloc_trim(0)


def _peak_of_status() -> float | None:
    """Return the peak of the resident memory in 10^6 bytes on Linux; None elsewhere."""
    try:
        lines = STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), None)
