"""The README of an exported network: what it is, how it is used, how good it was, and what to cite."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from ltgen_bench import __version__
from ltgen_bench.config.schema import DataConfig, RunConfig
from ltgen_bench.core.validation import dotted
from ltgen_bench.data.catalog import find_source
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.diffusion.network import network_shape
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.experiments.command_lines import OPTIONS
from ltgen_bench.export.diffusers_folder import EMBEDDING, FACTS, Facts
from ltgen_bench.methods import METHODS, USER_MODULE
from ltgen_bench.methods.references import Work, bibtex
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.report.run_table import run_table
from ltgen_bench.report.table_formats import terminal
from ltgen_bench.sampling.samplers import SAMPLERS
from ltgen_bench.training.augmentation import AUGMENTATIONS

WIDTH = 110  # of the table of scores
SHOWN = 10  # classes that the example draws


@dataclass(frozen=True)
class Described:
    """What a card is made of. `images` were seen in training; `checksums` are SHA-256 by file name; `record`, `scores` and
    `sheet` are of samples by this network alone, or None."""

    config: RunConfig
    images: int
    record: RunRecord | None
    scores: Scores | None
    dataset: LongTailDataset
    facts: Facts
    parameters: int
    alone: bool  # whether the method samples by this network alone
    checksums: Mapping[str, str]
    sheet: str | None


def card(one: Described) -> str:
    """The whole text, in Markdown with the header that model hubs read."""
    picture = [] if one.sheet is None else [f"![Samples of each class, with its training images]({one.sheet})"]
    scores = [] if one.record is None or one.scores is None else [_scores(one.record, one.scores)]
    return "\n\n".join([_header(one), *picture, _table(one), *_remarks(one), _use(one), _classes(one), _again(one), *scores,
                        _licence(one)]) + "\n"


def evaluate_command(samples: str, data: DataConfig, name: str, seed: int, labels: str) -> str:
    """Return the command that scores `samples`, with labels of that policy, as a row `name` with this seed."""
    uniform = ["--label-policy", labels] if labels != "balanced" else []
    return shlex.join(["ltgen-bench", "evaluate", samples, "--dataset", *data_options(data), "--name", name, *uniform,
                       *(["--seed", str(seed)] if seed else [])])


def data_options(data: DataConfig) -> list[str]:
    """The name of the data set, and options of the command line for all else that `data` states."""
    values = dotted({"data": data.model_dump(mode="json", exclude_defaults=True, exclude={"name", "flip"})})
    columns = values.pop("data.columns", None)
    words = [data.name, *([] if columns is None else ["--columns", ",".join(columns)])]
    for key, value in values.items():
        words += [OPTIONS[key], f"{value:g}" if isinstance(value, float) else str(value)]
    return words


def _header(one: Described) -> str:
    channels, height, width = one.dataset.image_shape
    colours = "grey" if channels == 1 else "RGB"
    return "\n".join([
        "---", "library_name: diffusers", "tags: [diffusion, class-conditional, long-tailed, ltgen-bench]",
        "# license: name here the terms under which you publish this network", "---", "",
        f"# {one.config.method.name} on {one.dataset.name}", "",
        f"A class-conditional diffusion model of {width} x {height} {colours} images, trained on long-tailed (class-imbalanced) "
        f"data with ltgen-bench {__version__}."])


def _table(one: Described) -> str:
    config, data, facts = one.config, one.dataset, one.facts
    counts, train, sample = data.class_counts, config.train, facts.sample
    settings = ", ".join(f"{key} = {value}" for key, value in config.method.settings.items())
    shape = network_shape(config.network)
    end = one.images == train.budget_images
    seen = f"{one.images:,} images" if end else f"{one.images:,} of the run's {train.budget_images:,} images"
    rows = {
        "data": f"{data.name}: {len(data.train):,} training images of {data.num_classes} classes, {max(counts):,} of the most "
                f"frequent and {min(counts):,} of the rarest; fingerprint `{data.fingerprint}`",
        "method": f"`{config.method.name}`: {METHODS[config.method.name].summary}",
        "settings": settings,
        "source": METHODS[config.method.name].source,
        "training": f"{seen} in batches of {train.batch_size}, learning rate {train.learning_rate:g}, "
                    f"augmentation `{train.augment}`; these are the averaged weights (half-life {train.ema_halflife_images:,} "
                    "images)",
        "network": f"`UNet2DModel` of {one.parameters:,} numbers, channels {', '.join(map(str, shape.channels))}; predicts the "
                   f"{PROCESSES[config.process.name].predicts}",
        "sampling": f"{sample.sampler}, {sample.steps} steps, "
                    + (f"guidance omega = {sample.omega:g}" if facts.null_label else "no guidance"),
        "run": f"`{facts.name}`: method, digest of the training, seed {facts.seed}",
        **{f"`{name}`": f"SHA-256 `{checksum}`" for name, checksum in one.checksums.items()}}
    lines = [f"| {key} | {' '.join(value.split()).replace('|', '/')} |" for key, value in rows.items() if value]
    return "\n".join(["| | |", "|---|---|", *lines])


def _remarks(one: Described) -> list[str]:
    """Return the limitations of the exported network."""
    remarks = []
    if not one.alone:
        remarks.append(f"**The method `{one.config.method.name}` draws its images by more than this network.** What it adds "
                       "(guidance by another network, say) is not in this folder: it holds the unguided network. The samples and "
                       "scores of the method are not those of this network, and are not here.")
    if not one.facts.null_label:
        remarks.append("There is no guidance with this network: no prediction for \"no label\" was trained with it, so the last "
                       f"row of `{EMBEDDING}` means nothing.")
    if AUGMENTATIONS[one.config.train.augment].condition_dim:
        remarks.append("In training a condition vector told the network how an image was changed "
                       f"(`{one.config.train.augment}`). Images are drawn without it, so its layer was left out.")
    return remarks


def _use(one: Described) -> str:
    channels, height, width = one.dataset.image_shape
    sample, classes = one.facts.sample, min(SHOWN, one.dataset.num_classes)
    made = SAMPLERS[sample.sampler].make(sample.steps)
    scheduler, fresh = type(made).__name__, type(made).from_config(made.config)
    fresh.set_timesteps(made.num_inference_steps)
    cut = f"[:{sample.steps}]" if len(fresh.timesteps) > sample.steps else ""
    guide = one.facts.null_label
    strength, last = (f", {sample.omega:g}", ', and a last one for "no label"') if guide else ("", "")
    to_pillow = "images[:, 0]" if channels == 1 else "images.permute(0, 2, 3, 1)"
    lines = [
        "import torch",
        f"from diffusers import {scheduler}, UNet2DModel",
        "from PIL import Image",
        "from safetensors.torch import load_file",
        "",
        'folder = "."  # where this file lies',
        "unet = UNet2DModel.from_pretrained(folder)",
        f"scheduler = {scheduler}.from_pretrained(folder)",
        f"scheduler.set_timesteps({made.num_inference_steps})",
        f'rows = load_file(f"{{folder}}/{EMBEDDING}")["weight"]  # one a class{last}',
        f"labels{', omega' if guide else ''} = torch.arange({classes}){strength}",
        f"x = torch.randn(len(labels), {channels}, {height}, {width}, generator=torch.Generator().manual_seed(0))",
        "with torch.inference_mode():",
        f"    for t in scheduler.timesteps{cut}:",
        "        predicted = unet(x, t, class_labels=rows[labels]).sample",
        *(["        null = unet(x, t, class_labels=rows[-1:].expand(len(labels), -1)).sample",
           "        predicted = predicted + omega * (predicted - null)"] if guide else []),
        "        x = scheduler.step(predicted, t, x).prev_sample",
        "images = ((x.clamp(-1, 1) + 1) * 127.5).round().byte()",
        f'Image.fromarray({to_pillow}.flatten(0, 1).numpy()).save("images.png")']
    return "\n".join(["## Use", "", "With diffusers, torch, safetensors and Pillow; one image a class, below each other:", "",
                      "```python", *lines, "```"])


def _classes(one: Described) -> str:
    named = ", ".join(f"{label}: {name} ({count:,})" for label, (name, count)
                      in enumerate(zip(one.facts.class_names, one.facts.class_counts, strict=True)))
    return f"Labels, and how many training images each had: {named}."


def _again(one: Described) -> str:
    facts = one.facts
    file = " --method-file FILE" if METHODS[one.config.method.name].__module__.startswith(USER_MODULE) else ""
    by_the_way = "" if one.images == one.config.train.budget_images else f" --evaluate-every {one.images}"
    commands = ["ltgen-bench sample . --out samples.npz",
                evaluate_command("samples.npz", facts.data, facts.row, facts.seed, facts.sample.labels),
                f"ltgen-bench run --recipe recipe.toml{file}{by_the_way}"]
    words = "Draw the images that it was scored by, score them, and train it again:" if one.alone else \
        "Draw images, score them, and train it again:"
    return "\n".join([f"In this folder, with ltgen-bench. {words}", "", "```", *commands, "```", "",
                      f"`{FACTS}` holds how it is sampled there; `recipe.toml` holds every value of its training."])


def _scores(record: RunRecord, scores: Scores) -> str:
    lines = terminal(run_table(record, scores), WIDTH, color=False).rstrip().splitlines()
    return "\n".join(["## Scores", "", "As measured by ltgen-bench. Only numbers of one protocol compare "
                      "(`ltgen-bench protocol show ID`).", "", "```", *lines, "```"])


def _licence(one: Described) -> str:
    method, augmentation = METHODS[one.config.method.name], AUGMENTATIONS[one.config.train.augment]
    works = [Work(one.config.method.name, method.summary, method.source, method.cites, method.__module__),
             *([Work(one.config.train.augment, augmentation.summary, augmentation.source, augmentation.cites)]
               if augmentation.cites else [])]
    return "\n".join(["## Licence and citation", "",
                      "ltgen-bench is under Apache-2.0, which says nothing of this network: state your terms in the header of "
                      f"this file. Those of the data: {find_source(one.facts.data.name).licence}. If you use the network, cite "
                      "what it was trained by:", "", "```bibtex", bibtex(works).rstrip(), "```"])
