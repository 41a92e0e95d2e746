"""The scores of one metric over the tasks of a suite, made complete by a policy for failed and missing runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ltgen_bench.core.errors import UserError, did_you_mean
from ltgen_bench.core.words import counted, some

Policy = Literal["error", "drop", "impute"]


@dataclass(frozen=True)
class SuitePlan:
    """What a suite compares: `tasks` maps each task to its group, `entries` are compared at `seeds`, one of them is `baseline`.

    Tasks of one group are variants of one task, such as two class orders of an imbalance factor: they count as one task together.
    """

    tasks: Mapping[str, str]
    entries: Sequence[str]
    seeds: Sequence[int]
    baseline: str

    def __post_init__(self) -> None:
        """Raise `UserError` unless there are tasks, seeds, two different entries and the baseline among them."""
        if not self.tasks or not self.seeds or len(set(self.entries)) < 2:
            raise UserError("A comparison over tasks needs at least one task, one seed and two methods.")
        if self.baseline not in self.entries:
            near = did_you_mean(self.baseline, self.entries)
            raise UserError(f"The baseline '{self.baseline}' is not among the methods {some(self.entries)}.{near}")


@dataclass(frozen=True)
class Cells:
    """Complete scores: `tables` maps a task to a frame of seeds x entries without gaps; all have the same entries.

    `failures` counts the planned cells (task, seed) without a score for each entry of the plan, `lacking` are entries without
    any score, which `tables` leave out, and `notes` say in sentences what the policy changed.
    """

    tables: dict[str, pd.DataFrame]
    failures: dict[str, int]
    lacking: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def entries(self) -> list[str]:
        """The entries of all tables."""
        return [str(name) for name in next(iter(self.tables.values())).columns]


def complete_cells(scores: pd.DataFrame, plan: SuitePlan, policy: Policy = "error") -> Cells:
    """Return the scores of the plan's cells from rows of task, entry, seed, value; rows of other cells are not used.

    A cell without a row has not run, one with NaN or infinity has failed: neither has a score. An entry without a score in any
    cell (a metric that its runs do not have) is not compared and disturbs no other, whatever the policy. For the others:

    - `error`: a `UserError` names the cells without a score.
    - `drop`: a seed of a task is left out for all entries where one has no score; a task without a seed left is left out.
    - `impute`: the baseline's score at that task and seed stands for the missing one; where the baseline has none: `UserError`.

    Two scores of one cell, or no cell left, are a `UserError`, too.
    """
    if policy not in get_args(Policy):
        raise UserError(f"'{policy}' is no policy for missing runs: {', '.join(get_args(Policy))}."
                        f"{did_you_mean(policy, get_args(Policy))}")
    wide = _wide(scores, plan)
    failures = {str(entry): int(count) for entry, count in wide.isna().sum().items()}
    lacking = tuple(str(entry) for entry in plan.entries if wide[entry].isna().all())
    wide = wide.drop(columns=list(lacking))
    if wide.shape[1] < 2:
        raise UserError("Fewer than two methods have a score: there is nothing to compare.")
    notes = [f"Not compared, since no run of them has a score: {some(lacking, 20)}."] if lacking else []
    gaps = wide.isna()
    if gaps.to_numpy().any():
        count = int(gaps.to_numpy().sum())
        wide, note = _impute(wide, plan.baseline) if policy == "impute" else _drop(wide, gaps, policy)
        notes.append(f"{counted(count, 'run')} without a score: {note}")
    tables = {str(task): table.droplevel("task") for task, table in wide.groupby("task", sort=False)}
    gone = [task for task in plan.tasks if task not in tables]
    notes += [f"Tasks left out, since no seed is left that all methods have: {some(gone, 20)}."] if gone else []
    return Cells(tables, failures, lacking, tuple(notes))


def _wide(scores: pd.DataFrame, plan: SuitePlan) -> pd.DataFrame:
    """The planned cells, (task, seed) x entry, with NaN where there is no finite score."""
    cells = scores[scores["task"].isin(list(plan.tasks)) & scores["entry"].isin(list(plan.entries))
                   & scores["seed"].isin(list(plan.seeds))]
    twice = cells[cells.duplicated(["task", "entry", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        cell = f"task {row['task']}, {row['entry']}, seed {row['seed']}"
        raise UserError(f"There are two scores of {cell}. Leave one of the runs out.")
    rows = pd.MultiIndex.from_product([list(plan.tasks), list(plan.seeds)], names=["task", "seed"])
    wide = cells.pivot(index=["task", "seed"], columns="entry", values="value").reindex(index=rows, columns=list(plan.entries))
    return wide.astype("float64").replace([np.inf, -np.inf], np.nan)


def _drop(wide: pd.DataFrame, gaps: pd.DataFrame, policy: Policy) -> tuple[pd.DataFrame, str]:
    """The rows that all entries have, with a note; under the policy `error` a `UserError`."""
    if policy == "error":
        places = np.argwhere(gaps.to_numpy()).tolist()
        cells = [f"{gaps.index[row][0]}, {gaps.columns[column]}, seed {gaps.index[row][1]}" for row, column in places]
        raise UserError(f"{counted(len(cells), 'run')} without a score: {some(cells)}. Run what is missing, or choose the policy "
                        "'drop' (seeds and tasks that all methods have) or 'impute' (the baseline's score): --missing drop.")
    kept = wide[~gaps.any(axis=1)]
    if kept.empty:
        raise UserError("No seed of any task has a score of all methods: there is nothing to compare. Leave out the method that "
                        "lacks most, or choose the policy 'impute'.")
    return kept, f"{counted(len(wide) - len(kept), 'seed')} of tasks left out for all methods (policy 'drop')."


def _impute(wide: pd.DataFrame, baseline: str) -> tuple[pd.DataFrame, str]:
    """The scores with the baseline's where one is missing, with a note; `UserError` where the baseline has none, either."""
    own = wide[baseline] if baseline in wide else pd.Series(np.nan, wide.index)
    missing = own[own.isna()]
    if len(missing):
        cells = [f"{task}, seed {seed}" for task, seed in missing.index]
        raise UserError(f"The baseline '{baseline}' has no score that could stand for missing ones: {some(cells)}. "
                        "Run it there, or choose the policy 'drop'.")
    return wide.apply(lambda column: column.fillna(own)), f"the score of '{baseline}' stands for each (policy 'impute')."
