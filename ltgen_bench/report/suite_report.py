"""The report of a suite: sentences first, then tables and pictures, in the terminal and as a folder with a page."""

import textwrap
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ltgen_bench.core.files import write_text
from ltgen_bench.core.plain_text import printable
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.evaluation.scores import csv_text
from ltgen_bench.report import suite_drawings
from ltgen_bench.report.page import data_uri, template
from ltgen_bench.report.pictures import attempt, save_drawings
from ltgen_bench.report.provenance import protocol_words
from ltgen_bench.report.report_folder import INDEX, MANIFEST, begin, check_ours, end
from ltgen_bench.report.suite_measured import ALL, FEW, SuiteTables, suite_tables
from ltgen_bench.report.suite_results import SuiteResults
from ltgen_bench.report.suite_sheets import raw_differences, raw_scores, score_table, verdict_table
from ltgen_bench.report.suite_words import LIMITS, SKILL, of_costs, of_runs, told
from ltgen_bench.report.table import Table
from ltgen_bench.report.table_formats import terminal
from ltgen_bench.report.write_report import write_tables
from ltgen_bench.statistics.suite_cells import Policy

Told = list[tuple[str, list[str]]]  # headings with their sentences


@dataclass(frozen=True)
class SuiteReport:
    """A report that was written. `sentences` are headings with what is known, `scores` and `verdicts` a table each score."""

    out: Path
    tables: SuiteTables
    sentences: Told
    scores: tuple[Table, ...]
    verdicts: tuple[Table, ...]
    files: tuple[Path, ...]

    def terminal(self, width: int, color: bool = False) -> str:
        """The sentences and the table of the first headline score, as text of at most `width` columns."""
        lines = [self.tables.results.title, ""]
        for heading, sentences in self.sentences:
            lines.append(heading)
            lines += [line for sentence in sentences for line in textwrap.wrap(
                sentence, max(width - 1, 20), initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)]
        lines += ["", *textwrap.wrap(LIMITS, max(width - 1, 20), break_on_hyphens=False)]
        return "\n".join([*lines, "", terminal(self.scores[0], width, color),
                          f"page      {self.out / INDEX}\ntables    {self.out / 'tables'}\nplots     {self.out / 'plots'}\n"])

    def values(self) -> dict[str, Any]:
        """The report as values for JSON: sentences, numbers of each score and scope, verdicts of each task, costs and runs."""
        return {"suite": self.tables.results.title, "policy": self.tables.policy,
                "sentences": [{"about": heading, "sentences": sentences} for heading, sentences in self.sentences],
                "scores": _records(raw_scores(self.tables)), "differences": _records(raw_differences(self.tables)),
                "costs": _records(self.tables.costs), "runs": _records(self.tables.results.states),
                "page": str(self.out / INDEX)}


def suite_report(results: SuiteResults, out: Path, *, policy: Policy = "error", progress: Progress = SILENT) -> SuiteReport:
    """Write the report of a suite into `out`: page, tables (Markdown, CSV, LaTeX), numbers as CSV, and pictures.

    An earlier report in `out` is replaced. Raises `UserError` where `out` holds something else, where scores do not compare,
    and, by the `policy`, for missing runs; nothing is written then.
    """
    check_ours(out)
    tables = suite_tables(results, policy)
    sentences = known(tables)
    scores = tuple(score_table(tables, one) for one in tables.measurements)
    verdicts = tuple(verdict_table(tables, one) for one in tables.measurements)
    earlier, folder = begin(out), out / "tables" / "suite"
    files = write_tables([*scores, *verdicts], folder)
    for name, frame in (("numbers", raw_scores(tables)), ("differences", raw_differences(tables)), ("costs", tables.costs),
                        ("runs", results.states)):
        write_text(folder / f"{name}.csv", csv_text(frame))
        files.append(folder / f"{name}.csv")
    drawn = attempt("the pictures of the suite", partial(suite_drawings.drawings, tables), progress.say)
    plots = save_drawings(drawn or {}, out / "plots" / "suite", progress.say)
    write_text(out / INDEX, template("suite.html.j2").render(
        title=results.title, sentences=sentences, scores=[table.shown for table in scores],
        verdicts=[table.shown for table in verdicts], limits=[SKILL, LIMITS],
        plots=[(title, data_uri(path)) for title, path in plots.items()], measured=_how_measured(results)))
    files += [*plots.values(), out / INDEX]
    end(out, earlier, files)
    return SuiteReport(out, tables, sentences, scores, verdicts, (*files, out / MANIFEST))


def known(tables: SuiteTables) -> Told:
    """Return what is known: of each headline score for few and then for all classes, then costs and runs."""
    shared = tables.shared_notes
    found = [(one.name, [*told(one), *(note for note in one.notes if note not in shared)])
             for scope in (FEW, ALL) for one in tables.measured if one.scope == scope]
    rest = [("Cost", of_costs(tables)), ("Runs", of_runs(tables))]
    return [*found, *((heading, sentences) for heading, sentences in rest if sentences)]


def _how_measured(results: SuiteResults) -> list[tuple[str, list[str]]]:
    """Commands, machines and versions of the runs, and what the protocol ids of each task's headline stand for."""
    rows, found = results.rows, []
    for title in ("command", "hardware", "versions"):
        found.append((title, sorted(set(map(printable, rows[title])))))
    for task, own in rows[rows["metric"].isin(results.metrics)].groupby("task", sort=False):
        ids = [one for one in dict.fromkeys(own["protocol"]) if one in results.protocols]
        found.append((f"protocols of task {task}", [f"{one}: {protocol_words(results.protocols[one])}" for one in ids]))
    return [(title, lines) for title, lines in found if lines]


def _records(frame: Any) -> list[dict[str, Any]]:
    """Rows as plain values, None for what is not there."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value.item() if hasattr(value, "item") else value for name, value in row.items()}
            for row in plain.to_dict("records")]
