"""Everything that `ltgen-bench report` writes and shows."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import UserError, did_you_mean
from ltgen_bench.core.files import write_text
from ltgen_bench.core.plain_text import printable_lines
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.core.words import file_name
from ltgen_bench.data.images import SampleSet
from ltgen_bench.evaluation.scores import csv_text
from ltgen_bench.records.published import published, read_leaderboard
from ltgen_bench.records.run_record import RunRecord
from ltgen_bench.records.store import StoredRun, protocols, reported_runs, rows
from ltgen_bench.report import confusion, curve_plots
from ltgen_bench.report.curve_plots import curve_data
from ltgen_bench.report.entries import Block, blocks, check_equal, each
from ltgen_bench.report.framing import footer
from ltgen_bench.report.latex_table import latex
from ltgen_bench.report.page import page
from ltgen_bench.report.papers import papers_tables, papers_text
from ltgen_bench.report.pictures import Drawings, attempt, save_drawings
from ltgen_bench.report.planned import Planned, faults, narrowed, refuse
from ltgen_bench.report.plots import drawings, for_pictures
from ltgen_bench.report.published_rows import base_name, published_tables
from ltgen_bench.report.report_folder import INDEX, MANIFEST, begin, check_ours, end
from ltgen_bench.report.sheets import methods_sheet
from ltgen_bench.report.table import Table
from ltgen_bench.report.table_formats import comma_separated, markdown, terminal
from ltgen_bench.report.tables import section_tables

EVERYTHING = Planned()
FORMATS: dict[str, Callable[[Table], str]] = {".md": markdown, ".csv": comma_separated, ".tex": latex}


@dataclass(frozen=True)
class Section:
    """One block of comparable runs with its records, tables and plots. `name` is its folder."""

    name: str
    block: Block
    records: tuple[RunRecord, ...]
    tables: tuple[Table, ...]
    plots: dict[str, Path]  # title -> file


@dataclass(frozen=True)
class Report:
    """A report that was written. `papers` are tables of published numbers, never ranked with the sections."""

    out: Path
    sections: tuple[Section, ...]
    papers: tuple[Table, ...]
    rows: pd.DataFrame
    protocols: dict[str, dict[str, Any]]
    files: tuple[Path, ...]
    left_out: tuple[str, ...] = ()  # what cannot be read, a sentence each
    named_only: frozenset[str] = frozenset()  # tables of papers of which a terminal shows the names alone

    @property
    def index(self) -> Path:
        """The page to open in a browser."""
        return self.out / INDEX

    def __str__(self) -> str:
        return self.terminal(shutil.get_terminal_size().columns)

    def terminal(self, width: int, color: bool = False) -> str:
        """The tables over all classes, by training set and of the papers, as text of at most `width` columns."""
        shown = [
            table
            for section in self.sections
            for table in section.tables
            if table.name in ("comparison", "verdicts", "downstream", "variance") or table.name.startswith("published")
        ]
        texts = [terminal(table, width, color) for table in shown]
        texts += papers_text(self.papers, self.named_only, self.out / "tables" / "papers", width, color)
        if self.left_out:
            lines = [line for one in self.left_out for line in printable_lines(one).splitlines()]
            texts.append("\n  ".join([f"left out, since damaged or of another version ({len(self.left_out)}):", *lines]) + "\n")
        return "\n".join(
            [*texts, f"page      {self.index}\ntables    {self.out / 'tables'}\nplots     {self.out / 'plots'}\n"]
        )


def report(
    runs_dir: Path,
    out: Path,
    *,
    leaderboards: Sequence[Path] = (),
    dataset: str | None = None,
    all_papers: bool = False,
    equal: Sequence[str] = (),
    compare_published: bool = False,
    planned: Planned = EVERYTHING,
    progress: Progress = SILENT,
) -> Report:
    """Compare the finished runs under `runs_dir` with each other, and show papers' numbers in tables of their own.

    Writes `out/tables/` (Markdown, CSV, LaTeX), `out/plots/` and `out/index.html`. `leaderboards` are further CSVs of
    published numbers; all are checked before anything is written. `dataset` keeps one data set; papers' numbers are
    those on the data sets shown, or all with `all_papers`. `equal` (words of `equal.EQUAL`) makes tables and plots of
    their own for rows that are equal in these; `planned` shows some rows and columns alone
    (names that no run has: `UserError`); `compare_published` adds tables with papers' rows below ours of the same method.
    An earlier report in `out` is replaced. No runs and no leaderboard, or an `out` that holds something else: `UserError`.
    """
    check_equal(equal)
    check_ours(out)
    given = [read_leaderboard(path) for path in leaderboards]
    known = published()
    runs, left_out = reported_runs(runs_dir)
    _check_dataset(dataset, runs, [known, *given])
    runs = [run for run in runs if run.record is not None and dataset in (None, run.record.dataset)]
    if not runs and not given:
        where = f" on {dataset}" if dataset else ""
        raise UserError(
            f"there are no finished runs{where} under {runs_dir}. Make one with: ltgen-bench run"
            f"{f' --dataset {dataset}' if dataset else ''}   (or show published numbers alone with --leaderboard FILE)",
            left_out,
        )
    table, ids = rows(runs, runs_dir), protocols(runs)
    compared = pd.concat([known, *given], ignore_index=True) if compare_published else None
    sections: list[Section] = []
    files: list[Path] = []
    found = blocks(table, equal, ids)
    if planned != EVERYTHING:
        refuse(faults(planned, found) if found else [f"there are no runs under {runs_dir} whose rows could be chosen."])
    shown_blocks = [(name, own) for name, block in named_blocks(found) if (own := narrowed(block, planned)) is not None]
    if found and not shown_blocks:
        raise UserError("no row has what --methods, --metrics and --scope ask for together.")
    earlier = begin(out)
    for name, block in shown_blocks:
        before = [section.block for section in sections]
        section, written = _write_section(name, block, before, runs, out, compared, progress)
        sections.append(section)
        files += written
    shown = {base_name(section.block) for section in sections}
    papers = _papers(known, given, shown, dataset, all_papers)
    always = {table.name for table in _papers(known, [], shown, dataset, False)}
    files += write_tables(papers, out / "tables" / "papers")
    write_text(out / INDEX, page(sections, papers, ids, left_out))
    end(out, earlier, (*files, out / INDEX))
    return Report(out, tuple(sections), tuple(papers), table, ids, (*files, out / INDEX, out / MANIFEST), tuple(left_out),
                  frozenset(table.name for table in papers if table.name.startswith("papers-")) - always)


def _check_dataset(dataset: str | None, runs: Sequence[StoredRun], leaderboards: Iterable[pd.DataFrame]) -> None:
    names = {run.record.dataset for run in runs if run.record is not None}
    names |= {name for frame in leaderboards for name in frame["dataset"] if name}
    if dataset is not None and dataset not in names:
        raise UserError(
            f"neither a run nor a published number is on the data set '{dataset}'.{did_you_mean(dataset, names)} "
            f"Known: {', '.join(sorted(names))}."
        )


def named_blocks(found: Sequence[Block]) -> list[tuple[str, Block]]:
    """(name of its folder, block) for each block, the name from its title and `traits`.

    Of blocks with one name the oldest has it; the names of the others end in the id of their first measurement.
    """
    named: dict[str, Block] = {}
    for block in found:
        base = file_name(" ".join([block.title, *block.traits]))
        key = next(iter(block.keys), None)
        name = base if base not in named else f"{base}-{key[3] if key else block.fingerprint[:8]}"
        place = 1
        while name in named:
            place += 1
            name = f"{base}-{place}"
        named[name] = block
    return list(named.items())


def _write_section(
    name: str, block: Block, before: Sequence[Block], runs: Sequence[StoredRun], out: Path, published: pd.DataFrame | None,
    progress: Progress,
) -> tuple[Section, list[Path]]:
    tables = section_tables(block, before)
    tables += published_tables(block, published) if published is not None and block.entries else []
    files = write_tables(tables, out / "tables" / name)
    folder = out / "plots" / name
    own = {digest for rows in (block.rows, block.references, block.sampled) if len(rows) for digest in rows["score_digest"]}
    part = [run for run in runs if run.record is not None and run.record.score_digest in own]
    shown = for_pictures(block)
    draw = partial(_methods_sheet, shown, part, folder / "samples.png")
    sheet = attempt(f"the samples of {name} side by side", draw, progress.say)
    plots = {} if sheet is None else {"samples of the same seeds": sheet}
    curves = curve_data(block, part, progress)
    if len(curves):
        files.append(out / "tables" / name / "curves.csv")
        write_text(files[-1], csv_text(curves))
    if block.entries:
        named = curves.assign(entry=curves["entry"].map(dict(zip(block.entries, shown.entries, strict=True))))
        found = attempt(f"the plots of {name}", partial(_drawings, shown, part, named), progress.say)
        plots |= save_drawings(found or {}, folder, progress.say)
    records = tuple(run.record for run in part if run.record is not None)
    return Section(name, block, records, tuple(tables), plots), [*files, *plots.values()]


def _drawings(block: Block, runs: Sequence[StoredRun], curves: pd.DataFrame) -> Drawings:
    return {**drawings(block), **confusion.drawings(block, runs), **curve_plots.drawings(block, curves)}


def write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write each table as Markdown, CSV and LaTeX into `folder`; returns the files."""
    written = []
    for table in tables:
        for suffix, write in FORMATS.items():
            path = folder / f"{table.name}{suffix}"
            write_text(path, write(table))
            written.append(path)
    return written


