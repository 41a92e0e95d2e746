"""What the terminal shows at the end of a run."""

import math
import shlex
from dataclasses import replace

import pandas as pd

from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.words import listed
from ltgen_bench.data.source_kinds import option_words
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.evaluation.trivial_samples import TRIVIAL
from ltgen_bench.records.run_folder import RunFolder
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.statistics import ONE_SEED
from ltgen_bench.report.baseline_columns import KINDS, Kind, beside_score, is_few, number, repeated
from ltgen_bench.report.baseline_lines import few_notes
from ltgen_bench.report.columns import CLASSIFIER, GROUPS, TRAINED_ON, Key
from ltgen_bench.report.entries import measurements, select
from ltgen_bench.report.numbers import facts, marked, show
from ltgen_bench.report.reasons import missing, reasons
from ltgen_bench.report.table import Cell, Head, Row, Table
from ltgen_bench.report.table_formats import fold, terminal

SCOPES = ("all", *(f"{group}@thirds" for group in GROUPS))
DEFAULT_DATASET = "digits-lt"
HALVES = {"report": "Against the report half of the real images alone: a search chose its settings on the other half. "
                    "Compares with no score against all of them.",
          "selection": "Against the selection half of the real images alone, on which settings are chosen: no result."}


def score_table(record: RunRecord, scores: Scores, console_width: int, color: bool, folder: RunFolder | None = None) -> str:
    """Every metric over all, many, medium and few classes, its noise floors and protocol ids; where the files are.

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
    """One run as a table: a row a measurement; value ± the measurement's own uncertainty where it has one."""
    keys = measurements(scores.table)
    heads = (
        Head("", "measurement", number=False),
        *(Head(scope.partition("@")[0], scope) for scope in SCOPES),
        Head("floor", "floor_half"),
        Head("test", "floor_test"),
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
    cells += [_floor(metric, every, kind) for kind in KINDS]
    return Row((*cells, Cell(protocol)))


def _floor(metric: str, every: pd.DataFrame, kind: Kind) -> Cell:
    """`0.10`, or `0.10 (0.76)` with the score at the floor's number of images, where only that compares with it."""
    few = is_few(every.iloc[0], kind)
    if len(repeated(every, kind)):
        value, again = float(every[kind.floor].iloc[0]), f" ({marked(show(metric, float(every[kind.at].iloc[0])), few)})"
    else:
        value, again = float(beside_score(every, kind, metric).iloc[0]), ""
    if math.isnan(value):
        return Cell("")
    return Cell(f"{marked(show(metric, value), few)}{again}", value, n=1, few=f"{number(every, kind)} real" if few else "")


def _name(record: RunRecord, key: Key) -> str:
    """` recall k=5 ↑`, ` accuracy, both ↑`; k stands in the protocol."""
    fact = facts(key[0])
    k = record.protocols.get(key[3], {}).get("k")
    words = fact.title.removeprefix("downstream ") if key[2] else fact.title
    words += f" k={k}" if k is not None else ""
    words += f", {TRAINED_ON.get(key[2], key[2])}" if key[2] else ""
    return f" {words} {fact.arrow}"


def _protocol_note(scores: Scores) -> str:
    """The ids, for a terminal too narrow for their column: no number goes without its protocol."""
    by_extractor: dict[str, dict[str, str]] = {}
    for metric, extractor, _, protocol in measurements(scores.table):
        by_extractor.setdefault(extractor, {}).setdefault(facts(metric).title.removeprefix("downstream "), protocol)
    words = [
        f"{extractor}: {', '.join(f'{title} {one}' for title, one in ids.items())}"
        for extractor, ids in by_extractor.items()
    ]
    return f"Protocols of {'; '.join(words)}."


def _notes(record: RunRecord, scores: Scores) -> tuple[str, ...]:
    every = scores.table[scores.table["scope"] == "all"]
    notes = [] if record.half is None else [HALVES[record.half]]
    if every[["floor_half", "floor_test"]].notna().any(axis=None):
        count = int(every["n_generated"].max())
        notes += [f"floor: real half against real half. test: real held-out images. {count:,} generated images.{_again(every)}"]
    notes += few_notes(scores.table[scores.table["scope"].isin(SCOPES)])
    if record.preset:
        departed = f"Not {record.preset}: {'; '.join(record.departures)}."
        notes.append(departed if record.departures else f"Measured by the rules of {record.preset}.")
    parts = scores.table[scores.table["scope"].isin(SCOPES[1:])]
    notes = [*map(printable, record.notes), *notes, *reasons(pd.concat([every, missing(parts)]))]
    told = f"{record.label}: {TRIVIAL[record.label].summary}. For reference, never ranked." if record.label in TRIVIAL else ""
    seed = told if record.kind == "reference" else ONE_SEED
    notes.append(f"{seed} {CLASSIFIER}" if "classifier" in set(every["extractor"]) else seed)
    return tuple(notes)


def _again(every: pd.DataFrame) -> str:
    """What stands in brackets beside floors of another number of images than the scores."""
    counts = [f"{number(own, kind)} of {kind.images}" for kind in KINDS if len(own := repeated(every, kind))]
    if not counts:
        return ""
    return f" In brackets the score at the floor's number of images ({listed(counts)}), where only that compares with it."
