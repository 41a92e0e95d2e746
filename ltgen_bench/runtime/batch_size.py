"""How many images go through a network at once: the fastest number that this machine holds, found by trying.

Sampling and the extractors ask here alike, with a call that takes so many images. From one image on the number is doubled,
until it brings nothing more, the memory or the time is spent. What is found depends on the machine and on what else it does
meanwhile, so whoever asks keeps the answer.
"""

import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from ltgen_bench.core.errors import MachineError

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

AUTO: Literal["auto"] = "auto"  # what a setting says that leaves the number to this file
GAIN = 0.03  # from here on a larger number counts as faster
PATIENCE = 2  # doublings in a row that bring nothing, before the search ends: one alone may be a kernel's whim
SECONDS = 5.0  # for all of it but the very first call, which may load and compile
STEADY = 0.2  # seconds for which one number is timed, and twice at least
LONG = 0.5  # seconds of a call that is timed once
CALLS = 50  # of one number at most, where the clock hardly moves
CLOSE = 1.5  # times slower than the fastest: worth another look
SHARE = 0.8  # of the free memory that a call on the CPU may take
POLL = 0.002  # seconds between two looks at the memory
CGROUPS = (("/sys/fs/cgroup", "memory.max", "memory.current"),  # of a container: version 2, version 1
           ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"))

Call = Callable[[int], object]


@runtime_checkable
class Memory(Protocol):
    """What is known of a memory before it is full. Bytes."""

    def free(self) -> float:
        """What may still be taken."""

    def peak(self, call: Callable[[], object]) -> float:
        """The most that is in use while `call` runs."""


def fastest_size(call: Call, device: "torch.device", *, largest: int, clock: Callable[[], float] | None = None,
                 memory: Memory | None = None) -> int:
    """The smallest number of images, up to `largest`, that is as fast an image as any tried, but for 3 %; in about 5 s.

    `call(n)` sends n images through the network on `device`. Tried are 1, 2, 4, ..., and `largest` as the last. On CUDA
    running out of memory ends the search, and what is taken has a quarter to spare; on the CPU a number is not tried that
    would take more than 80 % of the free memory by the growth between the two before it. `clock` (seconds) and `memory` are
    those of the machine. Raises `MachineError` where not even one image fits.
    """
    if clock is None:  # a single thread is timed by what it had of the processor, so that other processes do not disturb
        import torch

        clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    memory = memory if memory is not None or device.type != "cpu" else HostMemory()
    trial = _Trial(call, device, clock, memory)
    free = float("inf") if memory is None else memory.free()
    rates: dict[int, float] = {}  # images a second
    peaks: list[float] = []
    size, begin, expected = 1, 0.0, 0.0
    while (first := trial.first(size)) is not None:
        begin = begin if rates else clock()
        rates[size] = size / trial.seconds(size, first.seconds, expected)
        peaks.append(first.peak)
        larger = min(2 * size, largest)
        expected = larger / rates[size]
        late = clock() - begin + expected > SECONDS
        if larger == size or _settled(rates) or late or _growth(peaks) > SHARE * free:
            break
        size = larger
    if not rates:
        raise MachineError(f"not even one image fits into the memory of this {device.type} device; take a smaller --network, or "
                           "free some memory.")
    for size in [size for size, rate in rates.items() if rate * CLOSE >= max(rates.values())]:
        if clock() - begin + size / rates[size] < SECONDS:  # a busy machine may have been in the way
            rates[size] = max(rates[size], size / trial.seconds(size, 0.0, 0.0))
    chosen = min(size for size, rate in rates.items() if rate * (1 + GAIN) >= max(rates.values()))
    full = first is None and chosen == max(rates) and chosen > 1
    if full and trial.first(chosen + chosen // 4 + (chosen < 4)) is None:
        chosen = max(size for size in rates if size < chosen)
    return chosen


def even_chunks(count: int, size: int) -> int:
    """Images of a chunk where `count` are cut into as few as `size` allows, all padded to one length: little is padding.

    A multiple of 8, which kernels like, where that adds less than 3 %.
    """
    even = -(-count // -(-count // size))
    rounded = -(-even // 8) * 8
    return min(size, rounded if rounded <= even * (1 + GAIN) else even)


def _settled(rates: dict[int, float]) -> bool:
    """Whether the last doublings brought nothing."""
    speeds = list(rates.values())
    return len(speeds) > PATIENCE and max(speeds[-PATIENCE:]) < max(speeds[:-PATIENCE]) * (1 + GAIN)


def _growth(peaks: list[float]) -> float:
    """By how much the next doubling will pass what was in use at first: from one to the next, the growth doubles."""
    if len(peaks) < 2:
        return 0.0
    return peaks[-1] + 2 * max(0.0, peaks[-1] - peaks[-2]) - peaks[0]


class _First(NamedTuple):
    """The first call with some number of images: bytes in use meanwhile (0 where unknown), and how long it took."""

    peak: float
    seconds: float


class _Trial:
    """A call that is timed, and may run out of memory."""

    def __init__(self, call: Call, device: "torch.device", clock: Callable[[], float], memory: Memory | None) -> None:
        self._call, self._device, self._clock, self._memory = call, device, clock, memory

    def first(self, size: int) -> _First | None:
        """The first call with `size` images; None where they do not fit."""
        took: list[float] = []
        try:
            if self._memory is None:
                return _First(0.0, self._run(size))
            return _First(self._memory.peak(lambda: took.append(self._run(size))), took[0])
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        if self._device.type == "cuda":  # here the error, and what it held, is gone
            import torch

            torch.cuda.empty_cache()
        return None

    def seconds(self, size: int, first: float, expected: float) -> float:
        """Of the fastest of some calls after the `first`, which may load and compile; a long one as `expected` counts itself."""
        if LONG <= first <= 1.2 * expected:
            return first
        found: list[float] = []
        while len(found) < CALLS and (sum(found) < STEADY or (len(found) < 2 and sum(found) < LONG)):
            found.append(self._run(size))
        return max(min(found), 1e-9)

    def _run(self, size: int) -> float:
        begin = self._clock()
        self._call(size)
        if self._device.type == "cuda":
            import torch

            torch.cuda.synchronize(self._device)
        return self._clock() - begin


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a memory is full: Python's, or one of torch's, which on a CPU has no class of its own."""
    import torch

    words = "DefaultCPUAllocator", "out of memory", "ALLOC_FAILED"
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(word in str(error) for word in words)


class HostMemory:
    """The main memory, of which a full one cannot be caught: the system ends the process. As far as the system tells."""

    def free(self) -> float:
        """What the system can still give away, and what a container may still take."""
        table = Path("/proc/meminfo")
        if table.is_file():
            lines = dict(line.split(":", 1) for line in table.read_text().splitlines() if ":" in line)
            free = 1024.0 * int(lines["MemAvailable"].split()[0])
        else:
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2  # no word of what others have of it
        return max(0.0, min([free, *(_left(Path(folder), limit, used) for folder, limit, used in CGROUPS)]))

    def peak(self, call: Callable[[], object]) -> float:
        """The most that this process holds while `call` runs, looked at every 2 ms (elsewhere than on Linux: since it began)."""
        most, done = [_resident()], threading.Event()

        def watch() -> None:
            while not done.wait(POLL):
                most[0] = max(most[0], _resident())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            call()
        finally:
            done.set()
            watcher.join()
        return max(most[0], _resident())


def _resident() -> float:
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return float(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def _left(folder: Path, limit: str, used: str) -> float:
    """What the limit of a container leaves; files that were only read are given back when it is needed."""
    try:
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        given_back = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
        return float(int((folder / limit).read_text()) - int((folder / used).read_text()) + given_back)
    except (OSError, ValueError):  # no container, or "max": no limit
        return float("inf")
