"""`ltgen-bench list ...`: available methods, data sets, metrics and so on."""

from typing import TYPE_CHECKING

import click

from ltgen_bench.cli.common import Commands, listing, terminal_context
from ltgen_bench.cli.run_notes import recipe_words

if TYPE_CHECKING:
    from ltgen_bench.experiments.speed.speed_rows import Costs


@click.group(name="list", cls=Commands)
def list_() -> None:
    """List methods, processes, augmentations, datasets, metrics, samplers or recipes."""


@list_.command()
@click.option("--measure", is_flag=True, help="Measure the costs on this machine (some seconds per method).")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads of --measure.  [default: torch's choice]")
def methods(measure: bool, threads: int | None) -> None:
    """List the methods.

    The cost is the training time per image relative to ddpm. Evidence says where the definition was read; see ltgen-bench
    method show NAME.
    """
    from rich.console import Console

    from ltgen_bench.experiments.speed.speed_rows import shipped_costs
    from ltgen_bench.methods import METHODS

    costs = _costs_here(threads) if measure else shipped_costs()
    rows: list[tuple[str, ...]] = []
    for name in METHODS:
        cost = f"{costs.relative[name]:.2f}" if name in costs.relative else ""
        needed, evidence, summary, passes, source = METHODS.facts(name, "needs_process", "evidence", "summary", "extra_forwards",
                                                                  "source")
        alone = "" if needed is None else f"; process {needed[0]} alone: {needed[1]}"
        rows.append((name, cost, evidence, f"{summary}{alone}", passes, source))
    console = Console()
    if console.is_terminal:
        click.echo(_methods_table(rows, costs.where, console.width, not console.no_color), nl=False)
    else:
        for name, cost, evidence, idea, passes, source in rows:
            click.echo("\t".join((name, idea, source, passes, cost, evidence)))


def _costs_here(threads: int | None) -> "Costs":
    from ltgen_bench.experiments.speed import STAGES
    from ltgen_bench.experiments.speed.speed_rows import Conditions, Sizes, costs_of
    from ltgen_bench.runtime.device import hardware, versions

    context = terminal_context(None, threads)
    conditions = Conditions(Sizes(), str(context.device))
    rows = STAGES["methods"](conditions, context.progress)
    return costs_of({row.what: row.ratio for row in rows}, rows[0].size, {**hardware(context.device), **versions()})


def _methods_table(rows: list[tuple[str, ...]], where: str, width: int, color: bool) -> str:
    """Return the table of methods: short columns side by side, idea and source below over the whole width."""
    from ltgen_bench.report.table import Cell, Head, Row, Table
    from ltgen_bench.report.table_formats import terminal

    heads = (Head("method", "method", number=False), Head("cost", "cost"), Head("evidence", "evidence", number=False),
             Head("idea", "idea", prose=True), Head("extra passes", "passes", prose=True), Head("source", "source", prose=True))
    body = tuple(Row(tuple(map(Cell, row))) for row in rows)
    return terminal(Table("methods", "", heads, body, (f"cost: training time of an image / ddpm's, on {where}.",)), width, color)


@list_.command()
def processes() -> None:
    """Noise processes, for any method that does not need one of its own (ltgen-bench method show NAME)."""
    from ltgen_bench.diffusion import PROCESSES
    from ltgen_bench.sampling.samplers import samplers_of

    rows = [(name, *PROCESSES.facts(name, "summary", "source")) for name in PROCESSES]
    listing([(name, f"{summary}; samplers: {', '.join(samplers_of(name))}", source) for name, summary, source in rows],
            ("process", "what it is", "source"))


@list_.command()
def augmentations() -> None:
    """List the augmentations of training images, for any method."""
    from ltgen_bench.training.augmentation import AUGMENTATIONS

    listing([(name, *AUGMENTATIONS.facts(name, "summary", "source")) for name in AUGMENTATIONS],
            ("augmentation", "what is done", "source"))


@list_.command()
def datasets() -> None:
    """List the data sets by name, and the forms for your own."""
    from ltgen_bench.data.catalog import DATASETS, OWN_FORMS, SPELLINGS

    rows = [(name, DATASETS[name].summary, DATASETS[name].source) for name in DATASETS]
    listing(rows + [(spelling, OWN_FORMS[spelling.partition(":")[0]], "yours") for spelling in SPELLINGS if ":" in spelling],
             ("data set", "what it is", "source"))


@list_.command()
def metrics() -> None:
    """List the metrics, and the extractors of their features."""
    from ltgen_bench.evaluation.extractors import EXTRACTORS
    from ltgen_bench.evaluation.metrics import METRICS
    from ltgen_bench.report.numbers import SMALL_SAMPLE_MARK, facts

    rows = [(one.name, f"{facts(one.name).heading}  {one.summary}{'; on request (--metrics)' if one.on_request else ''}; "
                       f"{SMALL_SAMPLE_MARK} at values of fewer than {one.enough.why}", one.source)
            for one in (METRICS[name] for name in METRICS)]
    listing(rows + [(name, f"extractor: {EXTRACTORS[name].summary}", EXTRACTORS[name].source) for name in EXTRACTORS],
             ("metric", "what it says", "source"))


@list_.command()
def samplers() -> None:
    """List the samplers."""
    from ltgen_bench.sampling.samplers import SAMPLERS

    listing([(name, f"process {SAMPLERS[name].process}: {SAMPLERS[name].summary}", SAMPLERS[name].source) for name in SAMPLERS],
            ("sampler", "how", "source"))


@list_.command()
def recipes() -> None:
    """List the recipes that ship with the package."""
    from ltgen_bench.config.schema import RunConfig
    from ltgen_bench.experiments.recipes import shipped_recipes

    found = [(path, RunConfig.from_recipe(path)) for path in shipped_recipes()]
    listing([(f"{path.parent.name}/{path.stem}", recipe_words(config), config.source) for path, config in found],
             ("recipe", "budget and sampling", "source"))


