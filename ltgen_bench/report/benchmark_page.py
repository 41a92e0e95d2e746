"""The results in BENCHMARK.md, between two markers: generated from the measured files in `results/` alone."""

import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import write_atomically, write_text
from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.words import distinct_name, power
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.scores import protocols_path
from ltgen_bench.records.published import published
from ltgen_bench.records.results_csv import measured_csv, read_measured
from ltgen_bench.report.baselines import AT_N_NOTE
from ltgen_bench.report.entries import Block, blocks
from ltgen_bench.report.numbers import MISSING
from ltgen_bench.report.papers import papers_tables
from ltgen_bench.report.table import Table
from ltgen_bench.report.table_formats import markdown
from ltgen_bench.report.tables import REAL_ALONE
from ltgen_bench.report.write_report import Report, named_blocks, section_tables

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
TABLES = ("comparison", "verdicts", "downstream", "groups-fid")  # beginnings of table names; `ltgen-bench report` has all


def update_benchmark(report: Report, page: Path, *, results: Path | None = None) -> list[Path]:
    """Store the report's rows and plots in `results`, and write the tables of all that is stored there into `page`.

    `results` is the folder of that name beside `page` (BENCHMARK.md) when not given: rows go to `<dataset>.csv`, plots to
    `figures/`. Returns the files written. Missing markers in `page` are a `UserError`, before anything is written.
    """
    _around_results(page)
    results = page.parent / "results" if results is None else results
    written = []
    for section in report.sections:
        for file in section.plots.values():
            target = results / "figures" / f"{section.name}-{file.name}"
            write_atomically(target, partial(shutil.copyfile, file))
            written.append(target)
    for dataset, part in report.rows.groupby("dataset"):
        written.append(measured_csv(part, results / f"{distinct_name(str(dataset))}.csv", report.protocols))
    return [*written, write_results(page, results)]


def write_results(page: Path, results: Path) -> Path:
    """Replace what stands between the markers of `page` by the tables of the folder `results`; returns `page`."""
    before, after = _around_results(page)
    body = results_markdown(results, os.path.relpath(results / "figures", page.parent))
    write_text(page, f"{before}{BEGIN}\n\n{body}\n{END}{after}")
    return page


def _around_results(page: Path) -> tuple[str, str]:
    """The text before and after the results. No file, or not one pair of markers in order: `UserError`."""
    try:
        text = page.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{page} could not be read: {error.strerror or error}.") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"{page} has no markers for the results: put one line {BEGIN} and below it one line {END}.")
    return text.split(BEGIN)[0], text.split(END)[1]


def measured_blocks(results: Path) -> list[tuple[str, Block]]:
    """(name, rows that compare) of all measured CSVs in `results`."""
    measured = [protocols.with_name(protocols.name.replace(".protocols.json", ".csv"))
                for protocols in sorted(results.glob("*.protocols.json"))]
    rows = pd.concat([read_measured(path) for path in measured], ignore_index=True)
    ids: dict[str, dict[str, Any]] = {}
    for path in measured:
        ids |= json.loads(protocols_path(path).read_text(encoding="utf-8"))
    return named_blocks(blocks(rows, (), ids))


def results_markdown(results: Path, figures: str) -> str:
    """Tables, plots (linked in `figures`) and origin of every measured CSV in `results`, and papers' numbers on these data."""
    named = measured_blocks(results)
    parts: list[str] = []
    for name, block in named:
        parts += [markdown(table) for table in _shortened(section_tables(block))]
        others = tuple(other for other, _ in named if other.startswith(f"{name}-"))
        plots = [file for file in sorted((results / "figures").glob(f"{name}-*.png")) if not file.name.startswith(others)]
        parts += [f"![{file.stem.replace('-', ' ')}]({Path(figures, file.name).as_posix()})\n" for file in plots]
        parts.append(_origin(block.shown))
    known = published()
    measured = {block.dataset for _, block in named}
    parts += [markdown(table) for table in papers_tables(known[known["dataset"].isin(measured)])]
    return "\n".join(parts)


def _shortened(tables: list[Table]) -> list[Table]:
    """Return the tables of the page, without what another of them repeats, and of the verdicts the scores that are followed
    along a training, without rows of open ones alone.

    Downstream scores are in a table of their own, scores of real images alone and at the n of a baseline in the CSVs; a note is
    printed once.
    """
    shown, seen = [], {AT_N_NOTE}  # the note is about rows that are not on the page
    for table in tables:
        if not table.name.startswith(TABLES) or table.name.endswith("-count"):
            continue
        table = table.shown
        table = table.take([at for at, head in enumerate(table.heads) if f":{REAL_ALONE}:" not in head.key])
        table = replace(table, rows=tuple(row for row in table.rows if row.kind != "score-at-n"))
        if table.name == "comparison":
            table = table.take([at for at, head in enumerate(table.heads) if not head.key.startswith("downstream_accuracy")])
        if table.name == "verdicts":
            metrics = [head.key.partition(":")[0] for head in table.heads]
            table = table.take([at for at, name in enumerate(metrics) if name not in METRICS or "curve" in METRICS[name].plots])
            table = replace(table, rows=tuple(row for row in table.rows if not all(_is_tie(cell.text) for cell in row.cells[1:])))
        table = replace(table, notes=tuple(note for note in table.notes if note not in seen))
        seen |= set(table.notes)
        shown.append(table)
    return shown


def _is_tie(verdict: str) -> bool:
    return verdict.startswith("0 / 0 / ") or verdict == MISSING


def _origin(rows: pd.DataFrame) -> str:
    """Return commands with the training cost of each method, machines and versions, as a Markdown list."""
    lines = ["Measured by:", ""]
    runs = rows.drop_duplicates("score_digest").sort_values(["command", "label", "seed"])
    for command, made in runs.groupby("command"):
        costs = [_cost(str(label), part) for label, part in made.groupby("label")]
        lines.append(f"- `{printable(str(command))}`. Training: {'; '.join(costs)}.")
    for title in ("hardware", "versions"):
        lines += [f"- {title.capitalize()}: {printable(text)}." for text in sorted(set(runs[title]))]
    lines.append("- `ltgen-bench protocol show ID` describes a protocol id.")
    return "\n".join([*lines, ""])


def _cost(label: str, runs: pd.DataFrame) -> str:
    """Return the training cost of the runs of one label: `cbdm 3.63e12 FLOPs, 59 to 65 s`."""
    cost = [f"{power(float(flops))} FLOPs" for flops in sorted(runs["train_flops"].dropna().unique())]
    seconds = runs["train_seconds"].dropna()
    cost += [f"{seconds.min():.0f} to {seconds.max():.0f} s"] if len(seconds) else []
    return printable(f"{label} {', '.join(cost) or 'unknown'}")
