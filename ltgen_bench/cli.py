"""The command line: parse, call the library, print. What takes time to import is imported by the command that needs it."""

import errno
import json
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench import __version__
from ltgen_bench.errors import BenchError, Interrupted, UserError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console

    from ltgen_bench.config import RunConfig
    from ltgen_bench.data.dataset import LongTailDataset
    from ltgen_bench.pipeline import Plan, Run

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


class Commands(click.Group):
    """A group that answers a mistyped command with the one that was meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the near match and the list of commands."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            names = self.list_commands(ctx)
            raise UserError(f"unknown command '{args[0]}'.{did_you_mean(args[0], names)} Known: {', '.join(names)}.")
        return super().resolve_command(ctx, args)


def debug_option(command: Callable) -> Callable:
    """`--debug`, for every command; `main` looks for it when an error arrives."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)


def runs_option(command: Callable) -> Callable:
    """`--runs DIR`, where the run folders lie."""
    return click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="Folder of the runs.")(command)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="ltgen-bench")
def cli() -> None:
    """Benchmark generative models of images on long-tailed (class-imbalanced) data.

    \b
    ltgen-bench run                                      train, sample and score CBDM on small digits
    ltgen-bench run --method ddpm --dataset cifar10-lt   another method, other data
    ltgen-bench report                                   tables and plots of all runs
    """


