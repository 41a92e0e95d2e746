"""Costs of methods relative to DDPM as they were measured, with where that was. Imports no torch."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ltgen_bench.core.files import shipped_folder
from ltgen_bench.core.words import counted
from ltgen_bench.experiments.speed.speed_rows import SpeedRow

BASE = "ddpm"


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
    return _costs({line["what"]: float(line["ratio"]) for line in lines}, lines[0]["size"], lines[0])


def costs_of(rows: Iterable[SpeedRow], machine: Mapping[str, object]) -> Costs:
    """Return the costs that the stage `methods` measured on `machine`."""
    rows = list(rows)
    return _costs({row.what: row.ratio for row in rows}, rows[0].size, machine)


def _costs(ratios: Mapping[str, float], size: str, machine: Mapping[str, object]) -> Costs:
    """The costs of these ratios. That of `ddpm` is 1 by definition; its measured ratio to itself stands in `where`."""
    device = machine["device_name"] if machine["device"] == "cuda" else machine["cpu"]
    threads = counted(int(str(machine["threads"])), "thread")
    where = f"{size}; {device}, {threads}, torch {machine['torch']}"
    if BASE in ratios:
        where += f"; {BASE} timed against itself gave {1 / ratios[BASE]:.2f}, which shows the error of the measurement"
    return Costs({name: 1.0 if name == BASE else 1 / ratio for name, ratio in ratios.items()}, where)
