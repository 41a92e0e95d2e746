"""One job in a process of its own: its time, and the memory that it took beyond its input.

A process has one peak of memory for its whole life, so that a second job in the same process would hide in the first one's.
Run as `python -m ltgen_bench.experiments.speed.process`.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import ltgen_bench
from ltgen_bench.core.errors import MachineError
from ltgen_bench.core.files import write_text
from ltgen_bench.runtime.memory import peak_memory


@dataclass(frozen=True)
class Measured:
    """Seconds of a job, its memory beyond the input (10^6 bytes; NaN: not known), and the numbers that it computed."""

    seconds: float
    memory_mb: float
    values: list[float]


def measured(job: str, inputs: Mapping[str, Any], threads: int) -> Measured:
    """Run the job of that name in a fresh process with so many threads.

    Raises `MachineError` when it dies, as of a machine whose memory is too small.
    """
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    found = str(Path(ltgen_bench.__file__).parents[1])
    path = os.pathsep.join([found, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "ltgen_bench.experiments.speed.process", json.dumps([job, dict(inputs), str(answer)])]
        # A session of its own, so that Ctrl-C ends the job here and not in the middle of its own traceback.
        with subprocess.Popen(command, env={**os.environ, **limits, "PYTHONPATH": path}, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
            try:
                _, errors = process.communicate()
            finally:
                process.kill()
        if process.returncode < 0:
            raise MachineError(f"the measurement '{job}' was killed by signal {-process.returncode}, as where memory is short; "
                               "take fewer --images or a smaller --batch.")
        if process.returncode > 0:
            raise MachineError(f"the measurement '{job}' failed: {(errors.strip().splitlines() or ['no reason given'])[-1]}")
        return Measured(**json.loads(answer.read_text(encoding="utf-8")))


def main() -> None:
    """Do the job that the command line names, and write what it took."""
    from ltgen_bench.experiments.speed.jobs import JOBS  # takes seconds, and the program that asks needs none of it

    job, inputs, answer = json.loads(sys.argv[1])
    call = JOBS[job](**inputs)
    device = torch.device(inputs.get("device", "cpu"))
    with peak_memory(device) as peak:
        before = peak.mb  # of libraries and of the input
        begin = time.perf_counter()
        values = call()
        seconds = time.perf_counter() - begin
        largest = peak.mb
    memory = math.nan if before is None or largest is None else largest - before
    result = Measured(seconds, memory, [float(value) for value in values])
    write_text(Path(answer), json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