@cli.command()
@click.option("--method", metavar="NAME", help="Method to train (ltgen-bench list methods).  [default: cbdm]")
@click.option("--dataset", metavar="NAME", help="Data set, folder:PATH or npz:FILE.  [default: digits-lt]")
@click.option("--recipe", type=FILE, metavar="FILE", help="A recipe of your own instead of the shipped one.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one value, e.g. method.tau=0.5.")
@click.option("--seed", type=int, help="Training seed.  [default: the recipe's, 0]")
@click.option("--imbalance-factor", metavar="NUMBER|natural", help="Largest / smallest class count.")
@click.option("--profile", metavar="exp|step", help="How the class counts fall.")
@click.option("--budget-images", type=int, metavar="N", help="Training images seen.")
@click.option("--omega", type=float, help="Guidance strength: eps = cond + omega (cond - null).")
@click.option("--sampler", metavar="NAME", help="Sampler (ltgen-bench list samplers).")
@click.option("--steps", type=int, metavar="N", help="Network evaluations an image.")
@click.option("--images-per-class", type=int, metavar="N", help="Generated images of each class.")
@click.option("--network", metavar="PRESET", help="ddpm, cpu (a tenth of the cost) or digits.")
@click.option("--extractor", metavar="NAME,...", help="classifier, inception, or both.")
@click.option("--extractor-weights", multiple=True, metavar="NAME=FILE", help="Weights from a file, e.g. inception=FILE.")
@click.option("--method-file", type=FILE, metavar="FILE", help="A Python file with a method of your own.")
@click.option("--data-root", type=FOLDER, default=Path("data"), show_default=True, help="Where torchvision's data sets lie.")
@click.option("--device", metavar="NAME", help="cpu, cuda or cuda:N.  [default: cuda where there is one]")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads; part of what makes bits equal.")
@runs_option
@click.option("--dry-run", is_flag=True, help="Print the recipe and what it will take, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON, and nothing else, on stdout.")
@debug_option
def run(method: str | None, dataset: str | None, recipe: Path | None, settings: tuple[str, ...],
        extractor_weights: tuple[str, ...], method_file: Path | None, data_root: Path, device: str | None,
        threads: int | None, runs: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Train a method, sample from it, and score the images.

    Repeating a command continues it where it stopped; a finished run is shown.

    \b
    ltgen-bench run --method cfg --omega 1.5
    ltgen-bench run --dataset folder:photos --imbalance-factor 100 --network cpu --budget-images 20000
    """
    from ltgen_bench.methods import METHODS, add_method_file
    from ltgen_bench.recipes import resolve_recipe

    if method_file is not None:
        method = add_method_file(method_file)
    if method is not None:
        METHODS.check(method)
    config = resolve_recipe(recipe=recipe, method=method, dataset=dataset, overrides=_overrides(settings, options))
    weights = _weights(extractor_weights)
    plan, chosen, progress, out = _plan(config, data_root, runs, device, threads)
    if dry_run:
        _dry_run(plan, chosen, out)
        return
    from ltgen_bench.pipeline import carry_out

    _header(plan, chosen, progress.console)
    known = plan.finished
    try:
        result = carry_out(plan, device=chosen, extractor_weights=weights, progress=progress, command=_command())
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}. To go on: {_command()}", stopped.exit_code) from None
    if as_json:
        click.echo(json.dumps(result.record.model_dump(mode="json"), indent=1, ensure_ascii=False))
    else:
        _show(result, known, out)


def _overrides(settings: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys -> values, of the options that were given and of --set, which wins."""
    from ltgen_bench.config import parse_setting

    factor = options["imbalance_factor"]
    if factor is not None and factor != "natural":
        try:
            factor = float(factor)
        except ValueError:
            raise UserError(f"--imbalance-factor {factor}: it is a number of at least 1, or natural.") from None
    extractor = options["extractor"]
    given = {
        "seed": options["seed"], "data.imbalance_factor": factor, "data.profile": options["profile"],
        "train.budget_images": options["budget_images"], "network.preset": options["network"],
        "sample.omega": options["omega"], "sample.sampler": options["sampler"], "sample.steps": options["steps"],
        "sample.images_per_class": options["images_per_class"],
        "evaluate.extractors": None if extractor is None else [name.strip() for name in extractor.split(",")]}
    return {**{key: value for key, value in given.items() if value is not None}, **dict(map(parse_setting, settings))}


def _weights(pairs: tuple[str, ...]) -> dict[str, Path]:
    weights = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not file:
            raise UserError(f"--extractor-weights {pair}: write it as NAME=FILE, for example inception=weights.pth")
        if not Path(file).is_file():
            raise UserError(f"--extractor-weights {name}: there is no file {file}.")
        weights[name] = Path(file)
    return weights


def _plan(config: "RunConfig", data_root: Path, runs: Path, device: str | None, threads: int | None) -> Any:
    """(plan, device, progress on stderr, console on stdout); names are checked before torch and the data are read."""
    from rich.console import Console

    from ltgen_bench.console import TerminalProgress
    from ltgen_bench.diffusion.samplers import SAMPLERS
    from ltgen_bench.evaluation.extractors import EXTRACTORS

    SAMPLERS.check(config.sample.sampler)
    for name in config.evaluate.extractors:
        EXTRACTORS.check(name)
    progress = TerminalProgress(Console(stderr=True))
    import torch

    from ltgen_bench.data.load import load_dataset
    from ltgen_bench.machine import choose_device
    from ltgen_bench.pipeline import check_names, make_plan

    if threads is not None:
        torch.set_num_threads(threads)
    check_names(config)
    chosen = choose_device(device)
    dataset = load_dataset(config.data, data_root=data_root, progress=progress)
    plan = make_plan(config, dataset, runs)
    if plan.config.evaluate.reference != config.evaluate.reference:
        progress.say("the training images are not balanced, so the reference is the held-out test set")
    return plan, chosen, progress, Console()


def _command() -> str:
    """The command as typed, without the path of the program."""
    return shlex.join(["ltgen-bench", *sys.argv[1:]])


def _about(dataset: "LongTailDataset") -> str:
    factor = f"imbalance {dataset.imbalance_factor:g}" if dataset.imbalance_factor else "its own class counts"
    return f"{dataset.name} ({factor}, {len(dataset.train):,} images, {dataset.num_classes} classes)"


def _header(plan: "Plan", device: Any, console: "Console") -> None:
    import torch

    where = f"{device}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
    config = plan.config
    for line in (f"ltgen-bench {__version__}  {config.method.name} on {_about(plan.dataset)}  {where}, seed {config.seed}",
                 f"run folder  {plan.folder}"):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _show(result: "Run", known: bool, out: "Console") -> None:
    from ltgen_bench.report.terminal import score_table

    record, folder = result.record, result.plan.folder
    if known:
        seconds = sum(stage.seconds for stage in record.stages)
        out.print(f"finished on {record.finished[:16].replace('T', ' ')} in {seconds:.0f} s; shown from {folder} (use --seed "
                  f"{record.seed + 1} for another)", soft_wrap=True, highlight=False, markup=False)
    color = out.is_terminal and not out.no_color
    click.echo(score_table(record, result.scores, out.width, color, folder=folder))


def _dry_run(plan: "Plan", device: Any, out: "Console") -> None:
    from datetime import timedelta

    from ltgen_bench.probe import estimate

    dataset, sample = plan.dataset, plan.config.sample
    click.echo(plan.config.to_toml())
    groups = {name.partition("@")[0]: len(classes) for name, classes in dataset.groups.items() if name.endswith("@thirds")}
    counts = dataset.class_counts
    shown = ", ".join(map(str, counts if len(counts) <= 20 else [*counts[:10], "...", *counts[-5:]]))
    click.echo(f"# data         {_about(dataset)}, fingerprint {dataset.fingerprint}")
    click.echo(f"# classes      {shown}   ({', '.join(f'{n} {name}' for name, n in groups.items())})")
    click.echo(f"# run folder   {plan.folder}{' (finished)' if plan.finished else ''}")
    found = estimate(plan, device)
    train, draw = (timedelta(seconds=round(s)) for s in (found.train_seconds, found.sample_seconds))
    images = sample.images_per_class * dataset.num_classes
    click.echo(f"# parameters   {found.parameters:,}")
    click.echo(f"# training     about {train} on this {device} at {found.train_images_per_second:,.1f} images/s")
    click.echo(f"# sampling     about {draw} for {images:,} images")
    click.echo(f"# memory       about {found.memory_mb / 1000:.1f} GB")
    through = images + len(dataset.reference) + len(dataset.test)
    click.echo(f"# evaluation   {through:,} images through {', '.join(plan.config.evaluate.extractors)}, not in the estimate")
    click.echo(f"# estimated from {found.measured_steps} measured steps; nothing was written")


@cli.command()
@runs_option
@click.option("--out", type=FOLDER, default=Path("report"), show_default=True, help="Where tables, plots and page go.")
@click.option("--leaderboard", "leaderboards", multiple=True, type=FILE, metavar="FILE", help="A CSV of results to show beside.")
@click.option("--dataset", metavar="NAME", help="Only this data set.")
@click.option("--update-benchmark", is_flag=True, help="Write the tables into BENCHMARK.md, and results/ beside it.")
@debug_option
def report(runs: Path, out: Path, leaderboards: tuple[Path, ...], dataset: str | None, update_benchmark: bool) -> None:
    """Compare all runs: tables (terminal, Markdown, CSV, LaTeX), plots and a page; papers' numbers in their own block."""
    from ltgen_bench.report import report as room

    made = room.report(runs, out, leaderboards=leaderboards, dataset=dataset)
    click.echo(made)
    if update_benchmark:
        room.update_benchmark(made, Path("BENCHMARK.md"))


@cli.group(name="list", cls=Commands)
def list_() -> None:
    """List methods, datasets, metrics, samplers or recipes."""


def _listing(rows: list[tuple[str, str, str]], heads: tuple[str, str, str]) -> None:
    """A table of three columns that wraps its texts to the terminal, or tab-separated lines in a pipe."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        for row in rows:
            click.echo("\t".join(row))
        return
    table = Table(box=None, padding=(0, 2, 1, 0), header_style="bold")
    for head in heads:
        table.add_column(head, no_wrap=head == heads[0], overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)


@list_.command()
@debug_option
def methods() -> None:
    """Methods that can be trained."""
    from ltgen_bench.methods import METHODS

    _listing([(name, f"{METHODS[name].summary} (extra forward passes: {METHODS[name].extra_forwards})", METHODS[name].source)
              for name in METHODS], ("method", "idea", "source"))


@list_.command()
@debug_option
def datasets() -> None:
    """Data sets by name, and the forms for your own."""
    from ltgen_bench.data.catalog import DATASETS, OWN_FORMS

    rows = [(name, DATASETS[name].summary, DATASETS[name].source) for name in DATASETS]
    _listing(rows + [(f"{prefix}:PATH", words, "yours") for prefix, words in OWN_FORMS.items()],
             ("data set", "what it is", "source"))


@list_.command()
@debug_option
def metrics() -> None:
    """Metrics, and the extractors whose features they read."""
    from ltgen_bench.evaluation.description import describe_extractors, describe_metrics

    rows = [(m["name"], f"{m['title']} {m['better']}  {m['summary']}", m["source"]) for m in describe_metrics()]
    _listing(rows + [(e["name"], f"extractor: {e['summary']}", e["source"]) for e in describe_extractors()],
             ("metric", "what it says", "source"))


@list_.command()
@debug_option
def samplers() -> None:
    """Samplers that draw the images."""
    from ltgen_bench.diffusion.samplers import SAMPLERS

    _listing([(name, SAMPLERS[name].summary, SAMPLERS[name].source) for name in SAMPLERS], ("sampler", "how", "source"))


@list_.command()
@debug_option
def recipes() -> None:
    """Recipes that ship with the package."""
    from ltgen_bench.config import RunConfig
    from ltgen_bench.recipes import shipped_recipes

    found = [(path, RunConfig.from_recipe(path)) for path in shipped_recipes()]
    _listing([(f"{path.parent.name}/{path.stem}", f"{config.train.budget_images:,} images, {config.sample.sampler} "
               f"{config.sample.steps}, omega {config.sample.omega:g}", config.source) for path, config in found],
             ("recipe", "budget and sampling", "source"))


@cli.group(cls=Commands)
def runs() -> None:
    """List, show or remove runs."""


@runs.command(name="list")
@runs_option
@debug_option
def runs_list(runs: Path) -> None:
    """All runs, finished or not."""
    from ltgen_bench.records.store import find_runs

    found = find_runs(runs)
    if not found:
        click.echo(f"no runs in {runs}/; make one with: ltgen-bench run")
        return
    _listing([(str(item.folder.relative_to(runs)), item.state, item.record.finished[:16].replace("T", " ")
               if item.record else "") for item in found], ("run", "state", "finished"))


@runs.command(name="show")
@click.argument("name")
@runs_option
@debug_option
def runs_show(name: str, runs: Path) -> None:
    """The scores of a run, by the name of its folder or the beginning of it."""
    from rich.console import Console

    from ltgen_bench.records.store import find_run
    from ltgen_bench.report.terminal import score_table

    found, out = find_run(runs, name), Console()
    if found.record is None:
        raise UserError(f"{found.folder} is not finished ({found.state}); repeat its command to go on.")
    click.echo(score_table(found.record, found.scores, out.width, out.is_terminal and not out.no_color, folder=found.folder))


@runs.command(name="rm")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@runs_option
@debug_option
def runs_rm(name: str, yes: bool, runs: Path) -> None:
    """Remove a run folder with everything in it."""
    from ltgen_bench.records.store import find_run, remove_run

    found = find_run(runs, name)
    if not yes and not click.confirm(f"remove {found.folder} with its training, samples and scores?"):
        click.echo("nothing removed")
        return
    remove_run(found)
    click.echo(f"removed {found.folder}")


def main() -> None:
    """The program: run a command and turn what went wrong into one sentence and an exit code."""
    debug = "--debug" in sys.argv[1:]
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except click.ClickException as error:
        _fail(error.format_message(), 2, hint=_usage(error))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe left; there is nobody to tell
        sys.exit(141)
    except BenchError as error:
        _fail(str(error), error.exit_code, trace=debug)
    except KeyboardInterrupt:
        _fail("interrupted", 130, trace=debug)
    except Exception as error:  # noqa: BLE001  (the last line of defence: what nobody foresaw, still without a traceback)
        message, code = _unforeseen(error)
        _fail(message, code, trace=debug)


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"   ({context.command_path} --help)" if context is not None else ""


def _unforeseen(error: Exception) -> tuple[str, int]:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full. What was finished is whole; free some space and repeat the command to go on.", 1
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (f"out of memory ({error}); take a smaller train.batch_size or sample.batch_size with --set, or a smaller "
                "--network."), 1
    return f"unforeseen {type(error).__name__}: {error}   (repeat the command with --debug for the traceback)", 1


def _fail(message: str, code: int, hint: str = "", trace: bool = False) -> None:
    if trace:
        traceback.print_exc()
    click.echo(f"{'' if code > 128 else 'error: '}{message}{hint}", err=True)
    sys.exit(code)
