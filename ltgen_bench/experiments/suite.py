"""The runs of a suite: one for each task, method and seed, as cells of a grid, and the state of each.

They are ordinary runs: what `run` or a grid has finished with the same settings counts, and the other way round.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.files import read_checked_json, write_checked_json
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.experiments.grid import Cell, make_grid
from ltgen_bench.experiments.recipes import SUITES
from ltgen_bench.experiments.suite_file import Suite, differences
from ltgen_bench.records.store import StoredRun
from ltgen_bench.runtime.context import RunContext

State = Literal["done", "running", "failed", "missing", "impossible"]


@dataclass(frozen=True)
class SuiteCell:
    """A run of a suite. `impossible`: the method cannot run on the task, and `cell.error` says why."""

    task: str
    method: str
    cell: Cell
    impossible: bool = False

    @property
    def state(self) -> tuple[State, str]:
        """The state, and for `failed` and `impossible` the reason."""
        if not self.cell.plans:
            return "impossible" if self.impossible else "failed", self.cell.error
        if self.cell.finished:
            return "done", ""
        folder = self.cell.plans[0].folder
        if folder.busy:
            return "running", ""
        why = folder.why_failed()
        return ("failed", why) if why else ("missing", "")


def make_suite(suite: Suite, methods: Sequence[str], seeds: Sequence[int],
               load: Callable[[DataConfig], LongTailDataset], runs: Path, context: RunContext) -> tuple[SuiteCell, ...]:
    """Plan the run of each seed, task and method, in this order, so that an interrupted suite has whole seeds.

    Raises `UserError` where none can run.
    """
    names = {(task, method): f"{task}, {method}" for task in suite.tasks for method in methods}
    why = {pair: suite.impossible(*pair) for pair in names}
    configs = {name: [suite.config(*pair).model_copy(update={"seed": seed}) for seed in seeds]
               for pair, name in names.items() if not why[pair]}
    made = {(cell.name, cell.seed): cell for cell in make_grid(configs, load, runs, context)}
    return tuple(SuiteCell(*pair, made.get((name, seed), Cell(name, seed, error=why[pair])), bool(why[pair]))
                 for seed in seeds for pair, name in names.items())


def other_runs(cells: Sequence[SuiteCell], stored: Sequence[StoredRun]) -> list[StoredRun]:
    """Return the finished runs of the suite's methods and data sets among `stored` that are none of `cells`.

    They were made with other settings, as by another version of the suite.
    """
    plans = [plan for one in cells for plan in one.cell.plans]
    own = {plan.score_digest for plan in plans}
    places = {(plan.dataset.name, plan.config.method.name) for plan in plans}
    return [run for run in stored if run.record is not None and run.record.kind == "run"
            and (run.record.dataset, run.record.method) in places and run.record.score_digest not in own]


def keep_suite(suite: Suite, runs: Path) -> None:
    """Write what the suite states beside its runs, so that a later version can say what is different."""
    path = runs / SUITES / f"{suite.name}-{suite.digest}.json"
    if not path.is_file():
        write_checked_json(path, {"suite": suite.name, "version": suite.version, "digest": suite.digest, "stated": suite.stated})


def other_versions(suite: Suite, runs: Path) -> dict[str, list[str]]:
    """Return the other versions of the suite that were run into `runs`, in words, and their differences from this one."""
    found = {}
    for path in sorted((runs / SUITES).glob(f"{suite.name}-*.json")):
        kept = read_checked_json(path)
        if kept["suite"] == suite.name and kept["digest"] != suite.digest:
            found[f"version {kept['version']}, digest {kept['digest']}"] = differences(kept["stated"], suite.stated)
    return found
