"""The README of an exported network: what it is, how it is used, how good it was, and what to cite."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

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
    """The whole text, in Markdown with the header that model hubs read: `templates/model_card.md.j2`."""
    config, facts, sample = one.config, one.facts, one.facts.sample
    method, augmentation = METHODS[config.method.name], AUGMENTATIONS[config.train.augment]
    works = [Work(config.method.name, method.summary, method.source, method.cites, method.__module__)]
    if augmentation.cites:
        works.append(Work(config.train.augment, augmentation.summary, augmentation.source, augmentation.cites))
    made = SAMPLERS[sample.sampler].make(sample.steps)
    fresh = type(made).from_config(made.config)
    fresh.set_timesteps(made.num_inference_steps)
    channels, height, width = one.dataset.image_shape
    scores = None if one.record is None or one.scores is None else terminal(run_table(one.record, one.scores), WIDTH, color=False)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)
    environment.filters |= {"thousands": "{:,}".format, "short": "{:g}".format,
                            "cell": lambda value: " ".join(str(value).split()).replace("|", "/")}
    return environment.get_template("model_card.md.j2").render(
        one=one, config=config, train=config.train, dataset=one.dataset, facts=facts, sample=sample, method=method,
        augmentation=augmentation, network=network_shape(config.network), process=PROCESSES[config.process.name],
        channels=channels, height=height, width=width, version=__version__, embedding=EMBEDDING, facts_file=FACTS,
        at_the_end=one.images == config.train.budget_images, own_method=method.__module__.startswith(USER_MODULE),
        scheduler=type(made).__name__, scheduler_steps=made.num_inference_steps,
        more_times=len(fresh.timesteps) > sample.steps, shown_classes=min(SHOWN, one.dataset.num_classes),
        evaluate_command=evaluate_command("samples.npz", facts.data, facts.row, facts.seed, sample.labels),
        scores=None if scores is None else "\n".join(scores.rstrip().splitlines()),
        data_licence=find_source(facts.data.name).licence, bibtex=bibtex(works).rstrip())


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
