"""What the terminal shows at the end of a run."""

import math
import shlex
from dataclasses import replace

import pandas as pd

from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.words import listed
from ltgen_bench.data.groups import GROUPS
from ltgen_bench.data.source_kinds import option_words
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.evaluation.trivial_samples import TRIVIAL
from ltgen_bench.records.run_folder import RunFolder
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.report.baselines import (
    BASELINES,
    REAL_HALVES,
    REAL_TEST,
    Baseline,
    comparable,
    few_images,
    measured_again,
    number_of_images,
)
from ltgen_bench.report.columns import TRAINED_ON
from ltgen_bench.report.comparisons import ONE_SEED
from ltgen_bench.report.entries import Key, measurements, select
from ltgen_bench.report.notes import CLASSIFIER, few_notes, missing, row_notes
from ltgen_bench.report.numbers import facts, marked, show
from ltgen_bench.report.table import Cell, Head, Row, Table
from ltgen_bench.report.table_formats import fold, terminal

SCOPES = (*(f"{group}@thirds" for group in reversed(GROUPS)), "all")
DEFAULT_DATASET = "digits-lt"
HALF_NOTES = {"report": "Scored against the report half of the real images: a search chose its settings on the other half. These "
                        "scores do not compare with scores against all real images.",
              "selection": "Scored against the selection half of the real images, on which a search chooses settings. This is no "
                           "result."}


def score_table(record: RunRecord, scores: Scores, console_width: int, color: bool, folder: RunFolder | None = None) -> str:
    """Every metric over few, medium, many and all classes, with baseline scores and protocol ids; where the files are.

    The text has lines of at most `console_width` columns (paths and commands stay in one piece), with ANSI colours
    when `color`. `folder` is the run folder; without it no paths are named.
    """
    table = run_table(record, scores)
    if any(head.key == "protocol" for head in fold(table, console_width)[1]):
        table = replace(table, notes=(*table.notes, _protocol_note(scores)))
    parts = [terminal(table, console_width, color)]
    if folder is not None:
        files = {"samples": folder.samples(record.sample_digest).sheet, "scores": folder.scores(record.score_digest).table}
        parts.append("".join(f" {name:<9} {path}\n" for name, path in files.items()))
    other = "ddpm" if record.method != "ddpm" else "cbdm"
    name = record.config.get("data", {}).get("name", record.dataset)  # folder:PATH as it was typed
    dataset = "" if name == DEFAULT_DATASET else f" --dataset {shlex.quote(name)}"
    dataset += "".join(f" {shlex.quote(word)}" for word in option_words(record.config.get("data", {})))
    parts.append(f" {'next':<9} ltgen-bench run --method {other}{dataset}    then    ltgen-bench report\n")
    return "".join(parts)


def run_table(record: RunRecord, scores: Scores) -> Table:
    """One run as a table: a row a measurement; value ± the measurement's own uncertainty where it has one.

    A narrow terminal leaves out protocol ids and groups before the baseline score of held-out images.
    """
    keys = measurements(scores.table)
    heads = (
        Head("", "measurement", number=False),
        *(Head(scope.partition("@")[0], scope, keep=scope in (SCOPES[0], SCOPES[-1])) for scope in SCOPES),
        Head("real test", REAL_TEST.score, keep=True),
        Head("real halves", REAL_HALVES.score),
        Head("protocol", "protocol", number=False),
    )
    rows: list[Row] = []
    for extractor in dict.fromkeys(key[1] for key in keys):
        own = [key for key in keys if key[1] == extractor]
        title = f"downstream ({extractor})" if own[0][2] else f"{extractor} features"
        rows.append(Row((Cell(title), *(Cell("") for _ in heads[1:])), "section"))
        rows += [_row(record, scores, key) for key in own]
    return Table("scores", "", heads, tuple(rows), _notes(record, scores))


