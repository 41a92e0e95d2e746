"""`ltgen-bench run`: train a method, sample from it, and score the images."""

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench import __version__
from ltgen_bench.cli.common import FILE, batch_option, data_options, data_values, debug_option, preset_option, runs_option
from ltgen_bench.cli.preset_notes import planned_notes, preset_notes
from ltgen_bench.cli.torchrun_output import launcher
from ltgen_bench.core.errors import Interrupted, UserError

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from ltgen_bench.config.schema import RunConfig
    from ltgen_bench.data.dataset import LongTailDataset
    from ltgen_bench.experiments.pipeline import Run
    from ltgen_bench.experiments.plan import Plan
    from ltgen_bench.runtime.context import RunContext

NO_WEIGHTS: Mapping[str, Path] = MappingProxyType({})


@click.command()
@click.option("--method", metavar="NAME", help="Method to train (ltgen-bench list methods).  [default: cbdm]")
@click.option("--process", metavar="NAME", help="Noise process (ltgen-bench list processes).  [default: ddpm]")
@click.option("--dataset", metavar="NAME", help="Data set, folder:PATH or npz:FILE.  [default: digits-lt]")
@click.option("--recipe", type=FILE, metavar="FILE|NAME", help="A recipe of your own, or one of ltgen-bench list recipes.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one value, e.g. method.tau=0.5.")
@click.option("--seed", type=int, help="Training seed.  [default: the recipe's, 0]")
@data_options
@click.option("--budget-images", type=int, metavar="N", help="Training budget: images seen, with repetition.")
@click.option("--budget-flops", type=float, metavar="X", help="Training budget in floating-point operations.")
@click.option("--budget-seconds", type=float, metavar="S", help="Training budget in seconds on this machine.")
@click.option("--evaluate-every", type=click.IntRange(min=1), metavar="N",
              help="Also score the averaged weights after every N training images, for curves of quality against cost.")
@click.option("--omega", type=float, help="Guidance strength: eps = cond + omega (cond - null).")
@click.option("--sampler", metavar="NAME", help="Sampler (ltgen-bench list samplers).")
@click.option("--steps", type=int, metavar="N", help="Sampling steps: network evaluations per image.")
@click.option("--images-per-class", type=int, metavar="N", help="Generated images of each class.")
@batch_option("Batch size of sampling and of feature extraction; auto: the fastest on this machine, found in some seconds. "
              "Training has train.batch_size.")
