"""`ltgen-bench cache ...`: what is kept between commands, and how to clear it."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltgen_bench.cli.common import Commands, debug_option

if TYPE_CHECKING:
    from ltgen_bench.experiments.cache_folder import Kept


@click.group(cls=Commands)
def cache() -> None:
    """Show or clear what is kept between commands."""


@cache.command()
@debug_option
def show() -> None:
    """What is kept, its size and last use, and where it lies."""
    from ltgen_bench.core.files import CACHE_VARIABLE, cache_folder
    from ltgen_bench.experiments.cache_folder import find_kept

    folder = cache_folder()
    found = find_kept(folder)
    _table(found, folder)
    click.echo(f"{folder}  {_amount(found)}", err=True)
    click.echo(f"To keep it elsewhere, set {CACHE_VARIABLE} to another folder; what is there can be moved along.", err=True)


@cache.command()
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="Only what was not used for so long.")
@click.option("--kind", type=click.Choice(["features", "images", "classifiers", "weights", "all"]), default="all",
              show_default=True, help="Only this kind.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@debug_option
def prune(older_than: float | None, kind: str, yes: bool, dry_run: bool) -> None:
    """Remove what is kept; it is made or fetched again when it is needed.

    Files that are not this program's stay, and so does what another command is writing.

    \b
    ltgen-bench cache prune --older-than 30
    ltgen-bench cache prune --kind images --dry-run
    """
    from ltgen_bench.core.files import cache_folder
    from ltgen_bench.experiments.cache_folder import find_kept, remove

    folder = cache_folder()
    chosen = [item for item in find_kept(folder) if item.kind != "unknown" and kind in (item.kind, "all")
              and (older_than is None or item.older_than(older_than))]
    if not chosen:
        click.echo(f"{folder}  nothing to remove")
        return
    _table(chosen, folder)
    if dry_run:
        click.echo(f"would remove  {_amount(chosen)}")
    elif yes or click.confirm(f"{folder}  remove {_amount(chosen)}?"):
        removed = remove(chosen, lambda message: click.echo(message, err=True))
        click.echo(f"removed  {_amount(removed)}")
    else:
        click.echo("nothing removed")


def _table(items: "list[Kept]", folder: Path) -> None:
    """One line each; in a pipe tab-separated, with bytes and paths."""
    from rich.console import Console

    from ltgen_bench.report.table import Cell, Head, Row, Table
    from ltgen_bench.report.table_formats import terminal

    console = Console()
    if not console.is_terminal:
        for item in items:
            click.echo("\t".join((item.kind, item.words, str(item.size), _time(item.used), str(item.path))))
        return
    if items:
        heads = (Head("what", "what", number=False), Head("kind", "kind", number=False), Head("size", "size"),
                 Head("last use", "used", number=False), Head("path", "path", number=False))
        rows = tuple(Row(tuple(Cell(text) for text in (
            item.words, item.kind, _bytes(item.size), _time(item.used), str(item.path.relative_to(folder)))))
            for item in items)
        click.echo(terminal(Table("cache", "", heads, rows), console.width, not console.no_color))


def _amount(items: "list[Kept]") -> str:
    """`features: 2 (1.2 GB), images: 1 (3 MB); 1.2 GB in all`."""
    sizes: dict[str, list[int]] = {}
    for item in items:
        sizes.setdefault(item.kind, []).append(item.size)
    parts = [f"{kind}: {len(own)} ({_bytes(sum(own))})" for kind, own in sizes.items()]
    total = f"; {_bytes(sum(map(sum, sizes.values())))} in all" if len(parts) > 1 else ""
    return f"{', '.join(parts)}{total}" if parts else "nothing is kept"


def _bytes(size: int) -> str:
    number = float(size)
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.2f} GB"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
