"""`ltgen-bench list ...`: what there is to choose from."""

import click

from ltgen_bench.cli.shared import Commands, debug_option, listing


@click.group(name="list", cls=Commands)
def list_() -> None:
    """List methods, datasets, metrics, samplers or recipes."""


@list_.command()
@debug_option
def methods() -> None:
    """Methods that can be trained."""
    from ltgen_bench.methods import METHODS

    listing([(name, f"{METHODS[name].summary} (extra forward passes: {METHODS[name].extra_forwards})", METHODS[name].source)
              for name in METHODS], ("method", "idea", "source"))


@list_.command()
@debug_option
def datasets() -> None:
    """Data sets by name, and the forms for your own."""
    from ltgen_bench.data.catalog import DATASETS, OWN_FORMS, SPELLINGS

    rows = [(name, DATASETS[name].summary, DATASETS[name].source) for name in DATASETS]
    listing(rows + [(spelling, OWN_FORMS[spelling.partition(":")[0]], "yours") for spelling in SPELLINGS if ":" in spelling],
             ("data set", "what it is", "source"))


@list_.command()
@debug_option
def metrics() -> None:
    """Metrics, and the extractors whose features they read."""
    from ltgen_bench.evaluation.description import describe_extractors, describe_metrics

    rows = [(m["name"], f"{m['title']} {m['better']}  {m['summary']}", m["source"]) for m in describe_metrics()]
    listing(rows + [(e["name"], f"extractor: {e['summary']}", e["source"]) for e in describe_extractors()],
             ("metric", "what it says", "source"))


@list_.command()
@debug_option
def samplers() -> None:
    """Samplers that draw the images."""
    from ltgen_bench.diffusion.samplers import SAMPLERS

    listing([(name, SAMPLERS[name].summary, SAMPLERS[name].source) for name in SAMPLERS], ("sampler", "how", "source"))


@list_.command()
@debug_option
def recipes() -> None:
    """Recipes that ship with the package."""
    from ltgen_bench.config import RunConfig
    from ltgen_bench.recipes import shipped_recipes

    found = [(path, RunConfig.from_recipe(path)) for path in shipped_recipes()]
    listing([(f"{path.parent.name}/{path.stem}", f"{config.train.budget_images:,} images, {config.sample.sampler} "
               f"{config.sample.steps}, omega {config.sample.omega:g}", config.source) for path, config in found],
             ("recipe", "budget and sampling", "source"))