@click.option("--network", metavar="PRESET", help="Size of the U-Net: ddpm, cpu (a tenth of the cost) or digits.")
@click.option("--augment", metavar="NAME", help="Augmentation of the training images (ltgen-bench list augmentations).")
@click.option("--extractor", metavar="NAME,...", help="classifier, inception, vgg16, dinov2, clip or clip-b32.")
@click.option("--extractor-weights", multiple=True, metavar="NAME=FILE", help="Weights from a file, e.g. inception=FILE.")
@preset_option
@click.option("--preset-sampling", is_flag=True, help="Also sample as that preset does: labels, sampler, steps, omega, number.")
@click.option("--method-file", type=FILE, metavar="FILE", help="A Python file with a method of your own.")
@click.option("--device", metavar="NAME", help="cpu, cuda or cuda:N.  [default: cuda if available]")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads; the last bits of results depend on it.")
@runs_option
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and its expected cost, without running it.")
@click.option("--json", "as_json", is_flag=True, help="Print only the record, as JSON.")
@debug_option
def run(method: str | None, dataset: str | None, recipe: Path | None, settings: tuple[str, ...],
        extractor_weights: tuple[str, ...], method_file: Path | None, data_root: Path, device: str | None,
        threads: int | None, evaluate_every: int | None, runs: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Train a method, sample from it, and score the images.

    Repeating a command continues it where it stopped; a finished run is shown.

    \b
    ltgen-bench run --method cfg --omega 1.5
    ltgen-bench run --dataset folder:photos --imbalance-factor 100 --network cpu --budget-images 20000
    """
    from ltgen_bench.experiments.recipes import resolved_runs

    config = config_of(method, dataset, recipe, method_file, settings, options)
    weights = weights_files(extractor_weights)
    configs = resolved_runs(config)  # before torch is imported
    from ltgen_bench.runtime.distributed import init_process_group, local_device

    place = local_device(device)
    ranks = init_process_group(place)
    from rich.console import Console

    from ltgen_bench.data.load import load_dataset
    from ltgen_bench.evaluation.evaluator import check_weights
    from ltgen_bench.experiments.plan import make_plan

    check_weights([one.evaluate for one in configs], weights)
    context, out = replace(terminal_context(place, threads, weights), ranks=ranks), Console()
    progress = context.progress
    with ranks.main_first():
        images = load_dataset(config.data, data_root=data_root, progress=progress)

    if config.budget is not None and config.budget.seconds is not None and ranks.size > 1:
        raise UserError("--budget-seconds: the speed is measured on one device, and this run has several; give --budget-images "
                        "or --budget-flops.")
    with ranks.main_first():
        plans = [make_plan(one, images, runs, context) for one in configs]
    if plans[0].config.evaluate.reference != configs[0].evaluate.reference:
        progress.say("the training images are not balanced, so the reference is the held-out test set" + (
            "" if len(images.test) else "; there is none, so scores that need a reference are not available (--set "
            "evaluate.reference=longtail compares with the training images)"))
    if dry_run:
        if ranks.is_main:  # of several at once each would be in the way of the others
            from ltgen_bench.cli.dry_run import show_plan

            show_plan(plans[0], context)
        ranks.barrier()
        return
    _header(plans[0], context)
    known = ranks.from_main(lambda: [plan.finished for plan in plans])
    make = run_function(evaluate_every)
    with resumable():
        results = [make(plan, context) for plan in plans]
    if as_json:
        records = [result.record.model_dump(mode="json") for result in results]
        click.echo(json.dumps(records[0] if len(records) == 1 else records, indent=1, ensure_ascii=False))
        return
    for result, before in zip(results, known, strict=True):
        show(result, before, out)
        if evaluate_every is not None:
            _show_curve(result, out)
    notes_of(results[-1], out)


def config_of(method: str | None, dataset: str | None, recipe: Path | None, method_file: Path | None, settings: tuple[str, ...],
              options: dict[str, Any]) -> "RunConfig":
    """Return the configuration of the options. Raises `UserError` for an unknown method, data set, preset or value."""
    from ltgen_bench.experiments.recipes import resolve_recipe
    from ltgen_bench.methods import METHODS, add_method_file

    if method_file is not None:
        method = add_method_file(method_file)
    if method is not None:
        METHODS.check(method)
    return resolve_recipe(recipe=recipe, method=method, dataset=dataset, overrides=overrides_of(settings, options))


def run_function(evaluate_every: int | None) -> "Callable[[Plan, RunContext], Run]":
    """Return the function that carries out a plan: with a curve where `evaluate_every` is given."""
    from ltgen_bench.experiments.curves import carry_out_curve
    from ltgen_bench.experiments.pipeline import carry_out

    return carry_out if evaluate_every is None else lambda plan, context: carry_out_curve(plan, evaluate_every, context)[0]


@contextmanager
def resumable() -> Iterator[None]:
    """Add the command that continues the run to the message of an interruption."""
    try:
        yield
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}. To continue: {typed_command()}", stopped.exit_code) from None


def overrides_of(settings: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Return dotted keys -> values of the options that were given and of --set, which takes precedence."""
    from ltgen_bench.config.recipe_files import parse_setting

    data = {f"data.{key}": value for key, value in data_values(options).items()}
    preset = check_preset(options["preset"])
    given = {
        "evaluate.preset": preset, "evaluate.extractors": names_of(options["extractor"]),
        "seed": options["seed"], **data,
        "network.preset": options["network"], "process.name": options["process"],
        "train.augment": options["augment"],
        "sample.omega": options["omega"], "sample.sampler": options["sampler"], "sample.steps": options["steps"],
        "sample.images_per_class": options["images_per_class"],
        "sample.batch_size": options["batch"], "evaluate.batch_size": options["batch"]}
    given = {key: value for key, value in given.items() if value is not None}
    found = {**without_recipe_settings(preset), **_budget(options), **given, **dict(map(parse_setting, settings))}
    return {**found, **_preset_sampling(found)} if options["preset_sampling"] else found


def _preset_sampling(given: dict[str, Any]) -> dict[str, Any]:
    """Return the key of --preset-sampling. Raises `UserError` where an option sets a value that the preset states."""
    from ltgen_bench.evaluation.presets import PRESETS

    name = given.get("evaluate.preset")
    stated = {f"sample.{word}" for word in PRESETS[name].sampling_fields} if name is not None else set()
    twice = sorted(stated & given.keys())
    if twice:
        raise UserError(f"--preset-sampling: {name} says what {', '.join(twice)} {'is' if len(twice) == 1 else 'are'}; leave "
                        "out one or the other.")
    return {"sample.as_preset": True}


def _budget(options: dict[str, Any]) -> dict[str, Any]:
    """Return the key of the budget that was given, and remove a recipe's budget in FLOPs or seconds."""
    keys = {"budget_images": "train.budget_images", "budget_flops": "budget.flops", "budget_seconds": "budget.seconds"}
    given = {name: options[name] for name in keys if options[name] is not None}
    if len(given) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"{names}: each says how long to train; give one of them.")
    return {"budget": None, **{keys[name]: value for name, value in given.items()}} if given else {}


def check_preset(name: str | None) -> str | None:
    """Return `name` itself; an unknown one is a `UserError` with the near match."""
    from ltgen_bench.evaluation.presets import PRESETS

    return None if name is None else PRESETS.check(name)


def without_recipe_settings(preset: str | None) -> dict[str, None]:
    """Return overrides that take away what a recipe says where a preset asked for on the command line decides."""
    from ltgen_bench.evaluation.preset import PRESET_FIELDS

    return {} if preset is None else {f"evaluate.{name}": None for name in (*PRESET_FIELDS, "reference_per_class")}


