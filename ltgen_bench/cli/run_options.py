"""The options of `run`, which `grid` and `search` have too, and the configuration that they mean."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench.cli.options import (
    FILE,
    batch_option,
    check_preset,
    data_options,
    data_values,
    device_option,
    names_of,
    preset_option,
    seeds_of,
    threads_option,
    weights_option,
)
from ltgen_bench.core.errors import UserError

if TYPE_CHECKING:
    from ltgen_bench.config.schema import RunConfig
    from ltgen_bench.experiments.pipeline import Run
    from ltgen_bench.experiments.plan import Plan
    from ltgen_bench.runtime.context import RunContext

_OPTIONS = (
    click.option("--method", metavar="NAME", help="Method to train (ltgen-bench list methods).  [default: cbdm]"),
    click.option("--process", metavar="NAME", help="Noise process (ltgen-bench list processes).  [default: ddpm]"),
    click.option("--dataset", metavar="NAME", help="Data set, folder:PATH or npz:FILE.  [default: digits-lt]"),
    click.option("--recipe", type=FILE, metavar="FILE|NAME", help="A recipe of your own, or one of ltgen-bench list recipes."),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one value, e.g. method.tau=0.5."),
    click.option("--seed", type=int, help="Training seed.  [default: the recipe's, 0]"),
    data_options,
    click.option("--budget-images", type=int, metavar="N", help="Training budget: images seen, with repetition."),
    click.option("--budget-flops", type=float, metavar="X", help="Training budget in floating-point operations."),
    click.option("--budget-seconds", type=float, metavar="S", help="Training budget in seconds on this machine."),
    click.option("--evaluate-every", type=click.IntRange(min=1), metavar="N",
                  help="Also score the averaged weights after every N training images, for curves of quality against cost."),
    click.option("--omega", type=float, help="Guidance strength: eps = cond + omega (cond - null)."),
    click.option("--sampler", metavar="NAME", help="Sampler (ltgen-bench list samplers)."),
    click.option("--steps", type=int, metavar="N", help="Sampling steps: network evaluations per image."),
    click.option("--images-per-class", type=int, metavar="N", help="Generated images of each class."),
    click.option("--sample-seeds", metavar="N,...", help="Sampling seeds: images are drawn and scored under each.  [default: 0]"),
    batch_option("Batch size of sampling and of feature extraction; auto: the fastest on this machine, found in some seconds. "
                  "Training has train.batch_size."),
    click.option("--network", metavar="PRESET", help="Size of the U-Net: ddpm, cpu (a tenth of the cost) or digits."),
    click.option("--augment", metavar="NAME", help="Augmentation of the training images (ltgen-bench list augmentations)."),
    click.option("--extractor", metavar="NAME,...", help="classifier, inception, vgg16, dinov2, clip or clip-b32."),
    weights_option,
    preset_option,
    click.option("--preset-sampling", is_flag=True,
                 help="Also sample as that preset does: labels, sampler, steps, omega, number."),
    click.option("--method-file", type=FILE, metavar="FILE", help="A Python file with a method of your own."),
    device_option,
    threads_option,
)


def run_options(command: Callable) -> Callable:
    """Add the options that say what a run trains, samples and measures, and where."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def add_run_options(command: click.Command, left_out: Iterable[str]) -> None:
    """Add those options to a finished command, without the ones that it has itself and those named in `left_out`."""
    own = {*left_out, *(option.name for option in command.params)}
    command.params += [option for option in click.command()(run_options(lambda: None)).params if option.name not in own]


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


def overrides_of(settings: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Return dotted keys -> values of the options that were given and of --set, which takes precedence."""
    from ltgen_bench.config.recipe_files import parse_setting
    from ltgen_bench.experiments.recipes import without_recipe_settings

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


def sample_seeds_of(text: str | None, keys: Iterable[str]) -> list[int]:
    """Return the seeds of --sample-seeds, none where it is not given; `UserError` where one of `keys` (KEY=VALUE) sets it too."""
    if text is None:
        return []
    if any(key.partition("=")[0].strip() == "sample.seed" for key in keys):
        raise UserError("--sample-seeds and sample.seed say the same thing; leave one out.")
    return seeds_of(text, "--sample-seeds")


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


def run_function(evaluate_every: int | None) -> "Callable[[Plan, RunContext], Run]":
    """Return the function that carries out a plan: with a curve where `evaluate_every` is given."""
    from ltgen_bench.experiments.curves import carry_out_curve
    from ltgen_bench.experiments.pipeline import carry_out

    return carry_out if evaluate_every is None else lambda plan, context: carry_out_curve(plan, evaluate_every, context)[0]
