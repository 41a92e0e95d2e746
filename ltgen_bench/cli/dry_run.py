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
    from ltgen_bench.experiments.workload import long_stages

    click.echo(plan.spelled_out.to_toml())
    dataset, counts = plan.dataset, plan.dataset.class_counts
    groups = {name.partition("@")[0]: len(classes) for name, classes in dataset.groups.items() if name.endswith("@thirds")}
    shown = ", ".join(map(str, counts if len(counts) <= 20 else [*counts[:10], "...", *counts[-5:]]))
    written = "no run was started" if plan.config.budget is None else "only the number of images of the budget was stored"
    for line in (f"data         {about(dataset)}, fingerprint {dataset.fingerprint}",
                 f"classes      {shown}   ({', '.join(f'{n} {name}' for name, n in groups.items())})",
                 f"split        {'' if dataset.split is None else dataset.split.id}",
                 f"run folder   {plan.folder}{' (finished)' if plan.finished else ''}",
                 *recipe_note(plan.config), *planned_notes(plan), *warnings_of(plan.config), *long_stages(plan.config, dataset),
                 *cost_lines(plan, context), written):
        click.echo(f"# {line}")


def cost_lines(plan: "Plan", context: "RunContext") -> list[str]:
    """Return size, time and memory of the stages of `plan` on this machine, in lines, from a few measured steps."""
    from datetime import timedelta

    from ltgen_bench.diffusion.network import network_shape
    from ltgen_bench.experiments.speed_probe import estimate

    found, config, processes = estimate(plan, context.device), plan.config, context.ranks.size
    train, draw, judge = (timedelta(seconds=round(seconds))
                          for seconds in (found.train_seconds, found.sample_seconds, found.evaluate_seconds))
    alone = "" if processes == 1 else f" alone (the run has {processes} processes)"
    shape, sample = network_shape(config.network), config.sample
    channels, attention = (", ".join(map(str, numbers)) for numbers in (shape.channels, shape.attention))
    memory = "not known on this machine" if found.memory_mb is None else f"about {found.memory_mb / 1000:.1f} GB"
    return [f"network      channels {channels}; residual blocks per level {shape.blocks}; levels with attention "
            f"{attention or 'none'}; dropout {shape.dropout:g}",
            f"parameters   {found.parameters:,}",
            f"training     about {train} on this {context.device}{alone} at {found.train_images_per_second:,.1f} images/s, for "
            f"{config.train.budget_images:,} images",
            f"sampling     about {draw} for {sample.images_per_class * plan.dataset.num_classes:,} images by {sample.sampler} "
            f"{sample.steps}",
            f"memory       {memory}",
            f"evaluation   about {judge}, less with cached features: {'; '.join(part.words for part in found.evaluation)}",
            f"estimated from {found.measured_steps} measured steps"]