def _row(record: RunRecord, scores: Scores, key: Key) -> Row:
    metric, _, _, protocol = key
    cells = [Cell(_name(record, key))]
    for scope in SCOPES:
        part = select(scores.table, key, scope)
        value = float(part["value"].iloc[0]) if len(part) else math.nan
        spread = float(part["uncertainty"].iloc[0]) if len(part) and scope == "all" else math.nan
        few = str(part["few"].iloc[0]) if len(part) else ""
        text = show(metric, value, spread) if len(part) else ""
        cells.append(Cell(marked(text, bool(few)), value, spread, len(part), few=few))
    every = select(scores.table, key, "all")
    return Row((*cells, *(_baseline(metric, every, kind) for kind in (REAL_TEST, REAL_HALVES)), Cell(protocol)))


def _baseline(metric: str, every: pd.DataFrame, kind: Baseline) -> Cell:
    """`0.10`, or `0.10 (0.76)` with the score of the generated images at the n of the baseline score, if that is another one."""
    few = bool(few_images(every, kind).iloc[0])
    if len(measured_again(every, kind)):
        value, again = float(every[kind.score].iloc[0]), f" ({marked(show(metric, float(every[kind.score_at_n].iloc[0])), few)})"
    else:
        value, again = float(comparable(every, kind, metric).iloc[0]), ""
    if math.isnan(value):
        return Cell("")
    real = f"{number_of_images(every, kind)} real" if few else ""
    return Cell(f"{marked(show(metric, value), few)}{again}", value, n=1, few=real)


def _name(record: RunRecord, key: Key) -> str:
    """` recall k=5 ↑`, ` accuracy, both ↑`; k is a field of the protocol."""
    fact = facts(key[0])
    k = record.protocols.get(key[3], {}).get("k")
    words = _short_title(key[0]) + (f" k={k}" if k is not None else "")
    words += f", {TRAINED_ON.get(key[2], key[2])}" if key[2] else ""
    return f" {words} {fact.arrow}"


def _short_title(metric: str) -> str:
    return facts(metric).title.removeprefix("downstream ")


def _protocol_note(scores: Scores) -> str:
    """The protocol ids, for a terminal too narrow for their column."""
    by_extractor: dict[str, dict[str, str]] = {}
    for metric, extractor, _, protocol in measurements(scores.table):
        by_extractor.setdefault(extractor, {}).setdefault(_short_title(metric), protocol)
    words = [f"{extractor}: {', '.join(map(' '.join, ids.items()))}" for extractor, ids in by_extractor.items()]
    return f"Protocol ids of {'; '.join(words)}."


def _notes(record: RunRecord, scores: Scores) -> tuple[str, ...]:
    every = scores.table[scores.table["scope"] == "all"]
    notes = [] if record.half is None else [HALF_NOTES[record.half]]
    if every[[kind.score for kind in BASELINES]].notna().any(axis=None):
        count = int(every["n_generated"].max())
        notes += ["Baseline scores: real test is held-out real images against the reference, real halves is one half of the "
                  f"reference against the other. {count:,} generated images.{_again(every)}"]
    notes += few_notes(scores.table[scores.table["scope"].isin(SCOPES)])
    if record.preset:
        departures = f"Not {record.preset}: {'; '.join(record.departures)}."
        notes.append(departures if record.departures else f"Measured as the preset {record.preset} says.")
    parts = scores.table[scores.table["scope"].isin(SCOPES[:-1])]
    notes = [*map(printable, record.notes), *notes, *row_notes(pd.concat([every, missing(parts)]))]
    words = f"{TRIVIAL[record.label].summary}. " if record.label in TRIVIAL else ""
    reference = f"{record.label}: {words}For reference, never ranked."
    verdict = reference if record.kind == "reference" else ONE_SEED
    notes.append(f"{verdict} {CLASSIFIER}" if "classifier" in set(every["extractor"]) else verdict)
    return tuple(notes)


def _again(every: pd.DataFrame) -> str:
    """What is in brackets after baseline scores of another number of images than the scores."""
    counts = [f"{number_of_images(own, kind)} for {kind.images}" for kind in BASELINES if len(own := measured_again(every, kind))]
    if not counts:
        return ""
    return (f" In brackets: the score of as many generated images as the baseline score has ({listed(counts)}); only these two "
            "compare.")
