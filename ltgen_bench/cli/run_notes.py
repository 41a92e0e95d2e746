"""What `run` and its like print beside a table: the recipe, warnings, and what a preset expects of samples."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltgen_bench.cli.common import labelled

if TYPE_CHECKING:
    from ltgen_bench.config.schema import RunConfig
    from ltgen_bench.evaluation.scores import Scores
    from ltgen_bench.experiments.pipeline import Run
    from ltgen_bench.experiments.plan import Plan
    from ltgen_bench.records.run_folder import RunFolder
    from ltgen_bench.records.run_record import RunRecord

DEFAULT_RUNS = Path("runs")
INDENT = 11  # as wide as the words before the files of a table


def preset_notes(name: str, config: "RunConfig", dataset: str, class_counts: list[int], width: int,
                 runs: Path | None) -> str:
    """Return the notes below a table of scores, of at most `width` columns; the suggested command is on one line.

    `config` made the images, in the folder `runs`; for those of another model `runs` is None and `config` a recipe for the
    same data. `dataset` is the data set's name in tables.
    """
    from ltgen_bench.evaluation.presets import PRESETS, sampling_departures
    from ltgen_bench.experiments.command_lines import as_command
    from ltgen_bench.experiments.workload import expected_sample

    preset, method = PRESETS[name], config.method.name
    lines = _lines("sampling", ["how these images were drawn is not known here"] if runs is None else
                   sampling_departures(preset, config.sample, method, dataset), width)
    lines += _lines("remarks", list(preset.remarks), width)
    lines += _lines("expects", [preset.sampling_words], width)
    asked = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"preset": name})})
    command = as_command(asked.model_copy(update={"sample": expected_sample(asked, dataset, class_counts)}))
    if command:
        place = f" --runs {shlex.quote(str(runs))}" if runs not in (None, DEFAULT_RUNS) else ""
        lines.append(f" {'to draw':<{INDENT - 2}} {command}{place}")
    return "\n".join([*lines, ""])


def planned_notes(plan: "Plan") -> list[str]:
    """Return where a planned run will differ from the preset it is measured with, and the option that avoids it."""
    from ltgen_bench.evaluation.presets import PRESETS, planned_departures
    from ltgen_bench.experiments.workload import expected_sample

    config, dataset = plan.config, plan.dataset
    if config.evaluate.preset is None:
        return []
    found = planned_departures(config.evaluate, config.sample, config.method.name, dataset.name, dataset.class_counts)
    wanted = expected_sample(config, dataset.name, dataset.class_counts)
    cure = [] if wanted == config.sample else ["--preset-sampling draws as it expects"]
    return [f"{config.evaluate.preset} expects {PRESETS[config.evaluate.preset].sampling_words}",
            *(f"departs: {sentence}" for sentence in found), *cure]


def _lines(word: str, sentences: list[str], width: int) -> list[str]:
    """Return ` word      sentence` lines, wrapped, each sentence starting at the same column."""
    return [line for number, sentence in enumerate(sentences)
            for line in labelled("" if number else f" {word}", sentence, INDENT, width)]


def recipe_note(config: "RunConfig") -> list[str]:
    """Return which recipe is taken for a method that does not come with this package, and its main values."""
    from ltgen_bench.methods import METHODS

    if not METHODS[config.method.name].code_digest:
        return []
    guided = "guidance is possible" if METHODS[config.method.name].guidable() else "it has no null label, so omega is 0"
    return [f"recipe      {config.source or 'your own'}: {recipe_words(config)} ({guided})"]


def warnings_of(config: "RunConfig") -> list[str]:
    """Return a warning where the budget is so short that the learning rate never reaches its value."""
    warmup, budget = config.train.warmup_images, config.train.budget_images
    if 2 * warmup <= budget:
        return []
    return [f"note: the learning rate warms up over {warmup:,} images, and the budget is {budget:,}; for a short run, shorten "
            f"warm-up and EMA, e.g. --set train.warmup_images={budget // 10} --set train.ema_halflife_images={budget // 8}"]


def show(record: "RunRecord", scores: "Scores", folder: "RunFolder", first: str = "") -> None:
    """Print the table of scores, below the line `first` if there is one."""
    from rich.console import Console

    from ltgen_bench.report.run_table import score_table

    if first:
        click.echo(first)
    out = Console()
    click.echo(score_table(record, scores, out.width, out.is_terminal and not out.no_color, folder=folder))


def show_run(result: "Run", known: bool) -> None:
    """Print the table of a run; `known` says that it was finished before."""
    record, folder = result.record, result.plan.folder
    seconds = sum(stage.seconds for stage in record.stages)
    before = f"finished on {day(record)} in {seconds:.0f} s; shown from {folder} (use --seed {record.seed + 1} for another)"
    show(record, result.scores, folder, before if known else "")


def day(record: "RunRecord") -> str:
    """Return `2026-01-31 12:00`, when the scores of a record were finished."""
    return record.finished[:16].replace("T", " ")


def show_notes(record: "RunRecord", config: "RunConfig", runs: Path | None) -> None:
    """Print where the samples differ from what their preset expects, as `preset_notes` has it."""
    from rich.console import Console

    if record.preset:
        click.echo(preset_notes(record.preset, config, record.dataset, record.class_counts, Console().width, runs))


def recipe_words(config: "RunConfig") -> str:
    """Return budget and sampling of a recipe in words."""
    sample = config.sample
    return f"{config.train.budget_images:,} images, {sample.sampler} {sample.steps}, omega {sample.omega:g}"
