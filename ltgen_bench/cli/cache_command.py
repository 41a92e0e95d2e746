"""`ltgen-bench cache ...`: lists and clears the cache folder."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.filesize import decimal

from ltgen_bench.cli.common import Commands, print_table

if TYPE_CHECKING:
    from ltgen_bench.core.cache_folder import CacheItem


@click.group(cls=Commands)
def cache() -> None:
    """List or clear the cache: features, images, classifiers and weights."""


@cache.command()
def show() -> None:
    """List what is in the cache, with size, last use and path."""
    from ltgen_bench.core.files import CACHE_VARIABLE, cache_folder

    folder = cache_folder()
    found = _items(folder)
    _table(found, folder)
    click.echo(f"{folder}  {_amount(found)}", err=True)
    click.echo(f"To put the cache elsewhere, set {CACHE_VARIABLE} to another folder and move its content there.", err=True)


@cache.command()
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="Only what was not used for so long.")
@click.option("--kind", type=click.Choice(["features", "images", "classifiers", "weights", "all"]), default="all",
              show_default=True, help="Only this kind.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def prune(older_than: float | None, kind: str, yes: bool, dry_run: bool) -> None:
    """Remove things from the cache; they are computed or fetched again when needed.

    Files of other programs stay, and so do files that another command is writing.

    \b
    ltgen-bench cache prune --older-than 30
    ltgen-bench cache prune --kind images --dry-run
    """
    from ltgen_bench.core.cache_folder import remove
    from ltgen_bench.core.files import cache_folder

    folder = cache_folder()
    chosen = [item for item in _items(folder) if item.group != "unknown" and kind in (item.group, "all")
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


def _items(folder: Path) -> "list[CacheItem]":
    """Return everything in the cache folder, by the kinds that readers of images and evaluations register."""
    import ltgen_bench.data.image_cache
    import ltgen_bench.evaluation.cached_evaluation  # noqa: F401
    from ltgen_bench.core.cache_folder import cache_items

    return cache_items(folder)


def _table(items: "list[CacheItem]", folder: Path) -> None:
    """One line each; in a pipe tab-separated, with bytes and paths."""
    from rich.console import Console

    from ltgen_bench.report.table import Cell, Head, Row, Table

    if not Console().is_terminal:
        for item in items:
            click.echo("\t".join((item.group, item.words, str(item.size), _time(item.used), str(item.path))))
        return
    if items:
        heads = (Head("what", "what", number=False), Head("kind", "kind", number=False), Head("size", "size"),
                 Head("last use", "used", number=False), Head("path", "path", number=False))
        rows = tuple(Row(tuple(Cell(text) for text in (
            item.words, item.group, decimal(item.size), _time(item.used), str(item.path.relative_to(folder)))))
            for item in items)
        print_table(Table("cache", "", heads, rows))


def _amount(items: "list[CacheItem]") -> str:
    """Return `features: 2 (1.2 GB), images: 1 (3 MB); 1.2 GB in all`."""
    sizes: dict[str, list[int]] = {}
    for item in items:
        sizes.setdefault(item.group, []).append(item.size)
    parts = [f"{kind}: {len(own)} ({decimal(sum(own))})" for kind, own in sizes.items()]
    total = f"; {decimal(sum(map(sum, sizes.values())))} in all" if len(parts) > 1 else ""
    return f"{', '.join(parts)}{total}" if parts else "the cache is empty"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
