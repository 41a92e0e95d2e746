"""A configuration and the command that is printed for it mean the same run."""

import tomllib

import pytest

from ltgen_bench.config.schema import MethodConfig, RunConfig
from ltgen_bench.core.validation import dotted
from ltgen_bench.experiments.command_lines import as_command
from ltgen_bench.experiments.recipes import resolve_recipe, shipped_recipes
from ltgen_bench.methods import normalised


def digests(config):
    config = config.model_copy(update={"method": normalised(config.method)})
    return config.train_digest("data"), config.sample_digest("train"), config.seed, config.data


@pytest.mark.parametrize("path", shipped_recipes(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_recipe_is_a_short_command(path, read_back):
    config = RunConfig.from_recipe(path)
    command = as_command(config)
    assert digests(read_back(command)) == digests(config)
    assert "--set" not in command
    assert len(command.split()) <= 6


@pytest.mark.parametrize(("overrides", "words"), [
    ({"sample.omega": 2.5, "sample.steps": 50, "sample.sampler": "ddim"}, "--omega 2.5"),
    ({"sample.labels": "uniform", "sample.images_per_class": 5000}, "--set sample.labels=uniform"),
    ({"seed": 3, "train.budget_images": 320}, "--seed 3"),
    ({"method.tau": 0.5, "method.auxiliary_labels": "uniform"}, "--set method.tau=0.5"),
    ({"network.channels": [8, 16], "train.learning_rate": 1e-5}, "network.channels=[8, 16]"),
    ({"data.imbalance_factor": 10.0, "data.profile": "step"}, "--imbalance-factor 10"),
    ({"data.imbalance_factor": "natural", "data.split_seed": 4, "data.class_order": 7}, "--imbalance-factor natural"),
    ({"evaluate.preset": "cbdm-paper", "evaluate.k": 3}, "--preset cbdm-paper"),
])
def test_what_differs_from_the_recipe_stands_in_the_command(overrides, words, read_back):
    config = resolve_recipe(recipe=None, method="cbdm", dataset="digits-lt", overrides=overrides)
    command = as_command(config)
    assert words in command
    assert digests(read_back(command)) == digests(config)
    assert read_back(command).evaluate.preset == overrides.get("evaluate.preset")


def test_a_method_of_ones_own_needs_its_file():
    config = RunConfig(method=MethodConfig(name="mine"))
    assert "--method mine --method-file FILE" in as_command(config)


def test_where_no_command_says_it_there_is_none():
    """The digits' recipe states channels or not; a recipe of one's own that takes away what it states has no option."""
    shipped = resolve_recipe(recipe=None, method="cbdm", dataset="cifar10-lt", overrides={})
    stated = tomllib.loads(shipped.to_toml())
    assert "imbalance_factor" not in stated["data"]
    without = shipped.model_copy(update={"data": shipped.data.model_copy(update={"name": "digits-lt"})})
    assert as_command(without).startswith("ltgen-bench run --")


def test_nested_tables_become_dotted_keys():
    assert dotted({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}
