"""Batch size of inference: the fastest that fits into memory, found by trying.

The result depends on the machine and its load, so the caller stores it.
"""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ltgen_bench.core.errors import MachineError
from ltgen_bench.runtime.memory import free_memory, peak_memory

if TYPE_CHECKING:  # torch takes seconds to import
    import torch

AUTO: Literal["auto"] = "auto"  # value of a setting that leaves the number to this module
GAIN = 0.03  # smallest gain that counts as faster
PATIENCE = 2  # doublings in a row that bring nothing, before the search ends: one alone may be chance
SECONDS = 5.0  # for everything but the first call, which may load and compile
TIMED_SECONDS = 0.2  # for which one number is timed, and once at least
LONG = 0.5  # duration in seconds from which a call is not repeated
CALLS = 50  # of one number at most, where the clock hardly moves
CLOSE = 1.5  # times slower than the fastest: such a call is timed again
SHARE = 0.8  # of the free memory that a call on the CPU may take

Call = Callable[[int], object]


def fastest_size(call: Call, device: "torch.device", *, largest: int) -> int:
    """Return the smallest number of images, up to `largest`, whose time per image is within 3 % of the best; takes about 5 s.

    `call(n)` sends n images through the network on `device`. Tried are 1, 2, 4, ..., and `largest` last, until two doublings
    bring nothing or the time is over. Where the memory is full accelerate goes back to the largest number that fits, of which
    a quarter is left free; on the CPU a number that would take more than 80 % of the free memory, extrapolated from the two
    before, is not tried. Raises `MachineError` where not even one image fits.
    """
    import torch
    from accelerate.utils import find_executable_batch_size

    # a single thread is timed by its processor time, which other processes do not affect
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    limit = SHARE * free_memory() / 1e6 if device.type == "cpu" else math.inf
    rates: dict[int, float] = {}  # images a second of the numbers that fit
    firsts: dict[int, float] = {}  # seconds of the first call with each number, which may load
    peaks: list[float] = []  # of memory, in 10^6 bytes

    def seconds(size: int) -> float:
        start = clock()
        try:
            call(size)
        except (RuntimeError, MemoryError) as error:
            if out_of_memory(error):
                raise RuntimeError("CUDA out of memory.") from error  # accelerate's messages
            raise
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - start

    def timed(size: int) -> float:
        """Return the images per second of the fastest of some calls."""
        found = [firsts[size]] if size > 1 and firsts[size] > LONG else []
        while not found or (sum(found) < TIMED_SECONDS and len(found) < CALLS):
            found.append(seconds(size))
        return size / max(min(found), 1e-9)

    def fitting(size: int) -> int:
        """Return `size`, or the largest number before it that fitted."""
        def first_call(batch_size: int) -> int:
            if batch_size not in rates:
                with peak_memory(device) as peak:
                    firsts[batch_size] = seconds(batch_size)
                peaks.append(peak.mb or 0.0)
            return batch_size

        def smaller() -> int:
            if not rates:
                raise MachineError(f"not even one image fits into the memory of this {device.type} device; take a smaller "
                                   "--network, or free some memory.")
            return max(number for number in rates if number < size)

        return int(find_executable_batch_size(first_call, size, smaller)())

    size, begin = 1, 0.0
    while (fits := fitting(size) == size):
        begin = begin if rates else clock()
        rates[size] = timed(size)
        larger = min(2 * size, largest)
        late = clock() - begin + larger / rates[size] > SECONDS
        if larger == size or late or _settled(list(rates.values())) or _next_growth(peaks) > limit:
            break
        size = larger
    for number in [number for number, rate in rates.items() if rate * CLOSE >= max(rates.values())]:
        if clock() - begin + number / rates[number] < SECONDS:  # the machine may have been busy
            rates[number] = max(rates[number], timed(number))
    chosen = min(number for number, rate in rates.items() if rate * (1 + GAIN) >= max(rates.values()))
    if not fits and chosen == max(rates) > 1 and fitting(chosen + max(1, chosen // 4)) == chosen:
        chosen = max(number for number in rates if number < chosen)
    return chosen


def even_chunks(count: int, size: int) -> int:
    """Return the chunk size where `count` images are cut into as few equal chunks as `size` allows, so that little is padding.

    A multiple of 8 where that adds less than 3 %.
    """
    even = -(-count // -(-count // size))
    rounded = -(-even // 8) * 8
    return min(size, rounded if rounded <= even * (1 + GAIN) else even)


def _settled(rates: list[float]) -> bool:
    """Return whether the last doublings brought nothing."""
    return len(rates) > PATIENCE and max(rates[-PATIENCE:]) < max(rates[:-PATIENCE]) * (1 + GAIN)


def _next_growth(peaks: list[float]) -> float:
    """Return the expected memory of the next doubling above the first peak: the growth doubles each time."""
    return 0.0 if len(peaks) < 2 else peaks[-1] + 2 * max(0.0, peaks[-1] - peaks[-2]) - peaks[0]


def out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that memory is full: Python's `MemoryError`, or one of torch's errors."""
    import torch

    words = "DefaultCPUAllocator", "out of memory", "ALLOC_FAILED"
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(word in str(error) for word in words)
