"""A grid of runs: several methods, seeds and values in one command that can be stopped and repeated.

A cell of the grid is a run; finished runs are read. A cell that another command is working on is skipped and checked again at
the end, so several commands can share one grid.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from ltgen_bench.config.schema import DataConfig, RunConfig
from ltgen_bench.core.errors import BusyError, Interrupted, UserError
from ltgen_bench.core.progress import Progress, Stage
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.experiments.pipeline import Run, carry_out
from ltgen_bench.experiments.plan import Plan, make_plan
from ltgen_bench.experiments.recipes import resolved_runs
from ltgen_bench.runtime.context import RunContext

WAIT_SECONDS = 5.0  # between two checks of cells that other commands are working on


@dataclass(frozen=True)
class Cell:
    """One run of a grid: a plan for each sampling seed and evaluation settings of its preset, and the finished runs of these.

    `known`: all were finished before this command. `error`: why it cannot be carried out, or failed.
    """

    name: str  # method and searched values, without the seed
    seed: int
    plans: tuple[Plan, ...] = ()
    runs: tuple[Run, ...] = ()
    known: bool = False
    error: str = ""

    @property
    def words(self) -> str:
        """`cbdm, seed 1`."""
        return f"{self.name}, seed {self.seed}"

    @property
    def finished(self) -> bool:
        """Whether all its runs are finished."""
        return bool(self.plans) and all(plan.finished for plan in self.plans)


def make_grid(configs: Mapping[str, Sequence[RunConfig]], load: Callable[[DataConfig], LongTailDataset], runs: Path,
              context: RunContext, sample_seeds: Sequence[int] = ()) -> tuple[Cell, ...]:
    """Plan a cell for each of `configs` (name -> one configuration per seed); `load` reads each data set once.

    Each training is sampled from under every one of `sample_seeds`, or under the seed of its configuration.

    Budgets in FLOPs or seconds are converted to images here, one method after the other, before anything is trained. A cell
    that cannot run has an `error`. Raises `UserError` where none can run.
    """
    read = _once(load)
    data = {config.data for seeds in configs.values() for config in seeds}
    if len(data) == 1:
        read(*data)  # its faults are reported once, and not for every cell
    plan = partial(make_plan, runs=runs, context=replace(context, progress=_Once(context.progress)))
    resolve = partial(resolved_runs, sample_seeds=sample_seeds)
    cells = [_planned(name, config, resolve, read, plan) for name, seeds in configs.items() for config in seeds]
    if all(cell.error for cell in cells):
        raise UserError("none of these runs is possible", faults(cells))
    return tuple(cells)


def _once(load: Callable[[DataConfig], LongTailDataset]) -> Callable[[DataConfig], LongTailDataset]:
    """Return `load`, which reads each data set once, and tries once what cannot be read."""
    @cache
    def tried(data: DataConfig) -> LongTailDataset | UserError:
        try:
            return load(data)
        except UserError as error:
            return error

    def read(data: DataConfig) -> LongTailDataset:
        found = tried(data)
        if isinstance(found, UserError):
            raise found
        return found

    return read


def faults(cells: Sequence[Cell]) -> list[str]:
    """Return each error of `cells`, after the runs that have it: `ddpm, seed 0 and 2 more: unknown ...`."""
    runs: dict[str, list[str]] = {}
    for cell in cells:
        if cell.error:
            runs.setdefault(cell.error, []).append(cell.words)
    return [f"{first(words)}: {error}" for error, words in runs.items()]


def first(words: Sequence[str]) -> str:
    """Return `ddpm, seed 0 and 2 more` for the runs with these names."""
    return words[0] + (f" and {len(words) - 1} more" if len(words) > 1 else "")


def _planned(name: str, config: RunConfig, resolve: Callable[[RunConfig], list[RunConfig]],
             load: Callable[[DataConfig], LongTailDataset], plan: Callable[[RunConfig, LongTailDataset], Plan]) -> Cell:
    try:
        dataset = load(config.data)
        plans = [plan(one, dataset) for one in resolve(config)]
    except UserError as error:
        return Cell(name, config.seed, error=str(error))
    return Cell(name, config.seed, tuple(plans))


def carry_out_grid(cells: Sequence[Cell], context: RunContext, *, told: Callable[[Exception], str] = str, shared: bool = False,
                   make: Callable[[Plan, RunContext], Run] = carry_out) -> tuple[Cell, ...]:
    """Carry out every cell, or read it where it is finished; returns the cells with their runs.

    A cell that fails has an `error`: the exception in the words of `told`; the others continue. `make` carries out a plan. With
    `shared`, every line of progress begins with the name of its cell, since other commands write to the same terminal. Raises
    `Interrupted` on Ctrl-C and SIGTERM; finished stages are kept.
    """
    made = {number: cell for number, cell in enumerate(cells) if cell.error}
    with context.interruption:
        while len(made) < len(cells):
            open_cells = [number for number in range(len(cells)) if number not in made]
            for number in open_cells:
                cell = cells[number]
                head = "" if cell.finished else f"run {number + 1} of {len(cells)}: {cell.words}, {cell.plans[0].folder}"
                own = _Announced(context.progress, head, f"{cell.name} s{cell.seed} " if shared else "")
                try:
                    known = cell.finished
                    runs = [make(plan, replace(context, progress=own)) for plan in cell.plans]
                    made[number] = replace(cell, runs=tuple(runs), known=known)
                except BusyError:
                    continue
                except Interrupted:
                    raise
                except Exception as error:  # noqa: BLE001  (also errors of a user's method: they do not concern the other cells)
                    why = told(error)
                    context.progress.say(f"{cell.words} failed: {why}")
                    cell.plans[0].folder.note_failure(why)
                    made[number] = replace(cell, error=why)
            if len(open_cells) == len(cells) - len(made):  # other commands work on all cells that are left
                time.sleep(WAIT_SECONDS)
    return tuple(made[number] for number in range(len(cells)))


class _Once:
    """Progress that drops repeated messages, such as that of a budget, which is the same for every seed."""

    def __init__(self, progress: Progress) -> None:
        self.stage, self.say = progress.stage, cache(progress.say)


class _Announced:
    """Progress that says `head` before its first message; a cell that another command works on has none."""

    def __init__(self, progress: Progress, head: str, name: str) -> None:
        self.progress, self.head, self.name = progress, head, name

    def stage(self, name: str, total: int, unit: str, done: int = 0) -> AbstractContextManager[Stage]:
        self._announce()
        return self.progress.stage(f"{self.name}{name}", total, unit, done)

    def say(self, message: str) -> None:
        self._announce()
        self.progress.say(f"{self.name}{message}")

    def _announce(self) -> None:
        if self.head:
            self.progress.say(self.head)
            self.head = ""
