"""Output of `ltgen-bench run --dry-run`: the whole recipe, and its cost on this machine."""

from typing import TYPE_CHECKING

import click

from ltgen_bench.cli.common import about
from ltgen_bench.cli.run_notes import planned_notes, recipe_note, warnings_of

if TYPE_CHECKING:
    from ltgen_bench.experiments.plan import Plan
    from ltgen_bench.runtime.context import RunContext


def show_plan(plan: "Plan", context: "RunContext") -> None:
    """Print the recipe as TOML, and the expected cost from a few measured steps as comments. Writes no files."""
    from datetime import timedelta

    from ltgen_bench.diffusion.network import network_shape
    from ltgen_bench.experiments.speed_probe import estimate
    from ltgen_bench.experiments.workload import long_stages

    dataset, sample = plan.dataset, plan.config.sample
    click.echo(plan.spelled_out.to_toml())
    groups = {name.partition("@")[0]: len(classes) for name, classes in dataset.groups.items() if name.endswith("@thirds")}
    counts = dataset.class_counts
    shown = ", ".join(map(str, counts if len(counts) <= 20 else [*counts[:10], "...", *counts[-5:]]))
    click.echo(f"# data         {about(dataset)}, fingerprint {dataset.fingerprint}")
    click.echo(f"# classes      {shown}   ({', '.join(f'{n} {name}' for name, n in groups.items())})")
    click.echo(f"# split        {'' if dataset.split is None else dataset.split.id}")
    click.echo(f"# run folder   {plan.folder}{' (finished)' if plan.finished else ''}")
    for line in (*recipe_note(plan.config), *planned_notes(plan), *warnings_of(plan.config), *long_stages(plan.config, dataset)):
        click.echo(f"# {line}")
    found = estimate(plan, context.device)
    seconds = (found.train_seconds, found.sample_seconds, found.evaluate_seconds)
    train, draw, judge = (timedelta(seconds=round(number)) for number in seconds)
    images = sample.images_per_class * dataset.num_classes
    processes = context.ranks.size
    alone = "" if processes == 1 else f" alone (the run has {processes} processes)"
    shape = network_shape(plan.config.network)
    channels, attention = (", ".join(map(str, numbers)) for numbers in (shape.channels, shape.attention))
    click.echo(f"# network      channels {channels}; residual blocks per level {shape.blocks}; levels with attention "
               f"{attention or 'none'}; dropout {shape.dropout:g}")
    click.echo(f"# parameters   {found.parameters:,}")
    click.echo(f"# training     about {train} on this {context.device}{alone} at {found.train_images_per_second:,.1f} images/s")
    click.echo(f"# sampling     about {draw} for {images:,} images")
    click.echo(f"# memory       {found.memory_words}")
    click.echo(f"# evaluation   about {judge}, less with cached features: {'; '.join(part.words for part in found.evaluation)}")
    written = "no run was started" if plan.config.budget is None else "only the number of images of the budget was stored"
    click.echo(f"# estimated from {found.measured_steps} measured steps; {written}")
