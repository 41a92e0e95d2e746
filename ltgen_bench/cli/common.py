"""Options, groups and tables that several commands share."""

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ltgen_bench import __version__
from ltgen_bench.core.errors import UserError, did_you_mean
from ltgen_bench.core.registry import failing_package
from ltgen_bench.core.user_paths import check_path


class SafePath(click.Path):
    """Parameter type of paths. Texts that cannot be a path raise `UserError`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path after checking the text."""
        check_path(str(value), param.opts[0] if param is not None else "the command")
        return super().convert(value, param, ctx)


FOLDER = SafePath(path_type=Path, file_okay=False)
FILE = SafePath(path_type=Path, dir_okay=False)


class Commands(click.Group):
    """Group of commands that suggests a similar name for an unknown command."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command as click does; raises a usage error with a similar name and the list of commands."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            names = self.list_commands(ctx)
            raise UserError(f"unknown command '{args[0]}'.{did_you_mean(args[0], names)} Known: {', '.join(names)}.")
        return super().resolve_command(ctx, args)


def debug_option(command: Callable) -> Callable:
    """Add `--debug`, which `main` reads when an exception arrives."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)


def runs_option(command: Callable) -> Callable:
    """Add `--runs DIR`, the folder of the run folders."""
    return click.option("--runs", type=FOLDER, default=Path("runs"), show_default=True, help="Folder of the runs.")(command)


def preset_option(command: Callable) -> Callable:
    """Return `--preset NAME`, and `--protocol` as a `UserError` that names it."""
    def refuse(context: click.Context, option: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise UserError(f"--protocol is called --preset: write --preset {value}.")

    command = click.option("--protocol", hidden=True, expose_value=False, callback=refuse)(command)
    words = "Measure with the settings of standard, cbdm-paper, oc-paper, ..."
    return click.option("--preset", metavar="NAME", help=words)(command)


class Batch(click.ParamType):
    """Parameter type of batch sizes: an integer above 0, or auto."""

    name = "batch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the integer, or "auto". Raises `UserError` for anything else."""
        if value == "auto" or isinstance(value, int):
            return value
        number = whole_number(value)
        if number < 1:
            raise UserError(f"--batch {value:.40}: it is a whole number above 0, or auto for as many as are fastest on this "
                            "machine.")
        return number


def whole_number(text: str) -> int:
    """Return a non-negative integer of at most 18 digits; -1 for anything else."""
    return int(text) if text.isdecimal() and len(text) <= 18 else -1


def batch_option(words: str) -> Callable:
    """Return a decorator that adds `--batch N|auto`; `words` begin its help text."""
    return click.option("--batch", type=Batch(), metavar="N|auto", help=words)


_DATA_OPTIONS = (
    click.option("--imbalance-factor", metavar="NUMBER|natural", help="Largest / smallest class count."),
    click.option("--profile", metavar="NAME", help="How the class counts fall: exp, step or pareto:ALPHA."),
    click.option("--split-seed", type=int, metavar="N", help="Seed of the draw of training images in each class.  [default: 0]"),
    click.option("--class-order", type=int, metavar="SEED", help="Seed of the order of the classes.  [default: by label]"),
    click.option("--split", metavar="FILE", help="Manifest of the training images (split.json of data export)."),
    click.option("--index-list", metavar="FILE", help="Published list of training images, lines of PATH LABEL."),
    click.option("--test-list", metavar="FILE", help="Published list of test images."),
    click.option("--test-part", metavar="NAME", help="Part of your own data used as test set; train: hold out a quarter of "
                 "each class; none: no test set.  [default: test, else val]"),
    click.option("--image-size", type=int, metavar="32|64|128", help="Resize image files to this width and height."),
    click.option("--columns", metavar="IMAGE,LABEL", help="Columns of hub:NAME.  [default: detected]"),
    click.option("--data-root", type=FOLDER, default=Path("data"), show_default=True, help="Folder of the data sets."),
)


def data_options(command: Callable) -> Callable:
    """Add the options that select images, for commands that read a data set."""
    for option in reversed(_DATA_OPTIONS):
        command = option(command)
    return command


def data_values(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the data options from `options`, and return those that were given as keys of `[data]`."""
    factor, columns = options.pop("imbalance_factor"), options.pop("columns")
    if factor is not None and factor != "natural":
        try:
            factor = float(factor)
        except ValueError:
            raise UserError(f"--imbalance-factor {factor}: it is a number of at least 1, or natural.") from None
    names = ("profile", "split_seed", "class_order", "split", "index_list", "test_list", "test_part", "image_size")
    given = {"imbalance_factor": factor, **{name: options.pop(name) for name in names},
             "columns": None if columns is None else [name.strip() for name in columns.split(",")]}
    return {key: value for key, value in given.items() if value is not None}


def unforeseen(error: Exception) -> tuple[str, int]:
    """Return (message, exit code) for an exception that is no `BenchError`."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full. Finished files are complete; free some space and repeat the command to continue.", 1
    if _out_of_memory(error):
        return (f"out of memory ({error}); take a smaller train.batch_size with --set, --batch auto for sampling and features, "
                "or a smaller --network."), 1
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename} could not be used: {error.strerror}.", 1
    package = failing_package(error)
    if package:
        return f"{package}; mend that package or uninstall it. --debug shows the traceback.", 2
    words = " ".join(str(error).split())
    return (f"this is a bug in ltgen-bench: {type(error).__name__}: {words:.500}. Please report it, with the command, the "
            f"version ({__version__}) and what the command prints with --debug."), 1


def _out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from ltgen_bench.runtime.batch_size import out_of_memory

    return out_of_memory(error)


def listing(rows: list[tuple[str, str, str]], heads: tuple[str, str, str]) -> None:
    """Print a table of three columns, wrapped to the terminal, or tab-separated lines in a pipe."""
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
