"""`ltgen-bench speed`: how fast this machine does it, beside plain references of the same run."""

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench.cli.shared import FILE, debug_option

if TYPE_CHECKING:
    from ltgen_bench.speed.rows import SpeedRow

BUSY = 0.3  # load of a core, before anything is measured


@click.command()
@click.option("--stage", default="evaluate", show_default=True, metavar="NAME", help="What is measured: evaluate, or methods.")
@click.option("--images", type=click.IntRange(min=64), metavar="N", help="Images on each side of a metric.  [default: 4000]")
@click.option("--features", type=click.IntRange(min=64), metavar="D", help="Features of an image.  [default: 2048]")
@click.option("--full", is_flag=True, help="The sizes of the targets: 10,000 images, 100 classes, and 50,000 x 50,000 once.")
@click.option("--csv", "csv_file", type=FILE, metavar="FILE", help="Write the rows there too.")
@click.option("--device", metavar="NAME", help="Of the extractor: cpu, cuda or cuda:N.  [default: cuda where there is one]")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.  [default: as many as torch takes]")
@debug_option
def speed(stage: str, images: int | None, features: int | None, full: bool, csv_file: Path | None, device: str | None,
          threads: int | None) -> None:
    """Measure speed and memory on this machine.

    Each figure stands beside a plain reference that ran in the same minutes, so that the ratio holds on any machine. Takes
    about two minutes on two CPU cores, and ten with --full; on a machine that is busy with other things the figures say little.

    \b
    ltgen-bench speed
    ltgen-bench speed --images 10000 --csv speed.csv
    ltgen-bench speed --stage methods                 the cost of training under each method
    """
    from rich.console import Console

    from ltgen_bench.console import TerminalProgress
    from ltgen_bench.speed import STAGES
    from ltgen_bench.speed.conditions import FULL, Conditions, Sizes

    STAGES.check(stage)
    import torch

    from ltgen_bench.files import write_text
    from ltgen_bench.machine import choose_device, hardware, versions
    from ltgen_bench.speed.rows import comma_separated

    chosen = choose_device(device)
    given = {name: value for name, value in {"images": images, "features": features}.items() if value is not None}
    conditions = Conditions(replace(FULL if full else Sizes(), **given), threads or torch.get_num_threads(), str(chosen))
    machine = {**hardware(chosen), "threads": conditions.threads, "load": round(os.getloadavg()[0], 1)}  # of others, before
    rows = STAGES[stage](conditions, TerminalProgress(Console(stderr=True)))
    _show(rows, machine, versions())
    if csv_file is not None:
        write_text(csv_file, comma_separated(rows, {**machine, **versions()}))
        click.echo(f" csv  {csv_file}")


def _show(rows: "list[SpeedRow]", machine: dict[str, Any], packages: dict[str, str]) -> None:
    from rich.console import Console

    from ltgen_bench.report.forms import terminal
    from ltgen_bench.report.layout import Cell, Head, Row, Table

    heads = (Head("", "what", number=False), Head("ours", "value"), Head("reference", "reference"), Head("ratio", "ratio"),
             Head("target", "target"), Head("met", "met", number=False), Head("memory", "memory_mb"),
             Head("its memory", "reference_memory_mb"), Head("size", "size", number=False),
             Head("reference is", "against", number=False))
    body = tuple(Row(tuple(Cell(text) for text in _cells(row))) for row in rows)
    notes = [f"{row.what}: the result differs by {row.difference:.1g} from that of {row.against}; {row.tolerance:g} is allowed."
             for row in rows if not row.agrees]
    notes += dict.fromkeys(f"{row.what}: the target is for {row.target.elsewhere}." for row in rows
                           if row.target is not None and row.target.elsewhere)
    if machine["load"] > BUSY * machine["cpu_count"]:
        notes.append(f"The machine was busy with other things (load {machine['load']} on {machine['cpu_count']} cores): the "
                     "figures say little.")
    where = machine["device_name"] if machine["device"] == "cuda" else machine["cpu"]
    notes += ["Memory is the peak beyond the input; ratios say how many times as fast ours is, or as small.",
              f"{where}, {machine['threads']} threads, {machine['system']}; "
              f"{', '.join(f'{name} {version}' for name, version in packages.items())}."]
    console = Console()
    click.echo(terminal(Table("speed", "", heads, body, tuple(notes)), console.width,
                        console.is_terminal and not console.no_color))


def _cells(row: "SpeedRow") -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: ""}[row.met]
    short = "prdc" if "prdc" in row.against else row.against.partition(" (")[0]
    return (f"{row.what} / {short}" if short else row.what, _figure(row.value, row.unit), _figure(row.reference, row.unit),
            _times(row.ratio), row.target_words, met, _figure(row.memory_mb, "MB"), _figure(row.reference_memory_mb, "MB"),
            row.size, row.against)


def _figure(value: float, unit: str) -> str:
    unit = unit.replace("images", "img")
    return "" if math.isnan(value) else f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _times(ratio: float) -> str:
    return "" if math.isnan(ratio) else f"{ratio:.2f} x"
