"""Notes on a preset: where samples and settings differ from what it expects."""

import shlex
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltgen_bench.config.schema import RunConfig
    from ltgen_bench.experiments.plan import Plan

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
    lines = []
    for number, sentence in enumerate(sentences):
        head = f" {word if number == 0 else '':<{INDENT - 2}} "
        lines += textwrap.wrap(sentence, max(width, 40), initial_indent=head, subsequent_indent=" " * INDENT,
                               break_long_words=False, break_on_hyphens=False)
    return lines
