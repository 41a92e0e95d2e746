"""`ltgen-bench search`: choose settings on one half of the real images, and report on the other."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench import __version__
from ltgen_bench.cli.common import about, device_words, print_json, print_table, resumable, terminal_context
from ltgen_bench.cli.options import runs_option, weights_files
from ltgen_bench.cli.run_notes import planned_notes, recipe_note, show_notes, show_run
from ltgen_bench.cli.run_options import add_run_options, config_of

if TYPE_CHECKING:
    from ltgen_bench.experiments.search import Found, Search
    from ltgen_bench.report.table import Table

LEFT_OUT = ("evaluate_every", "sample_seeds")  # options of `run` that a search has no use for


@click.command(no_args_is_help=True)
@click.option("--over", "axes", multiple=True, required=True, metavar="KEY=VALUE,...",
              help="Values to choose from; several options make a grid. Scores are averaged over seeds.")
@click.option("--metric", default="fid", show_default=True, metavar="NAME", help="Metric to choose by, over all classes.")
@click.option("--by", metavar="EXTRACTOR", help="Extractor of that metric.  [default: the first of --extractor]")
@runs_option
@click.option("--dry-run", is_flag=True, help="List the candidates and the number of trainings, without running them.")
@click.option("--json", "as_json", is_flag=True, help="Print only candidates and records, as JSON.")
def search(axes: tuple[str, ...], metric: str, by: str | None, method: str | None, dataset: str | None, recipe: Path | None,
           settings: tuple[str, ...], extractor_weights: tuple[str, ...], method_file: Path | None, data_root: Path,
           device: str | None, threads: int | None, runs: Path, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Choose settings on one half of the real images, and report the chosen ones on the other half.

    A score that settings were chosen by is biased in their favour. Every candidate is trained (once for each distinct
    training), sampled, and scored against the half `selection`; the best is scored against the half `report`. Takes the
    options of `run`. Repeating the command continues where it stopped. Where trainings are short, each candidate has three
    seeds; --seed N is for one. The chosen settings are written as a recipe.

    \b
    ltgen-bench search --over sample.omega=0,0.5,1,2
    ltgen-bench search --method cfg --over sample.omega=0.5,1 --over train.budget_images=10000,20000 --over seed=0,1,2
    """
    from ltgen_bench.evaluation.extractors import EXTRACTORS
    from ltgen_bench.evaluation.metrics import METRICS
    from ltgen_bench.experiments.recipes import resolved_run

    METRICS.check(metric)
    if by is not None:
        EXTRACTORS.check(by)
    config = config_of(method, dataset, recipe, method_file, settings, options)
    weights = weights_files(extractor_weights)
    config = resolved_run(config, "a search reports with one; search without it, and evaluate the chosen run with it.")
    from ltgen_bench.data.load import load_dataset
    from ltgen_bench.evaluation.evaluator import check_weights
    from ltgen_bench.experiments.search import carry_out_search, make_search, parse_axis, repeats

    context = terminal_context(device, threads, weights)
    progress = context.progress
    images = load_dataset(config.data, data_root=data_root, progress=progress)
    over = dict(map(parse_axis, axes))
    if "seed" not in over and options["seed"] is None:
        over["seed"] = repeats(config, images)
    plan = make_search(config, over, images, runs, context, metric=metric, extractor=by)
    check_weights([config.evaluate, plan.candidates[0].plans[0].config.evaluate], weights)
    progress.say(f"ltgen-bench {__version__}  {config.method.name} on {about(images)}  {device_words(context.device)}")
    progress.say(f"{plan.words}, chosen by {metric} ({plan.extractor}) on the selection half of the real images")
    for line in (*recipe_note(plan.reports[0][0].config), *planned_notes(plan.reports[0][0])):
        progress.say(line)
    if dry_run:
        _dry_run(plan)
        return
    known = {one.scores.folder: one.finished for plans in plan.reports for one in plans}
    with resumable():
        found = carry_out_search(plan, context)
    if as_json:
        print_json(_plain(found))
        return
    print_table(_table(found))
    for result in found.results:
        show_run(result, known[result.plan.scores.folder])
    click.echo(f" recipe    {found.recipe}")
    last = found.results[-1]
    show_notes(last.record, last.plan.config, runs)


def _dry_run(search: "Search") -> None:
    for candidate in search.candidates:
        done = sum(plan.finished for plan in candidate.plans)
        state = "finished" if done == len(candidate.plans) else f"{done} of {len(candidate.plans)} seeds finished" if done else ""
        click.echo("\t".join(part for part in (candidate.words, str(candidate.plans[0].folder), state) if part))


def _table(found: "Found") -> "Table":
    """Return the table of candidates with their scores on the selection half; the chosen one is marked."""
    from ltgen_bench.report.numbers import facts, show
    from ltgen_bench.report.table import Cell, Head, Row, Table

    plan, keys = found.search, list(found.search.candidates[0].values)
    seeds = len(plan.candidates[0].plans)
    heads = (*(Head(key.rpartition(".")[2], key, score=False) for key in keys),
             Head(facts(plan.metric).heading, plan.metric), Head("run", "run", number=False))
    rows = []
    for place, candidate in enumerate(plan.candidates):
        mean, spread = found.means[place], found.spreads[place]
        score = Cell(show(plan.metric, mean, spread), mean, spread, seeds, best=place == found.chosen)
        values = (Cell(str(candidate.values[key])) for key in keys)
        rows.append(Row((*values, score, Cell(candidate.plans[0].folder.name))))
    notes = [f"*: chosen by {facts(plan.metric).title} ({plan.extractor}) against the selection half of the real images. What it "
             "scores against the other half stands below; only that is a result."]
    if seeds > 1:
        notes.append(f"Mean ± standard deviation over {seeds} seeds; a row names the first one's run.")
    if found.may_be_best:
        best = "; ".join(plan.candidates[place].words for place in found.may_be_best)
        notes.append(f"May be the best (not worse than another by simultaneous 95 % intervals): {best}.")
    else:
        notes.append("Too few seeds to tell the candidates apart.")
    return Table("candidates", "candidates, on the selection half", heads, tuple(rows), tuple(notes))


def _plain(found: "Found") -> dict[str, Any]:
    plan = found.search
    return {
        "metric": plan.metric, "extractor": plan.extractor,
        "candidates": [
            {"values": dict(candidate.values), "mean": None if math.isnan(mean) else mean,
             "spread": None if math.isnan(spread) else spread, "runs": [str(one.folder) for one in candidate.plans]}
            for candidate, mean, spread in zip(plan.candidates, found.means, found.spreads, strict=True)],
        "may_be_best": [dict(plan.candidates[place].values) for place in found.may_be_best], "recipe": str(found.recipe),
        "chosen": dict(plan.candidates[found.chosen].values),
        "records": [result.record.model_dump(mode="json") for result in found.results]}


add_run_options(search, LEFT_OUT)
