"""`ltgen-bench run`: train a method, sample from it, score the images."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench import __version__
from ltgen_bench.cli.shared import FILE, FOLDER, debug_option, runs_option
from ltgen_bench.errors import Interrupted, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from ltgen_bench.config import RunConfig
    from ltgen_bench.data.dataset import LongTailDataset
    from ltgen_bench.pipeline import Plan, Run


@click.command()
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
        _dry_run(plan, chosen)
        return
    from ltgen_bench.pipeline import carry_out

    _header(plan, chosen, progress.console)
    known = plan.finished
    try:
        result = carry_out(plan, device=chosen, extractor_weights=weights, progress=progress, command=_recorded())
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
    from ltgen_bench.recipes import check_names

    check_names(config)
    progress = TerminalProgress(Console(stderr=True))
    import torch

    from ltgen_bench.data.load import load_dataset
    from ltgen_bench.machine import choose_device
    from ltgen_bench.pipeline import make_plan

    if threads is not None:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    dataset = load_dataset(config.data, data_root=data_root, progress=progress)
    plan = make_plan(config, dataset, runs)
    if plan.config.evaluate.reference != config.evaluate.reference:
        progress.say("the training images are not balanced, so the reference is the held-out test set")
    return plan, chosen, progress, Console()


def _command() -> str:
    """The command as typed, without the path of the program."""
    return shlex.join(["ltgen-bench", *sys.argv[1:]])


def _recorded() -> str:
    """The command for the record, which is published: absolute paths are cut to their last part."""
    return re.sub(r"(?<![\w.])(?:~|/)[^\s'\"]*/([^\s'\"/]+)", r".../\1", _command())


def _about(dataset: "LongTailDataset") -> str:
    factor = f"imbalance {dataset.imbalance_factor:g}" if dataset.imbalance_factor else "its own class counts"
    return f"{dataset.name} ({factor}, {len(dataset.train):,} images, {dataset.num_classes} classes)"


def _header(plan: "Plan", device: Any, console: "Console") -> None:
    import torch

    threads = torch.get_num_threads()
    where = f"{device}, {threads} thread{'s' if threads > 1 else ''}" if device.type == "cpu" else str(device)
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


def _dry_run(plan: "Plan", device: Any) -> None:
    from datetime import timedelta

    from ltgen_bench.diffusion.network import network_shape
    from ltgen_bench.probe import estimate

    dataset, sample = plan.dataset, plan.config.sample
    click.echo(plan.spelled_out.to_toml())
    groups = {name.partition("@")[0]: len(classes) for name, classes in dataset.groups.items() if name.endswith("@thirds")}
    counts = dataset.class_counts
    shown = ", ".join(map(str, counts if len(counts) <= 20 else [*counts[:10], "...", *counts[-5:]]))
    click.echo(f"# data         {_about(dataset)}, fingerprint {dataset.fingerprint}")
    click.echo(f"# classes      {shown}   ({', '.join(f'{n} {name}' for name, n in groups.items())})")
    click.echo(f"# run folder   {plan.folder}{' (finished)' if plan.finished else ''}")
    found = estimate(plan, device)
    train, draw = (timedelta(seconds=round(s)) for s in (found.train_seconds, found.sample_seconds))
    images = sample.images_per_class * dataset.num_classes
    shape = network_shape(plan.config.network)
    channels, attention = (", ".join(map(str, numbers)) for numbers in (shape.channels, shape.attention))
    click.echo(f"# network      channels {channels}; residual blocks a level {shape.blocks}; levels with attention "
               f"{attention or 'none'}; dropout {shape.dropout:g}")
    click.echo(f"# parameters   {found.parameters:,}")
    click.echo(f"# training     about {train} on this {device} at {found.train_images_per_second:,.1f} images/s")
    click.echo(f"# sampling     about {draw} for {images:,} images")
    click.echo(f"# memory       about {found.memory_mb / 1000:.1f} GB")
    through = images + len(dataset.reference) + len(dataset.test)
    click.echo(f"# evaluation   {through:,} images through {', '.join(plan.config.evaluate.extractors)}, not in the estimate")
    click.echo(f"# estimated from {found.measured_steps} measured steps; nothing was written")
