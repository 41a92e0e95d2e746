"""`ltgen-bench speed`: how fast training, sampling and evaluation are on this machine."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ltgen_bench.cli.common import device_words, print_table, terminal_context
from ltgen_bench.cli.options import FILE, FOLDER, device_option
from ltgen_bench.core.errors import UserError, unknown_name
from ltgen_bench.core.words import counted

if TYPE_CHECKING:
    from pandas import DataFrame

    from ltgen_bench.config.schema import Compile, RunConfig
    from ltgen_bench.experiments.speed.speed_rows import SpeedRow
    from ltgen_bench.report.table import Table
    from ltgen_bench.runtime.context import RunContext

BUSY = 0.3  # load of a core, before anything is measured
BESIDE_KERNELS = 40  # columns that the table of kernels needs for all but their names, which the CSV has in full
OF_METHODS = ("train", "methods")  # the stages that measure methods


@click.command()
@click.option("--stage", default="all", show_default=True, metavar="NAME",
              help="What is measured: train, sample, evaluate, methods, or all of these.")
@click.option("--method", "names", multiple=True, metavar="NAME",
              help="Of train and methods; can be repeated.  [default: ddpm and cbdm; all of stage methods]")
@click.option("--preset", metavar="NAME", help="Network of train and sample, at 32 x 32.  [default: ddpm, 35.7 M parameters]")
@click.option("--batch", type=click.IntRange(min=1), metavar="N",
              help="Images of a training step or of a sampled chunk.  [default: 16 and 16 on a CPU, 128 and 500 on CUDA]")
@click.option("--compile", "compiling", type=click.Choice(["auto", "yes", "no", "graphs"]), default="auto", show_default=True,
              help="torch.compile of the training loop, as train.compile; auto: on CUDA.")
@click.option("--images", type=click.IntRange(min=64), metavar="N", help="Images on each side of a metric.  [default: 4000]")
@click.option("--features", type=click.IntRange(min=64), metavar="D", help="Features of an image.  [default: 2048]")
@click.option("--full", is_flag=True, help="Metrics of 10,000 images and 100 classes, and k-NN metrics of 50,000 x 50,000 once.")
@click.option("--profile", is_flag=True, help="Also which kernels take the time of a training step.")
@click.option("--recipe", metavar="DATASET/METHOD|FILE", help="Also what this recipe will take here.")
@click.option("--data-root", type=FOLDER, default=Path("data"), show_default=True, help="Where the recipe's data set lies.")
@click.option("--csv", "csv_file", type=FILE, metavar="FILE", help="Write the rows there too, and the kernels beside it.")
@device_option
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads.  [default: as many as torch takes]")
def speed(stage: str, names: tuple[str, ...], preset: str | None, batch: int | None, compiling: "Compile", images: int | None,
          features: int | None, full: bool, profile: bool, recipe: str | None, data_root: Path, csv_file: Path | None,
          device: str | None, threads: int | None) -> None:
    """Measure speed and memory on this machine.

    Training images/s, memory and operations under a method; images/s of sampling; seconds and memory of metrics and images/s of
    Inception; the cost of training under each method. Of two CPU cores train, sample and methods take about five minutes each,
    and evaluate two. Figures of a machine that is busy with other things say little.

    \b
    ltgen-bench speed --stage train --profile
    ltgen-bench speed --stage train --method coral --method oc --recipe cifar10-lt/coral
    ltgen-bench speed --stage methods                 the cost of training under each method
    ltgen-bench speed --full --csv speed.csv
    """
    from ltgen_bench.config.schema import NetworkConfig
    from ltgen_bench.experiments.speed import STAGES
    from ltgen_bench.experiments.speed.speed_rows import FULL, NETWORK, Conditions, Sizes, comma_separated
    from ltgen_bench.methods import METHODS

    if stage not in (*STAGES, "all"):
        raise unknown_name("stage", stage, [*STAGES, "all"])
    stages = list(STAGES) if stage == "all" else [stage]
    if names and stage not in (*OF_METHODS, "all"):
        raise UserError(f"--method: the stage {stage} measures no methods; it is for {' and '.join(OF_METHODS)}.")
    names = tuple(dict.fromkeys(map(METHODS.check, names)))
    presets = get_args(NetworkConfig.model_fields["preset"].annotation)
    if preset is not None and preset not in presets:
        raise unknown_name("network", preset, presets)
    if recipe is not None:
        config = _recipe(recipe)
    if profile:
        os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # before torch is loaded: it would tell starts and stops
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from ltgen_bench.core.files import write_text
    from ltgen_bench.runtime.device import hardware, versions
    from ltgen_bench.runtime.precision import exact_float32

    context = terminal_context(device, threads)
    # what a recipe takes is found first, as in a process that did nothing before, and told last
    foretold = [] if recipe is None else _foretold(config, data_root, context)
    given = {name: value for name, value in {"images": images, "features": features}.items() if value is not None}
    conditions = Conditions(replace(FULL if full else Sizes(), **given), str(context.device), names, preset or NETWORK, batch,
                            compiling)
    machine = {**hardware(context.device), "load": round(os.getloadavg()[0], 1)}  # of others, before
    with exact_float32(), threadpool_limits(threads):
        rows = [row for each in stages for row in STAGES[each](conditions, context.progress)]
    print_table(_table(rows, machine, versions()))
    if csv_file is not None:
        write_text(csv_file, comma_separated(rows, {**machine, **versions()}))
        click.echo(f" csv      {csv_file}")
    if profile:
        from ltgen_bench.experiments.speed.kernel_profile import profiled

        with exact_float32():
            kernels = profiled(conditions, context.progress)
        print_table(_kernels(kernels))
        if csv_file is not None:
            beside = csv_file.with_name(f"{csv_file.stem}-profile.csv")
            write_text(beside, kernels.to_csv(index=False, float_format="%.4g"))
            click.echo(f" profile  {beside}")
    if foretold:
        click.echo("\n   ".join([f" {recipe} will take on this {device_words(context.device)}:", *foretold]))


def _recipe(text: str) -> "RunConfig":
    """Return the recipe in a file, or the shipped one of DATASET/METHOD. Raises `UserError` for unknown names."""
    from ltgen_bench.experiments.recipes import resolve_recipe, resolved_runs
    from ltgen_bench.methods import METHODS

    dataset, slash, method = text.rpartition("/")
    if Path(text).is_file() or text.endswith(".toml"):
        config = resolve_recipe(recipe=Path(text), method=None, dataset=None, overrides={})
    elif slash and dataset:
        config = resolve_recipe(recipe=None, method=METHODS.check(method), dataset=dataset, overrides={})
    else:
        raise UserError(f"--recipe {text}: write it as DATASET/METHOD, for example cifar10-lt/cbdm, or name a file.")
    return resolved_runs(config)[0]


def _foretold(config: "RunConfig", data_root: Path, context: "RunContext") -> list[str]:
    """Return what `run --dry-run` says of the costs; data that are not there are told before anything is measured."""
    from ltgen_bench.cli.dry_run import cost_lines
    from ltgen_bench.data.load import load_dataset
    from ltgen_bench.experiments.plan import make_plan

    dataset = load_dataset(config.data, data_root=data_root, progress=context.progress)
    return cost_lines(make_plan(config, dataset, Path("runs"), context), context)


def _table(rows: "Sequence[SpeedRow]", machine: dict[str, Any], packages: dict[str, str]) -> "Table":
    from ltgen_bench.report.table import Cell, Head, Row, Table

    heads = (Head("", "what", number=False), Head("figure", "value"), Head("compared", "ratio", number=False),
             Head("memory", "memory_mb"), Head("size", "size", number=False))
    body = tuple(Row(tuple(Cell(text) for text in _cells(row))) for row in rows)
    notes = []
    if machine["load"] > BUSY * machine["cpu_count"]:
        notes.append(f"The machine was busy with other things (load {machine['load']} on {machine['cpu_count']} cores): the "
                     "figures say little.")
    where = machine["device_name"] if machine["device"] == "cuda" else machine["cpu"]
    threads = counted(machine["threads"], "thread")
    notes += ["Memory is the peak beyond the input: of training, a network with gradients, optimiser and average.",
              f"{where}, {threads}, {machine['system']}; "
              f"{', '.join(f'{name} {version}' for name, version in packages.items())}."]
    return Table("speed", "", heads, body, tuple(notes))


def _kernels(kernels: "DataFrame") -> "Table":
    from rich.console import Console

    from ltgen_bench.report.table import Cell, Head, Row, Table

    width = max(20, Console().width - BESIDE_KERNELS)
    heads = (Head("step of", "loop", number=False), Head("ms", "ms"), Head("%", "percent"), Head("calls", "calls"),
             Head("kernel", "kernel", number=False))
    body = tuple(Row(tuple(map(Cell, (of["method"], f"{of['ms']:,.1f}", f"{of['percent']:.1f}", f"{of['calls']:,.0f}",
                                      of["kernel"][:width])))) for of in kernels.to_dict("records"))
    return Table("profile", "", heads, body, ("ms, calls and % of one step, without what a kernel calls.",))


def _cells(row: "SpeedRow") -> tuple[str, ...]:
    compared = "" if math.isnan(row.ratio) else f"{row.value / row.reference:.2f} x {row.against}"
    return row.what, _figure(row.value, row.unit), compared, _figure(row.memory_mb, "MB"), row.size


def _figure(value: float, unit: str) -> str:
    unit = unit.replace("images", "img")
    return "" if math.isnan(value) else f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
