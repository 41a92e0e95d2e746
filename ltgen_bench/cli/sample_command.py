"""`ltgen-bench sample`: draw images from a network in a diffusers folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench import __version__
from ltgen_bench.cli.common import device_words, resumable, terminal_context
from ltgen_bench.cli.options import (
    FILE,
    batch_option,
    data_config,
    data_options,
    data_values,
    device_option,
    table_values,
    threads_option,
)
from ltgen_bench.core.errors import UserError

if TYPE_CHECKING:
    from ltgen_bench.config.schema import DataConfig, SampleConfig
    from ltgen_bench.export.diffusers_folder import StoredNetwork
    from ltgen_bench.export.folder_samples import Drawing


@click.command()
@click.argument("network", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="NAME", help="Data set of a network that does not state its own.")
@data_options
@click.option("--omega", type=float, help="Guidance strength: eps = cond + omega (cond - null).")
@click.option("--sampler", metavar="NAME", help="Sampler (ltgen-bench list samplers).")
@click.option("--steps", type=int, metavar="N", help="Sampling steps: network evaluations per image.")
@click.option("--images-per-class", type=int, metavar="N", help="Images of each class.")
@batch_option("Batch size of sampling; auto: the fastest on this machine, found in some seconds.")
@click.option("--seed", type=int, metavar="N", help="Seed of the initial noise.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override one value, e.g. sample.labels=uniform.")
@device_option
@threads_option
@click.option("--out", type=FILE, metavar="FILE.npz", help="File for images and labels.  [default: by network and settings]")
def sample(network: Path, dataset: str | None, settings: tuple[str, ...], data_root: Path, device: str | None,
           threads: int | None, out: Path | None, **options: Any) -> None:
    """Draw images from a network in a folder of diffusers.

    NETWORK is what `ltgen-bench export` wrote, which brings the sampler and all its settings, or any class-conditional
    UNet2DModel in safetensors that predicts the noise of DDPM's linear schedule, or the velocity of rectified flow
    (by its scheduler, FlowMatch...): with num_class_embeds, or with class_embed_type "identity" and class_embedding.safetensors
    beside it (`weight`: a row a class). A last row beyond the classes of --dataset means no label. What no option says of such
    a one is as the recipes of its data set have it, without guidance. Repeating a command continues it.

    \b
    ltgen-bench sample cbdm-digits --omega 2 --out samples.npz
    ltgen-bench sample theirs --dataset cifar10-lt --sampler ddim --steps 100 --omega 1.5 --out theirs.npz
    ltgen-bench evaluate theirs.npz --dataset cifar10-lt
    """
    from ltgen_bench.sampling.samplers import SAMPLERS

    data = _data(dataset, options)
    changes = table_values("sample", {"batch_size": options.pop("batch"), **options}, settings, "nothing is trained or scored")
    if isinstance(changes.get("sampler"), str):
        SAMPLERS.check(changes["sampler"])
    _check_place(network)
    from ltgen_bench.data.load import load_dataset
    from ltgen_bench.export.diffusers_folder import read_network
    from ltgen_bench.export.folder_samples import draw, is_drawn, make_drawing

    context, stored = terminal_context(device, threads), read_network(network)
    config = _configured(stored, data, changes)
    images = None if data is None else load_dataset(data, data_root=data_root, progress=context.progress)
    drawing = make_drawing(stored, config, images)
    place = out or Path(f"{network.resolve().name}-{drawing.digest}.npz")
    if is_drawn(drawing, place):
        click.echo(f"drawn before; shown from {place}")
    else:
        context.progress.say(f"ltgen-bench {__version__}  {_words(drawing)}  {device_words(context.device)}")
        with resumable():
            draw(drawing, place, context)
    _show(drawing, place, data)


def _data(dataset: str | None, options: dict[str, Any]) -> "DataConfig | None":
    from ltgen_bench.data.catalog import find_source

    values = data_values(options)
    if dataset is not None:
        find_source(dataset)
        return data_config(dataset, values)
    if values:
        raise UserError(f"--{next(iter(values)).replace('_', '-')}: it says more of a data set; name that with --dataset.")
    return None


def _check_place(network: Path) -> None:
    """Raise `UserError` where `network` is no folder, or a run folder, before torch is imported."""
    from ltgen_bench.records.run_folder import RunFolder

    if RunFolder(network).is_run:
        raise UserError(f"{network} is a run; write its network into a folder of its own: ltgen-bench export {network} DIR, or "
                        "draw from it by repeating its ltgen-bench run with another --omega, --sampler or --images-per-class.")
    if not network.is_dir():
        raise UserError(f"{network}: there is no such folder; the network of a run becomes one by: ltgen-bench export RUN DIR")


def _configured(stored: "StoredNetwork", data: "DataConfig | None", changes: dict[str, Any]) -> "SampleConfig":
    """Return the sampling settings: of the folder, else of the data set's recipe without guidance, with `changes` applied."""
    from ltgen_bench.config.schema import SampleConfig
    from ltgen_bench.core.validation import validate
    from ltgen_bench.experiments.recipes import resolve_recipe

    if stored.facts is not None:
        own = stored.facts.sample
    elif data is not None:
        images = {"data.image_size": data.image_size, "data.columns": data.columns, "process.name": stored.process}
        recipe = resolve_recipe(recipe=None, method=None, dataset=data.name,
                                overrides={key: value for key, value in images.items() if value is not None})
        own = recipe.sample.model_copy(update={"omega": 0.0})
    else:
        own = SampleConfig()
    return validate(SampleConfig, {**own.model_dump(mode="json"), **changes}, where="the command line", prefix="sample.")


def _words(drawing: "Drawing") -> str:
    """Return the network and its sampling settings in words."""
    facts, config = drawing.network.facts, drawing.config
    whose = f" ({facts.name})" if facts is not None else ""
    classes = len(drawing.class_names)
    how_many = f"{config.images_per_class:,} images of each of {classes} classes" if config.labels == "balanced" else \
        f"{config.images_per_class * classes:,} images of random classes"
    return (f"{drawing.network.folder}{whose}: {how_many}, {config.sampler} {config.steps}, omega {config.omega:g}, seed "
            f"{config.seed}")


def _show(drawing: "Drawing", out: Path, data: "DataConfig | None") -> None:
    from ltgen_bench.export.folder_samples import sheet_of
    from ltgen_bench.export.model_card import evaluate_command

    facts, labels = drawing.network.facts, drawing.config.labels
    if facts is not None:
        following = evaluate_command(str(out), data or facts.data, facts.row, facts.seed, labels)
    else:
        assert data is not None, "a network from elsewhere has its classes from a data set"
        following = evaluate_command(str(out), data, drawing.network.folder.resolve().name, 0, labels)
    click.echo(f" samples   {out}\n sheet     {sheet_of(out)}\n next      {following}")
