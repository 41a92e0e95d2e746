"""What a report of a suite is made of: its plan, the rows of its runs, and the state of every planned run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.words import counted, some
from ltgen_bench.statistics.suite_cells import Policy, SuitePlan

STATES = ["task", "method", "seed", "state", "why"]


@dataclass(frozen=True)
class SuiteResults:
    """The results of a suite. `title` names it with version and digest, `metrics` are the headline.

    `rows` are tidy rows of its finished runs (`records.rows`) with the column `task`. `states` has a row for each planned run:
    STATES, where the state is done, running, failed, missing or impossible and `why` gives the reason. `left_out` says in
    sentences which runs are not shown.
    """

    name: str
    title: str
    plan: SuitePlan
    metrics: tuple[str, ...]
    rows: pd.DataFrame
    states: pd.DataFrame
    protocols: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # id -> description
    left_out: tuple[str, ...] = ()

    @property
    def unfinished(self) -> pd.DataFrame:
        """The planned runs that are not done, of methods that have finished runs; the others are not compared at all."""
        done = self.states["state"] == "done"
        return self.states[~done & self.states["method"].isin(set(self.states.loc[done, "method"]))]

    def check(self, policy: Policy) -> None:
        """Raise `UserError` without finished runs, and under the policy `error` where runs are not done, with the reasons."""
        if self.rows.empty:
            raise UserError(f"{self.title}: no run of it is finished. Start it with: ltgen-bench suite run {self.name}",
                            self.left_out)
        rest = self.unfinished
        if policy == "error" and len(rest):
            raise UserError(f"{self.title}: {counted(len(rest), 'run')} of {len(self.states)} "
                            f"{'is' if len(rest) == 1 else 'are'} not done. Run what is missing (ltgen-bench suite run "
                            f"{self.name}), or say how to go on: --missing drop (seeds and tasks that all methods have) or "
                            "--missing impute (the baseline's score).", gaps(rest))


def gaps(rest: pd.DataFrame) -> list[str]:
    """Return `failed: oc on lt-5 (seed 0): the reason`, the runs of one state and reason together."""
    found = []
    for (state, why), own in rest.groupby(["state", "why"], sort=False):
        names = [f"{row.method} on {row.task} (seed {row.seed})" for row in own.itertuples()]
        found.append(f"{state}: {some(names, 6)}{f': {why}' if why else ''}".replace("impossible:", "not possible:"))
    return found
