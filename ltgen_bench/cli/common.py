"""What the commands share: the group that answers a mistyped name, the context, messages and plain tables."""

import errno
import json
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from ltgen_bench import __version__
from ltgen_bench.cli.torchrun_output import launcher
from ltgen_bench.core.errors import Interrupted, UserError, did_you_mean
from ltgen_bench.core.registry import failing_package
from ltgen_bench.core.words import counted

if TYPE_CHECKING:
    import torch
    from rich.console import Console

    from ltgen_bench.core.console import TerminalProgress
    from ltgen_bench.data.dataset import LongTailDataset
    from ltgen_bench.report.table import Table
    from ltgen_bench.runtime.context import RunContext

NO_WEIGHTS: Mapping[str, Path] = MappingProxyType({})
STYLES = {"ok": "green", "FAILED": "bold red", "note": "dim"}  # of the states of findings


class Commands(click.Group):
    """Group of commands that suggests a similar name for an unknown command. Its commands have the option --debug."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add `cmd` with the option `--debug`, which `main` reads when an exception arrives."""
        if not isinstance(cmd, click.Group):
            cmd.params.append(click.Option(["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error."))
        super().add_command(cmd, name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command as click does; raises a usage error with a similar name and the list of commands."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            names = self.list_commands(ctx)
            raise UserError(f"unknown command '{args[0]}'.{did_you_mean(args[0], names)} Known: {', '.join(names)}.")
        return super().resolve_command(ctx, args)


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


def labelled(word: str, text: str, indent: int, width: int) -> list[str]:
    """Return `word   text` in lines of at most `width` columns, the text in a column that begins at `indent`."""
    return textwrap.wrap(text, max(width, 40), initial_indent=f"{word:<{indent}}", subsequent_indent=" " * indent,
                         break_long_words=False, break_on_hyphens=False) or [word]


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


def print_table(table: "Table") -> None:
    """Print a table as wide as the terminal."""
    from rich.console import Console

    from ltgen_bench.report.table_formats import terminal

    out = Console()
    click.echo(terminal(table, out.width, out.is_terminal and not out.no_color))


def print_json(value: Any) -> None:
    """Print `value` as JSON."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def print_finding(state: str, words: str) -> None:
    """Print `ok     words` in the colour of the state: ok, FAILED or note."""
    from rich.console import Console
    from rich.text import Text

    Console().print(Text.assemble((f"{state:<6}", STYLES[state]), f" {words}"), soft_wrap=True)


@contextmanager
def resumable() -> Iterator[None]:
    """Add the command that continues the run to the message of an interruption."""
    try:
        yield
    except Interrupted as stopped:
        raise Interrupted(f"{stopped}. To continue: {typed_command()}", stopped.exit_code) from None


def terminal_progress(console: "Console | None" = None) -> "TerminalProgress":
    """Return the progress on stderr, or on `console`."""
    from rich.console import Console

    from ltgen_bench.core.console import TerminalProgress

    return TerminalProgress(console or Console(stderr=True))


def terminal_context(device: str | None, threads: int | None = None, weights: "Mapping[str, Path]" = NO_WEIGHTS,
                     console: "Console | None" = None) -> "RunContext":
    """Return the context of a command: progress on stderr (`console`), this command line for records, torch's `threads` set.

    Imports torch, so the caller checks names before. A device that is not there is a `UserError`.
    """
    from ltgen_bench.runtime.context import RunContext
    from ltgen_bench.runtime.device import choose_device

    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return RunContext(choose_device(device), terminal_progress(console), extractor_weights=weights, command=recorded_command())


def typed_command() -> str:
    """Return the command as typed, without the path of the program."""
    return f"{launcher()} {shlex.join(sys.argv[1:])}".rstrip()


def recorded_command() -> str:
    """Return the command for the record, with absolute paths cut to their last part, since records are published."""
    return re.sub(r"(?<![\w.])(?:~|/)[^\s'\"]*/([^\s'\"/]+)", r".../\1", typed_command())


def about(dataset: "LongTailDataset") -> str:
    """Return a data set in words: name, factor, images and classes."""
    factor = f"imbalance {dataset.imbalance_factor:g}" if dataset.imbalance_factor else "its own class counts"
    return f"{dataset.name} ({factor}, {len(dataset.train):,} images, {dataset.num_classes} classes)"


def device_words(device: "torch.device") -> str:
    """Return `cpu, 2 threads` or `cuda:0`."""
    import torch

    return f"{device}, {counted(torch.get_num_threads(), 'thread')}" if device.type == "cpu" else str(device)
