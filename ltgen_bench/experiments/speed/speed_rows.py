"""Conditions of the measurements, their figures as rows, and the costs of methods that follow from rows. Imports no torch."""

import csv
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from ltgen_bench.config.schema import Compile
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import shipped_folder
from ltgen_bench.core.progress import Progress
from ltgen_bench.core.words import counted
from ltgen_bench.runtime.memory import peak_memory

if TYPE_CHECKING:
    import torch

COLUMNS = ["stage", "what", "size", "unit", "value", "against", "reference", "ratio", "memory_mb"]
MORE_IS_BETTER = ("images/s", "TFLOP/s", "%")
NETWORK = "ddpm"  # 35.7 M parameters
BASE = "ddpm"  # the method that costs are relative to


@dataclass(frozen=True)
class Sizes:
    """Sizes of the input of metrics and extractors.

    `images` is the number on each side of a metric; `wide` that of a further measurement of the k-NN metrics, whose memory grows
    with it (0: none).
    """

    images: int = 4_000
    features: int = 2048
    classes: int = 20
    per_class: int = 500
    inception: int = 128
    wide: int = 0


FULL = Sizes(images=10_000, classes=100, inception=256, wide=50_000)


@dataclass(frozen=True)
class Conditions:
    """Conditions of all stages. An empty `methods` leaves the choice to the stage, an absent `batch` too."""

    sizes: Sizes
    device: str  # of the network and the extractor; metrics of features are computed by the CPU
    methods: tuple[str, ...] = ()
    preset: str = NETWORK
    batch: int | None = None  # images of a training step or of a sampled chunk
    compile: Compile = "auto"  # of the stage train, as `train.compile`

    def batch_size(self, on_cpu: int, on_cuda: int) -> int:
        """`batch`, else what is usual on this device."""
        return self.batch or (on_cpu if self.device == "cpu" else on_cuda)


@dataclass(frozen=True)
class SpeedRow:
    """`value` in `unit`, with the `reference` that was measured for `against` in the same run, if there is one.

    The unit "x" is a cost as a multiple of the reference. `memory_mb` is the peak of memory beyond the input, in 10^6 bytes.
    """

    stage: str
    what: str
    size: str
    unit: Literal["s", "ms", "MB", "GFLOP", "images/s", "TFLOP/s", "%", "x"]
    value: float
    against: str = ""
    reference: float = math.nan
    memory_mb: float = math.nan

    @property
    def ratio(self) -> float:
        """Ratio to the reference, above 1 for faster or smaller; NaN without one."""
        return self.value / self.reference if self.unit in MORE_IS_BETTER else self.reference / max(self.value, 1e-9)


def comma_separated(rows: Sequence[SpeedRow], machine: Mapping[str, object]) -> str:
    """CSV with a line a row and the facts of the machine behind it; an empty cell is what was not measured."""
    import pandas as pd

    table = pd.DataFrame([{**asdict(row), "ratio": row.ratio, **machine} for row in rows])
    return table[[*COLUMNS, *machine]].to_csv(index=False, float_format="%.6g")


def rows_of(jobs: Mapping[str, Callable[[], Iterable[SpeedRow]]], progress: Progress) -> list[SpeedRow]:
    """Return the rows of all jobs, by what they measure. One that the user's input does not allow is told and left out."""
    rows: list[SpeedRow] = []
    with progress.stage("speed", len(jobs), "measurements") as stage:
        for what, job in jobs.items():
            stage.advance(0, what)
            try:
                rows += job()
            except UserError as error:
                progress.say(f"{what} is left out: {error}")
            stage.advance(1)
    return rows


class Measured(NamedTuple):
    """Seconds of a call, and its peak of memory beyond its input in 10^6 bytes (NaN: not known)."""

    seconds: float
    memory_mb: float


def measured(call: Callable[[], object], device: "torch.device") -> Measured:
    """Time `call` once and watch its memory on `device`."""
    with peak_memory(device) as peak:
        before, begin = peak.mb, time.perf_counter()
        call()
        seconds, largest = time.perf_counter() - begin, peak.mb
    return Measured(seconds, math.nan if before is None or largest is None else largest - before)


@dataclass(frozen=True)
class Costs:
    """Method -> training time of an image as a multiple of `ddpm`'s, and in words on what and where that was measured."""

    relative: Mapping[str, float]
    where: str


def shipped_costs(path: Path | None = None) -> Costs:
    """Read the shipped `results/method-cost.csv`, written by `ltgen-bench speed --stage methods --csv`."""
    path = path or shipped_folder("results") / "method-cost.csv"
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return costs_of({line["what"]: float(line["ratio"]) for line in lines}, lines[0]["size"], lines[0])


def costs_of(ratios: Mapping[str, float], size: str, machine: Mapping[str, object]) -> Costs:
    """Return the costs of these ratios of the stage `methods`, measured on `machine` at `size`.

    That of `ddpm` is 1 by definition; its measured ratio to itself stands in `where`.
    """
    device = machine["device_name"] if machine["device"] == "cuda" else machine["cpu"]
    threads = counted(int(str(machine["threads"])), "thread")
    where = f"{size}; {device}, {threads}, torch {machine['torch']}"
    if BASE in ratios:
        where += f"; {BASE} timed against itself gave {1 / ratios[BASE]:.2f}, which shows the error of the measurement"
    return Costs({name: 1.0 if name == BASE else 1 / ratio for name, ratio in ratios.items()}, where)
