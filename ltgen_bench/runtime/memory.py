"""Peak memory of a part of the work, instead of the peak since the process started.

Linux can reset the peak of the resident memory, torch that of a CUDA device. On other systems a peak is known only where it
exceeds all earlier ones; else the result is None.
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
    """Return the resident memory of this process in 10^6 bytes; None where the system does not give it."""
    return _status("VmRSS")


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory since the start, or since a `Peak` began, in 10^6 bytes.

    On CUDA the allocated memory of the device, on the CPU the resident memory of this process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    found = _status("VmHWM")
    if found is not None:  # what Linux tells by getrusage begins with the memory of who started the process
        return found
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class Peak:
    """Peak memory since this object was made. Several may be active at once."""

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
        """Return the peak in 10^6 bytes; None where it is unknown."""
        now = peak_memory_mb(self.device)
        known = now if self.from_now_on or now > self.before else None
        return max(known or 0.0, self.largest) or None


_open: list[Peak] = []


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """Yield a `Peak` that measures the block."""
    peak = Peak(device)
    _open.append(peak)
    try:
        yield peak
    finally:
        _open.remove(peak)


def _forget(device: torch.device) -> bool:
    """Reset the peak; returns whether that was possible."""
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
    """Release unused memory of earlier work, so that it does not count for what follows."""
    with suppress(OSError, AttributeError):  # of the C library of GNU alone
        ctypes.CDLL(None).malloc_trim(0)


def _status(name: str) -> float | None:
    try:
        lines = STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith(f"{name}:")]
    return found[0] * 1024 / 1e6 if found else None
