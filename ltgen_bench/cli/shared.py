"""What the commands share: options, the group that answers a mistyped name, and plain tables."""

from collections.abc import Callable
from pathlib import Path

import click

from ltgen_bench.errors import UserError, did_you_mean

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


class Commands(click.Group):
    """A group that answers a mistyped command with the one that was meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the near match and the list of commands."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            names = self.list_commands(ctx)
            raise UserError(f"unknown command '{args[0]}'.{did_you_mean(args[0], names)} Known: {', '.join(names)}.")
        return super().resolve_command(ctx, args)


def debug_option(command: Callable) -> Callable:
    """`--debug`, for every command; `main` looks for it when an error arrives."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)


def runs_option(command: Callable) -> Callable:
    """`--runs DIR`, where the run folders lie."""
    return click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="Folder of the runs.")(command)


def listing(rows: list[tuple[str, str, str]], heads: tuple[str, str, str]) -> None:
    """A table of three columns that wraps its texts to the terminal, or tab-separated lines in a pipe."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        for row in rows:
            click.echo("\t".join(row))
        return
    table = Table(box=None, padding=(0, 2, 1, 0), header_style="bold")
    for head in heads:
        table.add_column(head, no_wrap=head == heads[0], overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, markup=False)
