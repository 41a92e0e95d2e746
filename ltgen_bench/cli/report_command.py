"""`ltgen-bench report`: compare all runs."""

from pathlib import Path

import click

from ltgen_bench.cli.common import terminal_progress
from ltgen_bench.cli.options import FILE, FOLDER, runs_option
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
@click.option("--scope", metavar="NAME", help="Classes for --rank: all (the default), few@thirds, many@count, ...")
@click.option("--baseline", metavar="METHOD", help="Compare the rows of --rank with this one alone (Dunnett).")
@click.option("--update-benchmark", is_flag=True, help="Store the results in results/ and update BENCHMARK.md.")
def report(runs: Path, out: Path, leaderboards: tuple[Path, ...], dataset: str | None, equal: str, compare_published: bool,
           all_papers: bool, rank: str | None, scope: str | None, baseline: str | None, update_benchmark: bool) -> None:
    """Compare all runs: tables (terminal, Markdown, CSV, LaTeX), plots and a page; papers' numbers in their own block."""
    words = [word.strip() for word in equal.split(",") if word.strip()]
    if rank is not None:
        given = {"--leaderboard": leaderboards, "--compare-published": compare_published, "--all-papers": all_papers,
                 "--update-benchmark": update_benchmark}
        if any(given.values()):
            unwanted = next(name for name, value in given.items() if value)
            raise UserError(f"--rank prints one ranking and writes nothing: leave out {unwanted}, or --rank.")
        _rank(runs, rank, scope or "all", baseline or "", dataset=dataset, equal=words)
        return
    if baseline is not None:
        raise UserError("--baseline says what --rank METRIC compares with: give --rank too, or leave --baseline out.")
    if scope is not None:
        raise UserError("--scope says what --rank METRIC ranks in: give --rank too, or leave --scope out.")
    from rich.console import Console

    from ltgen_bench.report import benchmark_page, write_report

    made = write_report.report(runs, out, leaderboards=leaderboards, dataset=dataset, all_papers=all_papers, equal=words,
                               compare_published=compare_published, progress=terminal_progress())
    console = Console()
    click.echo(made.terminal(console.width, console.is_terminal and not console.no_color))
    if update_benchmark:
        benchmark_page.update_benchmark(made, Path("BENCHMARK.md"))


def _rank(runs: Path, wanted: str, scope: str, baseline: str, *, dataset: str | None, equal: list[str]) -> None:
    from rich.console import Console

    from ltgen_bench.report.ranking import ranking
    from ltgen_bench.report.table_formats import terminal

    console = Console()
    color = console.is_terminal and not console.no_color
    tables = ranking(runs, wanted, scope=scope, dataset=dataset, equal=equal, baseline=baseline)
    click.echo("\n".join(terminal(table, console.width, color) for table in tables), nl=False)
