"""A measurement in a process of its own: the peak of memory of a process includes all that it did before."""

import math
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ltgen_bench.core.errors import BenchError, MachineError
from ltgen_bench.runtime.memory import peak_memory

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """Seconds of a call, and its peak of memory beyond its input in 10^6 bytes (NaN: not known)."""

    seconds: float
    memory_mb: float


def measured(call: Callable[[], object], device: str = "cpu") -> Measured:
    """Time `call` once and watch its memory on `device`."""
    with peak_memory(torch.device(device)) as peak:
        before, begin = peak.mb, time.perf_counter()
        call()
        seconds, largest = time.perf_counter() - begin, peak.mb
    return Measured(seconds, math.nan if before is None or largest is None else largest - before)


def in_own_process(job: Callable[..., T], threads: int, *inputs: object) -> T:
    """The result of `job(*inputs)` in a fresh process with so many threads; `job` is a function of a module.

    Raises the `BenchError` that the job raises, and `MachineError` where it fails otherwise or its process is killed.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, job, threads, inputs))
    process.start()
    sender.close()
    try:
        found: T | Exception = receiver.recv()
    except EOFError:
        process.join()
        raise MachineError(f"the measurement '{job.__name__}' ended without a result (exit code {process.exitcode}; -9 is what a "
                           "full memory gives); take fewer --images or a smaller --batch.") from None
    finally:
        process.kill()
        process.join()
    if isinstance(found, BenchError):
        raise found
    if isinstance(found, Exception):
        raise MachineError(f"the measurement '{job.__name__}' failed: {type(found).__name__}: {found}")
    return found


def _work(sender: Connection, job: Callable[..., Any], threads: int, inputs: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked hears Ctrl-C, and ends this one
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        try:
            found = job(*inputs)
        except Exception as error:  # noqa: BLE001  (raised again by the process that asked)
            found = error
    sender.send(found)
