"""`ltgen-bench suite ...`: list, show and run suites of tasks, the state of their runs, and what they tell."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltgen_bench.cli.common import Commands, listing, print_json, print_table, terminal_progress
from ltgen_bench.cli.many_runs import announce, carry_out_many, end, is_helper, jobs_options, shared_context
from ltgen_bench.cli.options import (
    FILE,
    FOLDER,
    device_option,
    names_of,
    runs_option,
    seeds_of,
    weights_files,
    weights_option,
)
from ltgen_bench.core.words import counted, some

if TYPE_CHECKING:
    from ltgen_bench.experiments.pipeline import Run
    from ltgen_bench.experiments.plan import Plan
    from ltgen_bench.experiments.suite import SuiteCell
    from ltgen_bench.experiments.suite_file import Suite
    from ltgen_bench.runtime.context import RunContext
    from ltgen_bench.statistics.suite_cells import Policy

Selected = tuple["Suite", list[str], list[int]]


def _selection(command: Callable) -> Callable:
    """Add the options that say which runs of a suite are meant, and where they and the data lie."""
    for option in (
            click.option("--data-root", type=FOLDER, default=Path("data"), show_default=True, help="Folder of the data sets."),
            runs_option,
            click.option("--method-file", type=FILE, metavar="FILE", help="Python file with a method of your own, in addition."),
            click.option("--seeds", metavar="N,...", help="Training seeds.  [default: the suite's]"),
            click.option("--methods", metavar="NAME,...", help="Methods.  [default: the suite's]")):
        command = option(command)
    return command


@click.group(cls=Commands)
def suite() -> None:
    """List, show, run and report suites: several tasks, for all methods and seeds.

    \b
    ltgen-bench suite run smoke          every stage and method in five minutes
    ltgen-bench suite status digits      what is done, failed and missing, and the time left
    ltgen-bench suite report digits      what the methods are shown to be over all tasks
    """


@suite.command(name="list")
def suite_list() -> None:
    """List the suites that ship with the package."""
    from ltgen_bench.experiments.suite_file import read_suite, shipped_suites

    found = [read_suite(path) for path in shipped_suites().values()]
    listing([(one.name, one.title, _size(one)) for one in found], ("suite", "tasks", "size"))


@suite.command(name="show")
@click.argument("name")
def suite_show(name: str) -> None:
    """Show a suite: tasks, methods, seeds, headline metrics and digest. NAME is that of a list, or a TOML file."""
    from ltgen_bench.experiments.suite_file import find_suite
    from ltgen_bench.report.table import Cell, Head, Row, Table

    found = find_suite(name)
    click.echo(f"{found.name}, version {found.version}, digest {found.digest}: {found.title}")
    click.echo(f"file      {found.path}")
    click.echo(f"size      {_size(found)}")
    for word, values in (("methods", found.methods), ("seeds", found.seeds), ("headline", found.metrics)):
        click.echo(f"{word:<9} {', '.join(map(str, values))}")
    click.echo(f"baseline  {found.baseline}")
    heads = [Head(title, title, number=False) for title in ("task", "data", "network", "process", "budget", "sampling",
                                                            "measured with")]
    rows = []
    for task in found.tasks:
        config = found.config(task, found.baseline)
        sample, evaluate, budget = config.sample, config.evaluate, config.budget
        order = "" if config.data.class_order is None else f", class order {config.data.class_order}"
        most = [f"{amount:g} {unit}" for unit, amount in (budget.model_dump(exclude_none=True) if budget else {}).items()]
        rows.append(Row(tuple(map(Cell, (
            task, f"{config.data.name}{order}", config.network.preset, config.process.name,
            *(most or [f"{config.train.budget_images:,} images"]),
            f"{sample.images_per_class:,} a class, {sample.sampler} {sample.steps}",
            evaluate.preset or ", ".join(evaluate.extractors))))))
    print_table(Table("suite", "", tuple(heads), tuple(rows)))


@suite.command(name="run")
@click.argument("name")
@_selection
@jobs_options
@device_option
@weights_option
@click.option("--dry-run", is_flag=True, help="Show the state of the runs and the time they will take, without running them.")
def suite_run(name: str, methods: str | None, seeds: str | None, method_file: Path | None, runs: Path, data_root: Path,
              jobs: int, threads: int | None, device: str | None, extractor_weights: tuple[str, ...], dry_run: bool) -> None:
    """Run every task with every method and seed.

    Repeating the command continues where it stopped; finished runs are not repeated, and failed ones are tried again. Where a
    run fails, the others continue, and the exit code is 1. The same command in another terminal, or --jobs, shares the work.

    \b
    ltgen-bench suite run digits --jobs 2 --threads 1
    ltgen-bench suite run digits --methods cfg --method-file mine.py
    """
    chosen = _selected(name, methods, seeds, method_file)
    context = shared_context(device, jobs, threads, weights_files(extractor_weights))
    from ltgen_bench.evaluation.evaluator import check_weights
    from ltgen_bench.experiments.pipeline import carry_out
    from ltgen_bench.experiments.suite import keep_suite
    from ltgen_bench.experiments.suite_time import Times

    cells = _cells(chosen, runs, data_root, context)
    possible = [one.cell for one in cells if not one.impossible]
    check_weights([plan.config.evaluate for cell in possible for plan in cell.plans], context.extractor_weights)
    open_cells = [cell for cell in possible if not cell.finished]
    if is_helper():
        carry_out_many(possible, jobs, context, carry_out, len(open_cells))
        return
    at_once = min(jobs, max(1, len(open_cells)))
    times = Times(cells)
    announce(possible, jobs, context)
    for sentence in _impossible(cells):
        context.progress.say(sentence)
    times.measure(context)
    context.progress.say(f"{chosen[0].words}: {times.left().words(at_once)}")
    if dry_run:
        _show(chosen, cells)
        return

    keep_suite(chosen[0], runs)

    def make(plan: "Plan", own: "RunContext") -> "Run":
        known = plan.finished
        result = carry_out(plan, own)
        if not known:
            own.progress.say(times.left().words(at_once))
        return result

    made = carry_out_many(possible, jobs, context, make, len(open_cells))
    _show(chosen, cells)
    end(made)


@suite.command(name="status")
@click.argument("name")
@_selection
@click.option("--json", "as_json", is_flag=True, help="Print the state of every run, as JSON.")
def suite_status(name: str, methods: str | None, seeds: str | None, method_file: Path | None, runs: Path, data_root: Path,
                 as_json: bool) -> None:
    """Show which runs of a suite are done, running, failed or missing, and the time left."""
    chosen = _selected(name, methods, seeds, method_file)
    context = shared_context("cpu", 1, None, {})
    from ltgen_bench.experiments.suite import other_runs, other_versions
    from ltgen_bench.experiments.suite_time import Times
    from ltgen_bench.records.store import find_runs

    cells = _cells(chosen, runs, data_root, context)
    states = [one.state for one in cells]
    others, left = list(dict.fromkeys(run.name for run in other_runs(cells, find_runs(runs)))), Times(cells).left()
    if as_json:
        found = chosen[0]
        print_json({
            "suite": found.name, "version": found.version, "digest": found.digest, "seconds_left": left.seconds,
            "runs": [{"task": one.task, "method": one.method, "seed": one.cell.seed, "state": state, "why": why,
                      "folder": str(one.cell.plans[0].folder) if one.cell.plans else None}
                     for one, (state, why) in zip(cells, states, strict=True)],
            "others": others})
        return
    _show(chosen, cells)
    running = Counter(state for state, _ in states)["running"]
    click.echo(f" {left.words(max(1, running))}")
    if others:
        click.echo(f" left out, since they are of other settings: {some(others, 3)}")
    for version, sentences in other_versions(chosen[0], runs).items():
        click.echo(f" {version}, was run here too, and differs: {'; '.join(sentences)}")


@suite.command(name="report")
@click.argument("name")
@_selection
@click.option("--results", type=FOLDER, metavar="FOLDER", help="Read results that --record wrote, instead of runs.")
@click.option("--missing", type=click.Choice(["error", "drop", "impute"]), default="error", show_default=True,
              help="Missing and failed runs: an error; drop seeds and tasks that not all methods have; impute the "
              "baseline's score.")
@click.option("--out", type=FOLDER, help="Folder of the report.  [default: report-NAME]")
@click.option("--record", "record_into", type=FOLDER, metavar="FOLDER",
              help="Also write the results as CSV files, for --results.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def suite_report(name: str, methods: str | None, seeds: str | None, method_file: Path | None, runs: Path, data_root: Path,
                 results: Path | None, missing: "Policy", out: Path | None, record_into: Path | None, as_json: bool) -> None:
    """Compare the methods of a suite over its tasks: what is known in sentences, tables, pictures and a page.

    The baseline is always among the methods. Runs of other settings are left out and named.

    \b
    ltgen-bench suite report digits --missing drop
    ltgen-bench suite report digits --results results/suites/digits
    """
    from ltgen_bench.experiments import suite_collect
    from ltgen_bench.report import suite_report

    chosen = _selected(name, methods, seeds, method_file)
    found = chosen[0]
    if found.baseline not in chosen[1]:
        chosen = (found, [found.baseline, *chosen[1]], chosen[2])
    if results is None:
        every = (found, chosen[1], list(dict.fromkeys([*found.seeds, *chosen[2]])))
        read = suite_collect.collect(found, _cells(every, runs, data_root, shared_context("cpu", 1, None, {})), chosen[1],
                                     chosen[2], runs)
    else:
        read = suite_collect.read_recorded(found, results, None if methods is None else chosen[1],
                                           None if seeds is None else chosen[2])
    made = suite_report.suite_report(read, out or Path(f"report-{found.name}"), policy=missing, progress=terminal_progress())
    if record_into is not None:
        suite_collect.record(found, read, record_into)
    if as_json:
        print_json(made.values())
        return
    from rich.console import Console

    console = Console()
    click.echo(made.terminal(console.width, console.is_terminal and not console.no_color))


def _selected(name: str, methods: str | None, seeds: str | None, method_file: Path | None) -> Selected:
    """Return the suite, and the methods and seeds that are meant. Raises `UserError` for unknown names."""
    from ltgen_bench.experiments.suite_file import find_suite
    from ltgen_bench.methods import METHODS, add_method_file

    own = [] if method_file is None else [add_method_file(method_file)]
    found = find_suite(name)
    chosen = [METHODS.check(method) for method in names_of(methods) or found.methods]
    return found, list(dict.fromkeys([*chosen, *own])), list(found.seeds) if seeds is None else seeds_of(seeds)


def _cells(chosen: Selected, runs: Path, data_root: Path, context: "RunContext") -> "tuple[SuiteCell, ...]":
    from ltgen_bench.data.load import load_dataset
    from ltgen_bench.experiments.suite import make_suite

    return make_suite(*chosen, lambda data: load_dataset(data, data_root=data_root, progress=context.progress), runs, context)


def _size(found: "Suite") -> str:
    tasks, methods, seeds = len(found.tasks), len(found.methods), len(found.seeds)
    return (f"{counted(tasks, 'task')}, {counted(methods, 'method')}, {counted(seeds, 'seed')}: "
            f"{counted(tasks * methods * seeds, 'run')}")


def _impossible(cells: "Sequence[SuiteCell]") -> list[str]:
    """Return, for each method that cannot run on a task, why."""
    return list(dict.fromkeys(f"not possible: {one.method} on {one.task}: {one.cell.error}" for one in cells if one.impossible))


def _show(chosen: Selected, cells: "Sequence[SuiteCell]") -> None:
    """Print the state of the runs: a row a method, a column a task; then why runs failed."""
    from ltgen_bench.experiments.grid import first
    from ltgen_bench.report.table import Cell, Head, Row, Table

    found, methods, _ = chosen
    heads = [Head("", "method", number=False), *(Head(task, task, number=False) for task in found.tasks)]
    states = [(one, *one.state) for one in cells]
    rows = []
    for method in methods:
        words = []
        for task in found.tasks:
            count = Counter(state for one, state, _ in states if (one.task, one.method) == (task, method))
            total = sum(count.values())
            rest = [f"{number} {state}" for state, number in count.items() if state in ("running", "failed")]
            words.append("not possible" if count["impossible"] else ", ".join([f"{count['done']} of {total}", *rest]))
        rows.append(Row(tuple(map(Cell, (method, *words)))))
    notes = [f"{found.words}: finished runs of all seeds.", *_impossible(cells)]
    why: dict[str, list[str]] = {}
    for one, state, reason in states:
        if state == "failed":
            why.setdefault(reason, []).append(one.cell.words)
    notes += [f"failed: {first(words)}: {reason}" for reason, words in why.items()]
    print_table(Table("suite", "", tuple(heads), tuple(rows), tuple(notes)))
