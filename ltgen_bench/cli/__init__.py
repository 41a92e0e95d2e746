"""Command line interface. Each command imports what takes time to import itself."""

# ruff: noqa: E402, I001  (a signal while the rest is imported finds its answer)
from ltgen_bench.core.early_signals import handle_signals_early

handle_signals_early()

import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from ltgen_bench import __version__
from ltgen_bench.cli.cache_command import cache
from ltgen_bench.cli.check_command import check
from ltgen_bench.cli.cite_command import cite
from ltgen_bench.cli.data_command import data
from ltgen_bench.cli.evaluate_command import evaluate
from ltgen_bench.cli.export_command import export
from ltgen_bench.cli.grid_command import grid
from ltgen_bench.cli.list_command import list_
from ltgen_bench.cli.method_command import method
from ltgen_bench.cli.protocol_command import protocol
from ltgen_bench.cli.report_command import report
from ltgen_bench.cli.run_command import run
from ltgen_bench.cli.runs_command import runs
from ltgen_bench.cli.sample_command import sample
from ltgen_bench.cli.search_command import search
from ltgen_bench.cli.suite_command import suite
from ltgen_bench.cli.torchrun_output import ErrorOutput, check_shared
from ltgen_bench.cli.common import Commands, unforeseen
from ltgen_bench.cli.terminal_encoding import any_text
from ltgen_bench.cli.speed_command import speed
from ltgen_bench.core.errors import BenchError, Interrupted, LostError
from ltgen_bench.core.plain_text import printable_lines
from ltgen_bench.runtime.distributed import destroy_process_group, report_lost_processes
from ltgen_bench.core.torchrun import torchrun_process


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="ltgen-bench")
@click.pass_context
def cli(context: click.Context) -> None:
    """Benchmark generative models of images on long-tailed (class-imbalanced) data.

    \b
    ltgen-bench run                                      train, sample and score CBDM on small digits
    ltgen-bench run --method ddpm --dataset cifar10-lt   another method, other data
    ltgen-bench report                                   tables and plots of all runs
    """
    any_text()
    check_shared(context.invoked_subcommand)


for _command in (run, grid, suite, evaluate, search, report, protocol, data, list_, method, cite, runs, export, sample, check,
                 speed, cache):
    cli.add_command(_command)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Handle Ctrl-C and SIGTERM while no stage does; yields the list of those that were received.

    With several processes torchrun's SIGTERM keeps its default.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGTERM:
            raise Interrupted("stopped", 128 + number)
        raise KeyboardInterrupt

    handled = (signal.SIGINT, signal.SIGTERM) if torchrun_process().size == 1 else (signal.SIGINT,)
    before = {number: signal.signal(number, handle) for number in handled}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """Run a command, and turn exceptions into a message and an exit code."""
    debug, errors = "--debug" in sys.argv[1:], ErrorOutput()
    with _signals() as received:
        try:
            any_text()
            with report_lost_processes():
                code = cli.main(standalone_mode=False)
            if errors.size > 1:
                destroy_process_group()
        except click.exceptions.Abort:
            _fail(errors, "interrupted", 130)
        except click.ClickException as error:
            _fail(errors, error.format_message(), 2, hint=_usage(error))
        except BrokenPipeError:
            sys.stderr.close()  # the reader of a pipe left; there is nobody to tell
            sys.exit(141)
        except BenchError as error:
            _fail(errors, str(error), error.exit_code, trace=debug, at_once=isinstance(error, LostError))
        except KeyboardInterrupt:
            _fail(errors, "interrupted", 130, trace=debug)
        except SystemExit as error:
            if "_LTGEN_BENCH_COMPLETE" in os.environ:  # the completion of shells ends so
                raise
            words = f"some code called sys.exit({error.code!r}), so nothing is finished; --debug shows where"
            _fail(errors, words, 1, trace=debug)
        except Exception as error:  # noqa: BLE001  (the last line of defence: what nobody foresaw, still without a traceback)
            message, code = ("interrupted", 128 + received[-1]) if received else unforeseen(error)
            _fail(errors, message, code, trace=debug)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"   ({context.command_path} --help)" if context is not None else ""


def _fail(errors: ErrorOutput, message: str, code: int, hint: str = "", trace: bool = False, at_once: bool = False) -> None:
    if trace:
        traceback.print_exc(file=errors.stderr)
    errors.print_error(printable_lines(f"{'' if code > 128 else 'error: '}{message}{hint}"), stopped=code > 128, at_once=at_once)
    sys.exit(code)
