"""`ltgen-bench report`: compare all runs."""

from pathlib import Path
from typing import Any

import click

from ltgen_bench.cli.common import terminal_progress
from ltgen_bench.cli.options import FILE, FOLDER, names_of, runs_option
from ltgen_bench.core.errors import UserError


@click.command()
@runs_option
@click.option("--out", type=FOLDER, default=Path("report"), show_default=True, help="Folder of the report.")
@click.option("--leaderboard", "leaderboards", multiple=True, type=FILE, metavar="FILE", help="CSV of other results.")
@click.option("--dataset", metavar="NAME", help="Only this data set.")
@click.option("--equal", metavar="WORD,...", default="", help="Separate tables for rows equal in these: budget, sampler, "
              "steps, omega, images, network, batch, augment; flops or seconds of training (about equal).")
@click.option("--compare-published", is_flag=True, help="Papers' rows below ours, with the differences in protocol.")
@click.option("--all-papers", is_flag=True, help="Papers' numbers on every data set, not only on those of the runs.")
@click.option("--rank", metavar="METRIC[:EXTRACTOR]", help="Only print one ranking of all runs.")
@click.option("--methods", metavar="NAME,...", help="Only these rows; their differences alone are told together.")
@click.option("--metrics", metavar="NAME,...", help="Only these columns, in this order, each written as for --rank.")
@click.option("--scope", metavar="NAME", help="Only these classes: all, few, many@count, ...  [default of --rank: all]")
@click.option("--baseline", metavar="METHOD", help="Compare the rows with this one alone (Dunnett).")
@click.option("--sort", is_flag=True, help="Rows from best to worst in the first column of scores.")
@click.option("--update-benchmark", is_flag=True, help="Store the results in results/ and update BENCHMARK.md.")
def report(runs: Path, out: Path, leaderboards: tuple[Path, ...], dataset: str | None, equal: str, compare_published: bool,
           all_papers: bool, rank: str | None, methods: str | None, metrics: str | None, scope: str | None,
           baseline: str | None, sort: bool, update_benchmark: bool) -> None:
    """Compare all runs: tables (terminal, Markdown, CSV, LaTeX), plots and a page; papers' numbers in their own block.

    With --methods or --baseline it is a planned comparison, which corrects for the differences that are shown alone. Decide
    on it before you have seen the scores.

    \b
    ltgen-bench report --methods cbdm,oc --metrics fid,recall --scope few --baseline ddpm --sort
    """
    rows, columns = _names("--methods", methods), _names("--metrics", metrics)
    words = [word.strip() for word in equal.split(",") if word.strip()]
    if rank is not None:
        given = {"--leaderboard": leaderboards, "--compare-published": compare_published, "--all-papers": all_papers,
                 "--metrics": metrics, "--sort": sort, "--update-benchmark": update_benchmark}
        if any(given.values()):
            unwanted = next(name for name, value in given.items() if value)
            raise UserError(f"--rank prints one ranking and writes nothing: leave out {unwanted}, or --rank.")
        _rank(runs, rank, scope=scope or "all", methods=rows, baseline=baseline or "", dataset=dataset,
              equal=words)
        return
    planned = {"--methods": methods, "--metrics": metrics, "--scope": scope, "--baseline": baseline, "--sort": sort}
    if update_benchmark and any(planned.values()):
        unwanted = next(name for name, value in planned.items() if value)
        raise UserError(f"--update-benchmark writes all rows and columns: leave out {unwanted}.")
    from rich.console import Console

    from ltgen_bench.report import benchmark_page, write_report
    from ltgen_bench.report.planned import Planned

    chosen = Planned(rows, columns, scope or "", baseline or "", sort)
    made = write_report.report(runs, out, leaderboards=leaderboards, dataset=dataset, all_papers=all_papers, equal=words,
                               compare_published=compare_published, planned=chosen, progress=terminal_progress())
    console = Console()
    click.echo(made.terminal(console.width, console.is_terminal and not console.no_color))
    if update_benchmark:
        benchmark_page.update_benchmark(made, Path("BENCHMARK.md"))


def _names(option: str, text: str | None) -> tuple[str, ...]:
    """Return the names of an option, none where it is not given."""
    names = tuple(names_of(text) or ())
    if text is not None and not names:
        raise UserError(f"{option} names nothing: write names with commas between, or leave it out.")
    return names


def _rank(runs: Path, wanted: str, **settings: Any) -> None:
    from rich.console import Console

    from ltgen_bench.report.ranking import ranking
    from ltgen_bench.report.table_formats import terminal

    console = Console()
    color = console.is_terminal and not console.no_color
    tables = ranking(runs, wanted, **settings)
    click.echo("\n".join(terminal(table, console.width, color) for table in tables), nl=False)
