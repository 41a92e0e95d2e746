"""A configuration as the `ltgen-bench run` command that means it: what a user is told to type next."""

import json
import shlex
from typing import Any

from ltgen_bench.config.recipe_files import parse_setting
from ltgen_bench.config.schema import ProcessConfig, RunConfig, TrainConfig
from ltgen_bench.core.validation import dotted
from ltgen_bench.experiments.recipes import DEFAULT_DATASET, DEFAULT_METHOD, resolve_recipe
from ltgen_bench.methods import METHODS, spelled_out

OPTIONS = {
    "seed": "--seed", "data.imbalance_factor": "--imbalance-factor", "data.profile": "--profile",
    "data.split_seed": "--split-seed", "data.class_order": "--class-order", "data.split": "--split",
    "data.index_list": "--index-list", "data.test_list": "--test-list", "data.test_part": "--test-part",
    "data.image_size": "--image-size",
    "train.budget_images": "--budget-images", "train.augment": "--augment", "network.preset": "--network",
    "sample.omega": "--omega", "sample.sampler": "--sampler", "sample.steps": "--steps",
    "sample.images_per_class": "--images-per-class",
}


def as_command(config: RunConfig) -> str:
    """`ltgen-bench run ...` with what `config` has otherwise than the recipe of its method and data.

    Of `evaluate` only a preset is named, whose rules then hold. Empty where no command says it: a recipe of the user's own
    may leave out what the shipped one states.
    """
    method, dataset, augment = config.method.name, config.data.name, config.train.augment
    named = {} if augment == TrainConfig().augment else {"train.augment": augment}  # it may have a recipe of its own
    process = {} if config.process == ProcessConfig() else {"process.name": config.process.name}
    small = {} if config.network.preset != "cpu" else {"network.preset": "cpu"}  # which is sampled otherwise
    shipped = resolve_recipe(recipe=None, method=method, dataset=dataset, overrides={**named, **process, **small})
    theirs, mine = _values(shipped), _values(config)
    if theirs.pop("sample.share") is not None:
        del theirs["sample.images_per_class"]  # it depends on the budget, and is said
    mine.pop("sample.share")
    if small and mine["sample.sampler"] != theirs["sample.sampler"]:
        del theirs["sample.steps"]  # a sampler of one's own keeps those of the large network
    if method not in METHODS:
        del theirs["sample.omega"]  # whose recipe it takes is not known here
    words = ["ltgen-bench", "run"]
    words += ["--method", method] if method != DEFAULT_METHOD else []
    words += ["--method-file", "FILE"] if method not in METHODS else []
    words += ["--dataset", dataset] if dataset != DEFAULT_DATASET else []
    words += ["--augment", augment] if named else []
    words += ["--process", config.process.name] if process else []
    words += ["--network", "cpu"] if small else []
    words += ["--preset", config.evaluate.preset] if config.evaluate.preset else []
    for key in dict.fromkeys((*mine, *theirs)):
        value = mine.get(key)
        if value == theirs.get(key):
            continue
        if value is None:
            return ""
        words += [OPTIONS[key], f"{value:g}" if isinstance(value, float) else str(value)] if key in OPTIONS else \
            ["--set", f"{key}={_toml(key, value)}"]
    return shlex.join(words)


def _values(config: RunConfig) -> dict[str, Any]:
    """Dotted key -> value of everything that decides training and sampling. Whatever else a budget was, it is in images."""
    if config.method.name in METHODS:
        config = config.model_copy(update={"method": spelled_out(config.method)})
    nested = config.model_dump(mode="json", exclude={"source", "reported", "evaluate", "budget"})
    return {key: value for key, value in dotted(nested).items() if key not in ("method.name", "data.name")}


def _toml(key: str, value: Any) -> str:
    """`value` as --set reads it back: plain text where that is no TOML, else as JSON, which TOML understands."""
    if isinstance(value, str) and parse_setting(f"{key}={value}")[1] == value:
        return value
    return json.dumps(value)
