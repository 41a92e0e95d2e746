"""`ltgen-bench report`: compare all runs."""

from pathlib import Path

import click

from ltgen_bench.cli.shared import FILE, FOLDER, debug_option, runs_option


@click.command()
@runs_option
@click.option("--out", type=FOLDER, default=Path("report"), show_default=True, help="Where tables, plots and page go.")
@click.option("--leaderboard", "leaderboards", multiple=True, type=FILE, metavar="FILE", help="A CSV of results to show beside.")
@click.option("--dataset", metavar="NAME", help="Only this data set.")
@click.option("--all-papers", is_flag=True, help="Papers' numbers on every data set, not only on those of the runs.")
@click.option("--update-benchmark", is_flag=True, help="Write the tables into BENCHMARK.md, and results/ beside it.")
@debug_option
def report(runs: Path, out: Path, leaderboards: tuple[Path, ...], dataset: str | None, all_papers: bool,
           update_benchmark: bool) -> None:
    """Compare all runs: tables (terminal, Markdown, CSV, LaTeX), plots and a page; papers' numbers in their own block."""
    from rich.console import Console

    from ltgen_bench.report import report as room

    made = room.report(runs, out, leaderboards=leaderboards, dataset=dataset, all_papers=all_papers)
    console = Console()
    click.echo(made.terminal(console.width, console.is_terminal and not console.no_color))
    if update_benchmark:
        room.update_benchmark(made, Path("BENCHMARK.md"))
