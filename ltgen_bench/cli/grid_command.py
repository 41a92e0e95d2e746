"""`ltgen-bench grid`: runs of several methods and seeds."""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench.cli.common import print_json, print_table
from ltgen_bench.cli.many_runs import announce, carry_out_many, end, is_helper, jobs_options, shared_context
from ltgen_bench.cli.options import FILE, names_of, runs_option, seeds_of, weights_files
from ltgen_bench.cli.run_options import add_run_options, config_of, run_function, sample_seeds_of
from ltgen_bench.core.errors import UserError

if TYPE_CHECKING:
    from ltgen_bench.config.schema import RunConfig
    from ltgen_bench.experiments.grid import Cell
    from ltgen_bench.report.table import Table

LEFT_OUT = ("method", "seed")  # options of `run` that this command words otherwise


@click.command(no_args_is_help=True)
@click.option("--methods", metavar="NAME,...|all", help="Methods to train, each by its own recipe (ltgen-bench list methods).")
@click.option("--seeds", default="0", show_default=True, metavar="N,...", help="Training seeds of each method.")
@click.option("--over", "axes", multiple=True, metavar="KEY=VALUE,...", help="Values of a setting, each with every method.")
@click.option("--method-file", type=FILE, metavar="FILE", help="Python file with a method of your own, in addition to --methods.")
@jobs_options
@runs_option
@click.option("--dry-run", is_flag=True, help="List the runs and which of them are finished, without running them.")
@click.option("--json", "as_json", is_flag=True, help="Print only records and failures, as JSON.")
def grid(methods: str | None, seeds: str, axes: tuple[str, ...], method_file: Path | None, jobs: int, threads: int | None,
         dataset: str | None, recipe: Path | None, settings: tuple[str, ...], extractor_weights: tuple[str, ...],
         data_root: Path, device: str | None, evaluate_every: int | None, sample_seeds: str | None, runs: Path,
         dry_run: bool, as_json: bool, **options: Any) -> None:
    """Run several methods and seeds, one after the other. Takes the options of `run`.

    Repeating the command continues where it stopped; finished runs are not repeated. Where a run fails, the others continue,
    and the exit code is 1. The same command in another terminal, or --jobs, shares the work.

    \b
    ltgen-bench grid --methods ddpm,cfg,cbdm --seeds 0,1,2
    ltgen-bench grid --methods all --seeds 0,1,2 --jobs 2 --threads 1
    ltgen-bench grid --methods cbdm --seeds 0,1,2 --over method.tau=0.1,1,10
    """
    from ltgen_bench.experiments.recipes import check_names

    def configured(name: str, more: tuple[str, ...]) -> "RunConfig":
        return config_of(name, dataset, recipe, None, (*settings, *more), {**options, "seed": None})

    configs = configs_of(methods, seeds, axes, method_file, configured)
    drawn = sample_seeds_of(sample_seeds, (*settings, *axes))
    weights = weights_files(extractor_weights)
    for config in itertools.chain(*configs.values()):
        check_names(config)  # before torch is imported
    context = shared_context(device, jobs, threads, weights)

    from ltgen_bench.data.load import load_dataset
    from ltgen_bench.evaluation.evaluator import check_weights
    from ltgen_bench.experiments.grid import make_grid

    cells = make_grid(configs, lambda data: load_dataset(data, data_root=data_root, progress=context.progress), runs, context,
                      drawn)
    check_weights([plan.config.evaluate for cell in cells for plan in cell.plans], weights)
    if dry_run:
        _dry_run(cells)
        return
    if not is_helper():
        announce(cells, jobs, context)
    open_cells = [cell for cell in cells if evaluate_every or not cell.finished]
    made = carry_out_many(cells, jobs, context, run_function(evaluate_every), len(open_cells))
    if is_helper():
        return
    _show(made, as_json)
    end(made)


def configs_of(methods: str | None, seeds: str, axes: tuple[str, ...], method_file: Path | None,
               configured: "Callable[[str, tuple[str, ...]], RunConfig]") -> "dict[str, list[RunConfig]]":
    """Return name of a cell -> its configurations, one per seed; `configured` makes one of a method and `KEY=VALUE` texts.

    Raises `UserError` for unknown names and values.
    """
    from ltgen_bench.methods import METHODS, add_method_file, runs_under

    known = list(METHODS)
    own = [] if method_file is None else [add_method_file(method_file)]
    if methods is None and not own:
        raise UserError(f"--methods: name what is to be trained, as in --methods ddpm,cbdm, or all; known: {', '.join(known)}.")
    wanted = [*(known if methods == "all" else names_of(methods) or []), *own]
    values = seeds_of(seeds)
    points: list[dict[str, Any]] = [{}]
    if axes:
        from ltgen_bench.experiments.search import parse_axis

        over = dict(map(parse_axis, axes))
        points = [dict(zip(over, point, strict=True)) for point in itertools.product(*over.values())]
    configs: dict[str, list[RunConfig]] = {}
    for name, point in itertools.product(dict.fromkeys(wanted), points):
        words = ", ".join([name, *(f"{key} {value}" for key, value in point.items())])
        more = tuple(f"{key}={json.dumps(value)}" for key, value in point.items())
        config = configured(name, more)
        if methods == "all" and not runs_under(name, config.process.name):
            continue
        configs[words] = [config.model_copy(update={"seed": seed}) for seed in values]
    return configs


def _dry_run(cells: "Sequence[Cell]") -> None:
    for cell in cells:
        state = cell.error.replace("\n", " ") or ("finished" if cell.finished else "")
        places = [str(cell.plans[0].folder)] if cell.plans else []
        click.echo("\t".join(part for part in (cell.words, *places, state) if part))


def _show(cells: "Sequence[Cell]", as_json: bool) -> None:
    if as_json:
        records = [run.record.model_dump(mode="json") for cell in cells for run in cell.runs]
        failed = [{"run": cell.name, "seed": cell.seed, "error": cell.error} for cell in cells if cell.error]
        print_json({"records": records, "failed": failed})
        return
    print_table(_table(cells))
    click.echo(" next      ltgen-bench report")


def _table(cells: "Sequence[Cell]") -> "Table":
    """Return the table of runs, a row per cell."""
    from ltgen_bench.core.words import count
    from ltgen_bench.report.table import Cell as Entry
    from ltgen_bench.report.table import Head, Row, Table

    heads = (Head("", "run", number=False), Head("seeds", "seeds", number=False), Head("images seen", "budget_images"),
             Head("training", "train_seconds"), Head("sampling", "sample_seconds"), Head("folder", "folder", number=False))
    rows = []
    for name in dict.fromkeys(cell.name for cell in cells):
        own = [cell for cell in cells if cell.name == name]
        runs = [run for cell in own for run in cell.runs[:1]]
        seeds = ", ".join(f"{cell.seed}{' failed' if cell.error else ''}" for cell in own)
        seen = [count(run.record.entry.budget_images or 0) for run in runs[:1]]
        took = [[stage.seconds for run in runs for stage in run.record.stages if stage.name == place]
                for place in ("train", "sample")]
        times = [f"{sum(seconds) / len(seconds):.0f} s" if seconds else "" for seconds in took]
        rows.append(Row(tuple(map(Entry, (name, seeds, *(seen or [""]), *times, runs[0].plan.folder.name if runs else "")))))
    notes = ("Times are means over the seeds; a row names the folder of its first.",)
    return Table("grid", "", heads, tuple(rows), notes)


add_run_options(grid, LEFT_OUT)
