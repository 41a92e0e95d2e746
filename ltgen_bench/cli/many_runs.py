"""Many runs in one command, by one process or several: what `grid` and `suite run` share."""

import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ltgen_bench import __version__
from ltgen_bench.cli.common import device_words, resumable, terminal_context, unforeseen
from ltgen_bench.cli.run_notes import planned_notes, recipe_note, warnings_of
from ltgen_bench.core.errors import BenchError, Interrupted, MachineError

if TYPE_CHECKING:
    from ltgen_bench.experiments.grid import Cell
    from ltgen_bench.experiments.pipeline import Run
    from ltgen_bench.experiments.plan import Plan
    from ltgen_bench.runtime.context import RunContext

HELPER = "LTGEN_BENCH_GRID_HELPER"  # in the environment of a process that another such command started


def jobs_options(command: Callable) -> Callable:
    """Add `--jobs N` and `--threads N`."""
    number = click.IntRange(min=1)
    command = click.option("--threads", type=number, metavar="N",
                           help="CPU threads of each run.  [default: torch's number, divided by --jobs]")(command)
    return click.option("--jobs", type=number, default=1, show_default=True, help="Runs at the same time.")(command)


def shared_context(device: str | None, jobs: int, threads: int | None, weights: Mapping[str, Path]) -> "RunContext":
    """Return the context of one of `jobs` processes: lines instead of bars where several write to one terminal."""
    import torch
    from rich.console import Console

    shared = jobs > 1
    threads = threads or (max(1, torch.get_num_threads() // jobs) if shared else None)
    return terminal_context(device, threads, weights, Console(stderr=True, force_terminal=False if shared else None))


def is_helper() -> bool:
    """Return whether another command of this kind started this process, which then reports nothing."""
    return HELPER in os.environ


def carry_out_many(cells: "Sequence[Cell]", jobs: int, context: "RunContext", make: "Callable[[Plan, RunContext], Run]",
                   at_most: int) -> "tuple[Cell, ...]":
    """Carry out `cells`, `jobs` (and no more than `at_most`) at a time; returns them with their runs and errors."""
    from ltgen_bench.experiments.grid import carry_out_grid

    work = partial(carry_out_grid, cells, context, told=_told, shared=jobs > 1, make=make)
    if is_helper():
        return _help(work)
    with resumable(), helpers(min(jobs, at_most) - 1):
        return work()


def end(cells: "Sequence[Cell]") -> None:
    """Raise `MachineError`, which names them, where runs failed."""
    failed = [f"  {cell.words}: {cell.error}" for cell in cells if cell.error]
    if failed:
        raise MachineError("\n".join([f"{len(failed)} of {len(cells)} runs failed", *failed]))


@contextmanager
def helpers(number: int) -> Iterator[None]:
    """Start so many further processes of this command, which skip runs that another process is making.

    Each ends when its standard input is closed, so that none outlives this process.
    """
    command = [sys.executable, "-m", "ltgen_bench", *sys.argv[1:]]
    started = [subprocess.Popen(command, env={**os.environ, HELPER: "1"}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                start_new_session=True) for _ in range(number)]  # Ctrl-C comes to this process alone
    try:
        yield
    finally:
        for process in started:
            process.communicate()


def _help(make: "Callable[[], tuple[Cell, ...]]") -> "tuple[Cell, ...]":
    """Make runs in a process started by `helpers`; only the process that started it reports at the end."""
    def end_with_it() -> None:
        sys.stdin.read()  # until the other process is gone
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_it, daemon=True).start()
    with suppress(Interrupted):
        return make()
    return ()


def _told(error: Exception) -> str:
    if "--debug" in sys.argv[1:]:
        traceback.print_exc()
    return str(error) if isinstance(error, BenchError) else unforeseen(error)[0]


def announce(cells: "Sequence[Cell]", jobs: int, context: "RunContext") -> None:
    """Say what will run where, and the notes on the runs, each once."""
    from ltgen_bench.experiments.grid import faults

    progress, done = context.progress, sum(cell.finished for cell in cells)
    progress.say(f"ltgen-bench {__version__}  {len(cells)} runs, {done} of them finished  {device_words(context.device)}"
                 f"{f', {jobs} at a time' if jobs > 1 else ''}")
    notes = [line for cell in cells for plan in cell.plans
             for line in (*recipe_note(plan.config), *planned_notes(plan), *warnings_of(plan.config))]
    for line in dict.fromkeys([*notes, *(f"cannot be made: {fault}" for fault in faults(cells))]):
        progress.say(line)