def names_of(text: str | None) -> list[str] | None:
    """Return `fid, kid` as a list."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def weights_files(pairs: tuple[str, ...]) -> dict[str, Path]:
    """Return --extractor-weights as extractor -> file. Raises `UserError` for a missing file."""
    weights = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or not file:
            raise UserError(f"--extractor-weights {pair}: write it as NAME=FILE, for example inception=weights.pth")
        if not Path(file).is_file():
            raise UserError(f"--extractor-weights {name}: there is no file {file}.")
        weights[name] = Path(file)
    return weights


def terminal_context(device: str | None, threads: int | None = None, weights: "Mapping[str, Path]" = NO_WEIGHTS,
                     console: "Console | None" = None) -> "RunContext":
    """Return the context of a command: progress on stderr (`console`), this command line for records, torch's `threads` set.

    Imports torch, so the caller checks names before. A device that is not there is a `UserError`.
    """
    from rich.console import Console

    from ltgen_bench.core.console import TerminalProgress
    from ltgen_bench.runtime.context import RunContext
    from ltgen_bench.runtime.device import choose_device

    progress = TerminalProgress(console or Console(stderr=True))
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return RunContext(choose_device(device), progress, extractor_weights=weights, command=recorded_command())


def typed_command() -> str:
    """Return the command as typed, without the path of the program."""
    return f"{launcher()} {shlex.join(sys.argv[1:])}".rstrip()


def recorded_command() -> str:
    """Return the command for the record, with absolute paths cut to their last part, since records are published."""
    return re.sub(r"(?<![\w.])(?:~|/)[^\s'\"]*/([^\s'\"/]+)", r".../\1", typed_command())


def about(dataset: "LongTailDataset") -> str:
    """Return a data set in words: name, factor, images and classes."""
    factor = f"imbalance {dataset.imbalance_factor:g}" if dataset.imbalance_factor else "its own class counts"
    return f"{dataset.name} ({factor}, {len(dataset.train):,} images, {dataset.num_classes} classes)"


def device_words(device: "torch.device") -> str:
    """Return `cpu, 2 threads` or `cuda:0`."""
    import torch

    threads = torch.get_num_threads()
    return f"{device}, {threads} thread{'s' if threads > 1 else ''}" if device.type == "cpu" else str(device)


def _header(plan: "Plan", context: "RunContext") -> None:
    config, processes = plan.config, context.ranks.size
    place = device_words(context.device) if processes == 1 else f"{processes} processes, each on {device_words(context.device)}"
    for line in (f"ltgen-bench {__version__}  {config.method.name} on {about(plan.dataset)}  {place}, seed {config.seed}",
                 f"run folder  {plan.folder}", *recipe_note(config), *planned_notes(plan), *warnings_of(config)):
        context.progress.say(line)


def recipe_note(config: "RunConfig") -> list[str]:
    """Return which recipe is taken for a method that does not come with this package, and its main values."""
    from ltgen_bench.cli.list_command import recipe_words
    from ltgen_bench.methods import METHODS

    if not METHODS[config.method.name].code_digest:
        return []
    guided = "guidance is possible" if METHODS[config.method.name].guidable() else "it has no null label, so omega is 0"
    return [f"recipe      {config.source or 'your own'}: {recipe_words(config)} ({guided})"]


def warnings_of(config: "RunConfig") -> list[str]:
    """Return a warning where the budget is so short that the learning rate never reaches its value."""
    warmup, budget = config.train.warmup_images, config.train.budget_images
    if 2 * warmup <= budget:
        return []
    return [f"note: the learning rate warms up over {warmup:,} images, and the budget is {budget:,}; for a short run, shorten "
            f"warm-up and EMA, e.g. --set train.warmup_images={budget // 10} --set train.ema_halflife_images={budget // 8}"]


def show(result: "Run", known: bool, out: "Console") -> None:
    """Print the table of a run; `known` says that it was finished before."""
    from ltgen_bench.report.run_table import score_table

    record, folder = result.record, result.plan.folder
    if known:
        seconds = sum(stage.seconds for stage in record.stages)
        out.print(f"finished on {record.finished[:16].replace('T', ' ')} in {seconds:.0f} s; shown from {folder} (use --seed "
                  f"{record.seed + 1} for another)", soft_wrap=True, highlight=False, markup=False, emoji=False)
    color = out.is_terminal and not out.no_color
    click.echo(score_table(record, result.scores, out.width, color, folder=folder))


def _show_curve(result: "Run", out: "Console") -> None:
    from ltgen_bench.records.curve import load_curve
    from ltgen_bench.report.curve_plots import run_curve
    from ltgen_bench.report.table_formats import terminal

    file = result.plan.scores.curve
    click.echo(terminal(run_curve(load_curve(file)), out.width, out.is_terminal and not out.no_color))
    click.echo(f" curve     {file}")


def notes_of(result: "Run", out: "Console") -> None:
    """Print where the samples differ from what the preset expects."""
    record = result.record
    if record.preset:
        click.echo(preset_notes(record.preset, result.plan.config, record.dataset, record.class_counts, out.width,
                                result.plan.runs))
