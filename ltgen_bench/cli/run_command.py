"""`ltgen-bench run`: train a method, sample from it, and score the images."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench import __version__
from ltgen_bench.cli.common import about, device_words, print_json, print_table, resumable, terminal_context
from ltgen_bench.cli.options import runs_option, weights_files
from ltgen_bench.cli.run_notes import planned_notes, recipe_note, show_notes, show_run, warnings_of
from ltgen_bench.cli.run_options import config_of, run_function, run_options, sample_seeds_of
from ltgen_bench.core.errors import UserError

if TYPE_CHECKING:
    from ltgen_bench.experiments.plan import Plan
    from ltgen_bench.runtime.context import RunContext


@click.command()
@run_options
@runs_option
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe and its expected cost, without running it.")
@click.option("--json", "as_json", is_flag=True, help="Print only the record, as JSON.")
def run(method: str | None, dataset: str | None, recipe: Path | None, settings: tuple[str, ...],
        extractor_weights: tuple[str, ...], method_file: Path | None, data_root: Path, device: str | None,
        threads: int | None, evaluate_every: int | None, sample_seeds: str | None, runs: Path, dry_run: bool,
        as_json: bool, **options: Any) -> None:
    """Train a method, sample from it, and score the images.

    Repeating a command continues it where it stopped; a finished run is shown.

    \b
    ltgen-bench run --method cfg --omega 1.5
    ltgen-bench run --dataset folder:photos --imbalance-factor 100 --network cpu --budget-images 20000
    """
    from ltgen_bench.experiments.recipes import resolved_runs

    config = config_of(method, dataset, recipe, method_file, settings, options)
    weights = weights_files(extractor_weights)
    configs = resolved_runs(config, sample_seeds_of(sample_seeds, settings))  # before torch is imported
    from ltgen_bench.runtime.distributed import init_process_group, local_device

    place = local_device(device)
    ranks = init_process_group(place)
    from ltgen_bench.data.load import load_dataset
    from ltgen_bench.evaluation.evaluator import check_weights
    from ltgen_bench.experiments.plan import make_plan

    check_weights([one.evaluate for one in configs], weights)
    context = replace(terminal_context(place, threads, weights), ranks=ranks)
    progress = context.progress
    with ranks.main_first():
        images = load_dataset(config.data, data_root=data_root, progress=progress)

    if config.budget is not None and config.budget.seconds is not None and ranks.size > 1:
        raise UserError("--budget-seconds: the speed is measured on one device, and this run has several; give --budget-images "
                        "or --budget-flops.")
    with ranks.main_first():
        plans = [make_plan(one, images, runs, context) for one in configs]
    if plans[0].config.evaluate.reference != configs[0].evaluate.reference:
        progress.say("the training images are not balanced, so the reference is the held-out test set" + (
            "" if len(images.test) else "; there is none, so scores that need a reference are not available (--set "
            "evaluate.reference=longtail compares with the training images)"))
    if dry_run:
        if ranks.is_main:  # of several at once each would be in the way of the others
            from ltgen_bench.cli.dry_run import show_plan

            show_plan(plans[0], context)
        ranks.barrier()
        return
    _header(plans[0], context)
    known = ranks.from_main(lambda: [plan.finished for plan in plans])
    make = run_function(evaluate_every)
    with resumable():
        results = [make(plan, context) for plan in plans]
    if as_json:
        records = [result.record.model_dump(mode="json") for result in results]
        print_json(records[0] if len(records) == 1 else records)
        return
    for result, before in zip(results, known, strict=True):
        show_run(result, before)
        if evaluate_every is not None:
            from ltgen_bench.records.curve import load_curve
            from ltgen_bench.report.curve_plots import run_curve

            print_table(run_curve(load_curve(result.plan.scores.curve)))
            click.echo(f" curve     {result.plan.scores.curve}")
    show_notes(results[-1].record, plans[-1].config, runs)


def _header(plan: "Plan", context: "RunContext") -> None:
    config, processes = plan.config, context.ranks.size
    place = device_words(context.device) if processes == 1 else f"{processes} processes, each on {device_words(context.device)}"
    for line in (f"ltgen-bench {__version__}  {config.method.name} on {about(plan.dataset)}  {place}, seed {config.seed}",
                 f"run folder  {plan.folder}", *recipe_note(config), *planned_notes(plan), *warnings_of(config)):
        context.progress.say(line)