def _methods_sheet(block: Block, runs: Sequence[StoredRun], path: Path) -> Path | None:
    """The sheet of methods on the seed that most entries have; entries whose samples are not on disk are left out."""
    keys = block.rows[["entry", "seed", "sample_digest"]].drop_duplicates()
    if keys.empty:
        return None
    seed = keys.groupby("seed")["entry"].nunique().idxmax()
    folders = {run.record.sample_digest: run.folder for run in runs if run.record is not None}
    samples = {}
    for row in each(keys[keys["seed"] == seed]):
        file = folders[row.sample_digest].samples(str(row.sample_digest)).images
        if file.is_file():
            samples[str(row.entry)] = SampleSet.load(file)
    if not samples:
        return None
    record = next(run.record for run in runs if run.record is not None)
    shown = f" (shown: {seed})" if len(block.seeds) > 1 else ""
    return methods_sheet(samples, record.class_names, record.class_counts, path, f"{footer(block, [])}{shown}")


def _papers(
    known: pd.DataFrame, given: Sequence[pd.DataFrame], shown: set[str], dataset: str | None, every: bool
) -> list[Table]:
    wanted = shown or ({dataset} if dataset is not None else set())
    tables = papers_tables(known if every else known[known["dataset"].isin(wanted)])
    for place, frame in enumerate(given, start=1):
        part = frame if dataset is None else frame[frame["dataset"] == dataset]
        source = frame["leaderboard"].iloc[0] if len(frame) else ""
        tables += papers_tables(part, f"from {source}; not ranked with the above", f"leaderboard-{place}")
    return tables
