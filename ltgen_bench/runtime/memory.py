"""How much memory a part of the work takes: the peak of that part, and not the largest that the process ever held.

Linux lets a process forget the peak of its resident memory, torch that of a CUDA device. Elsewhere a peak is known only where
it is higher than all before; where it is not known there is no number.
"""

import ctypes
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
PEAK_OF_PROCESS = "5"  # what FORGET is told


def resident_mb() -> float | None:
    """What this process has resident now, in 10^6 bytes; None where the system does not tell."""
    return _status("VmRSS")


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory so far, or since a `Peak` began: allocated on the CUDA device, or resident of this process on the CPU. In
    10^6 bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    found = _status("VmHWM")
    if found is not None:  # what Linux tells by getrusage begins with the memory of who started the process
        return found
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class Peak:
    """The largest memory since this was made. Of several that are open at once each knows its own."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.largest = 0.0  # known from before another one forgot the peak
        _release()
        for other in _open:
            if other.device.type == device.type:
                other.largest = max(other.largest, other.mb or 0.0)
        self.before = peak_memory_mb(device)
        self.from_now_on = _forget(device)

    @property
    def mb(self) -> float | None:
        """In 10^6 bytes; None where it is not known."""
        now = peak_memory_mb(self.device)
        known = now if self.from_now_on or now > self.before else None
        return max(known or 0.0, self.largest) or None


_open: list[Peak] = []


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """The `Peak` of what is done inside."""
    peak = Peak(device)
    _open.append(peak)
    try:
        yield peak
    finally:
        _open.remove(peak)


def _forget(device: torch.device) -> bool:
    """Let the peak begin anew; whether that was possible."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        FORGET.write_text(PEAK_OF_PROCESS, encoding="ascii")
    except OSError:
        return False
    peak, now = _status("VmHWM"), resident_mb()
    return peak is not None and now is not None and peak <= 1.05 * now + 1  # a system may take the word and not heed it


def _release() -> None:
    """Give back what earlier work left: it is no part of what comes now."""
    with suppress(OSError, AttributeError):  # of the C library of GNU alone
        ctypes.CDLL(None).malloc_trim(0)


def _status(name: str) -> float | None:
    try:
        lines = STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith(f"{name}:")]
    return found[0] * 1024 / 1e6 if found else None
