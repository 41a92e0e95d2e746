"""One metric over the tasks of a suite: skill, win rate and mean rank of each method, with intervals over random tasks.

Every number is a mean over tasks, and each task is a mean over its seeds, so tasks count equally: a task with two class orders
counts once (`SuitePlan.tasks` maps both to one group), and a task with few images as much as one with many. Intervals are for one
method each, not simultaneous, and hold for tasks like those of the suite, which count as a random draw (`task_means` says why
they are no percentiles of a bootstrap).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import pandas as pd
from scipy import stats

from ltgen_bench.statistics.scale import Scale, ScaleName, scale_of
from ltgen_bench.statistics.seed_model import fit
from ltgen_bench.statistics.suite_cells import Policy, SuitePlan, complete_cells
from ltgen_bench.statistics.task_means import mean_interval, share_interval
from ltgen_bench.statistics.verdicts import Comparison, compare

Judge = Callable[[str, pd.DataFrame], Mapping[tuple[str, str], str]]
"""From a task and its frame of seeds x entries to verdicts (a, b) -> better, worse, equivalent or open, of a against b."""

POINTS = {"better": 1.0, "worse": 0.0, "equivalent": 0.5, "open": 0.5}
ONE_TASK = "one task: how much tasks differ is not known"
POOLED_DF = 0.5  # of the variance over tasks, in which methods differ far more than over seeds
LEAST_TASKS = 3  # for a comparison over tasks; with two its level is not held where methods vary differently


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; NaN is not computed, and `reason` says why."""

    value: float
    low: float = math.nan
    high: float = math.nan
    reason: str = ""


@dataclass(frozen=True)
class WithoutTask:
    """The order of the methods without `task`, best first, and Kendall's tau (1: the same) with the order by all tasks."""

    task: str
    order: tuple[str, ...]
    tau: float


@dataclass(frozen=True)
class SuiteScores:
    """One metric over all tasks. `skill`, `win_rate` and `mean_rank` have every entry of the plan.

    `wins` is a frame of entries x opponents: the share of tasks in which the row's entry wins against the column's, open and
    equivalent counted half, NaN on the diagonal. `order` is best first, by skill where every method has one, else by mean rank
    (`ordered_by` says which). `without` has an order for each task that is left out, empty with one task. `by_task`, a frame of
    tasks x entries, has the logarithm of the distance to the ideal value, NaN where there is none.
    """

    tasks: tuple[str, ...]
    skill: dict[str, Estimate]
    win_rate: dict[str, Estimate]
    mean_rank: dict[str, Estimate]
    wins: pd.DataFrame
    order: tuple[str, ...]
    ordered_by: Literal["skill", "mean rank"]
    without: tuple[WithoutTask, ...]
    failures: dict[str, int]
    notes: tuple[str, ...]
    by_task: pd.DataFrame

    def over_tasks(self, baseline: str | None = None) -> Comparison | None:
        """Return the simultaneous comparison of the skills of all pairs, or with a `baseline`; None with fewer than 3 tasks.

        Tasks are the blocks of the model that seeds are in one task: distance to the ideal = entry + task + rest, on the scale of
        logarithms. What it tells holds for tasks like those of the suite, which count as a random draw.
        """
        known = self.by_task.dropna(axis="columns")
        if len(known) < LEAST_TASKS or known.shape[1] < 2 or baseline not in (None, *known.columns):
            return None
        return compare(fit(known.transform("exp"), scale=Scale("log"), pooled_df=POOLED_DF), baseline=baseline)

    def frame(self) -> pd.DataFrame:
        """One row an entry, in `order`: value, low and high of each number (skill_low, ...), why one is missing, and failures."""
        numbers = {"skill": self.skill, "win_rate": self.win_rate, "mean_rank": self.mean_rank}
        rows = {entry: {f"{name}{end}": getattr(found[entry], key) for name, found in numbers.items()
                        for end, key in (("", "value"), ("_low", "low"), ("_high", "high"), ("_reason", "reason"))}
                for entry in [*self.order, *(entry for entry in self.skill if entry not in self.order)]}
        return pd.DataFrame(rows.values()).assign(entry=list(rows), failures=[self.failures[entry] for entry in rows])

    @property
    def depends_on(self) -> WithoutTask | None:
        """The task whose absence changes the order most; None where no single task changes it."""
        most = min(self.without, key=lambda one: one.tau, default=None)
        return most if most is not None and most.order != self.order else None


def suite_scores(scores: pd.DataFrame, plan: SuitePlan, judge: Judge, *, direction: Literal["lower", "higher", "nearest"],
                 ideal: float | None, policy: Policy = "error") -> SuiteScores:
    """Return skill, win rate and mean rank of one metric and scope from rows of task, entry, seed, value.

    - Skill: 1 - geometric mean over tasks of (distance to `ideal`) / (the baseline's distance), each distance a mean over seeds.
      `ideal` is 0 for an error and 1 for a share that should be large. 0: like the baseline; 0.5: half its error; negative:
      worse. None as `ideal` (an unbounded score that should be large), or a distance of 0 or less in a task: not computed.
    - Win rate: the mean over tasks and opponents of 1 for better, 0 for worse, 0.5 for equivalent and open verdicts of `judge`,
      also where it gives none. It depends on the number of seeds: with few, most pairs are open and all win rates near 0.5.
    - Mean rank: mean over tasks of the rank by mean over seeds, 1 is best; equal means share the mean of their ranks.

    A method with missing runs is treated by `policy`, see `complete_cells`, which also says which faults are a `UserError`.
    """
    cells = complete_cells(scores, plan, policy)
    entries, step = cells.entries, 0.5 / (len(cells.entries) - 1)
    losses = pd.DataFrame({task: _losses(table, direction, ideal).mean() for task, table in cells.tables.items()}).T
    losses = losses.map(lambda loss: float(f"{loss:.12g}"))  # means of equal shares may differ by rounding
    logs = losses.where(losses > 0).transform("log")
    no_skill = _why_no_skill(logs, plan.baseline, ideal)
    logs, ranks = _by_group(logs, plan), _by_group(losses.rank(axis=1), plan)
    points = _by_group(pd.DataFrame({task: _points(entries, judge(task, table)) for task, table in cells.tables.items()}).T, plan)
    rates = points.T.groupby(level=0, sort=False).mean().T
    skill = {entry: Estimate(math.nan, reason=no_skill[entry]) if entry in no_skill else _skill(logs[entry] - logs[plan.baseline])
             for entry in entries}
    rate = {entry: _share(rates[entry], step) for entry in entries}
    rank = {entry: _rank(ranks[entry], len(entries), step) for entry in entries}
    lacking = {entry: Estimate(math.nan, reason="no run of it has a score") for entry in cells.lacking}
    means = ranks if no_skill else logs
    order = _order(means)
    without = tuple(_without(means, str(group), order) for group in means.index) if len(means) > 1 else ()
    return SuiteScores(tuple(map(str, means.index)), skill | lacking, rate | lacking, rank | lacking,
                       points.mean().unstack().reindex(index=entries, columns=entries), order,
                       "mean rank" if no_skill else "skill", without, cells.failures, cells.notes, logs)


def judge_by_seeds(scale: ScaleName, direction: Literal["lower", "higher", "nearest"], ideal: float | None = None) -> Judge:
    """Return the judge that compares all pairs over the seeds of a task (`compare`), on the metric's `scale`.

    Where the nearest to `ideal` is best, the distances to it are compared as they are. Pairs that no variance is known for have
    no verdict.
    """
    def judge(task: str, values: pd.DataFrame) -> Mapping[tuple[str, str], str]:
        nearest = direction == "nearest"
        scores = (values - (ideal or 0.0)).abs() if nearest else values
        model = fit(scores, scale=scale_of("linear" if nearest else scale, scores), direction="lower" if nearest else direction)
        return {(one.a, one.b): one.verdict for one in compare(model).differences}

    return judge


def judge_by_table(verdicts: pd.DataFrame) -> Judge:
    """Return the judge that looks verdicts up in rows of task, a, b, verdict (of a against b); pairs without a row have none."""
    known = {str(task): {(str(a), str(b)): str(verdict) for a, b, verdict in zip(own["a"], own["b"], own["verdict"], strict=True)}
             for task, own in verdicts.groupby("task")}
    return lambda task, values: known.get(task, {})


def _losses(table: pd.DataFrame, direction: str, ideal: float | None) -> pd.DataFrame:
    """Distances to the ideal value (to 0 where there is none), larger is worse; negative beyond it."""
    difference = table - (ideal or 0.0)
    return {"lower": difference, "higher": -difference, "nearest": difference.abs()}[direction]


def _by_group(tasks: pd.DataFrame, plan: SuitePlan) -> pd.DataFrame:
    """Means over the tasks of each group; NaN where a task has NaN."""
    groups = [plan.tasks[str(task)] for task in tasks.index]
    return tasks.groupby(groups, sort=False).mean().mask(tasks.isna().groupby(groups, sort=False).any())


def _why_no_skill(logs: pd.DataFrame, baseline: str, ideal: float | None) -> dict[str, str]:
    """Entry -> reason, for those without a skill."""
    if ideal is None:
        return dict.fromkeys(logs.columns, "the metric has no ideal value, so that no distance to it can be compared")
    at_ideal = {str(entry): str(logs.index[logs[entry].isna()][0]) for entry in logs.columns if logs[entry].isna().any()}
    if baseline not in logs.columns:
        return dict.fromkeys(logs.columns, f"the baseline '{baseline}' has no score")
    if baseline in at_ideal:
        why = f"the baseline is at its ideal value or beyond it in task {at_ideal[baseline]}, so that no ratio to it exists"
        return dict.fromkeys(logs.columns, why)
    return {entry: f"at its ideal value or beyond it in task {task}: no geometric mean" for entry, task in at_ideal.items()}


def _points(entries: Sequence[str], verdicts: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], float]:
    """Points of each entry against each other one in one task."""
    points = {}
    for a, b in permutations(entries, 2):
        turned = POINTS[verdicts.get((b, a), "open")]
        points[a, b] = POINTS[verdicts[a, b]] if (a, b) in verdicts else 1 - turned
    return points


def _skill(log_ratios: pd.Series) -> Estimate:
    """The skill from the logarithm of score / baseline's score in each task."""
    low, high = mean_interval(log_ratios.tolist())
    value, least, most = (0.0 - math.expm1(ratio) for ratio in (log_ratios.mean(), high, low))  # no -0.0
    return Estimate(value, least, most, _missing(log_ratios))


def _share(shares: pd.Series, step: float) -> Estimate:
    return Estimate(float(shares.mean()), *share_interval(shares.tolist(), step), _missing(shares))


def _rank(ranks: pd.Series, entries: int, step: float) -> Estimate:
    """The mean rank, whose interval is that of the share of opponents with a larger rank."""
    found = _share((entries - ranks) / (entries - 1), step)
    return Estimate(float(ranks.mean()), entries - found.high * (entries - 1), entries - found.low * (entries - 1), found.reason)


def _missing(tasks: pd.Series) -> str:
    return ONE_TASK if len(tasks) < 2 else ""


def _order(means: pd.DataFrame) -> tuple[str, ...]:
    """The entries from the smallest mean over tasks (best) to the largest."""
    return tuple(map(str, means.mean().sort_values(kind="stable").index))


def _without(means: pd.DataFrame, task: str, order: tuple[str, ...]) -> WithoutTask:
    found = _order(means.drop(index=task))
    return WithoutTask(task, found, float(stats.kendalltau(range(len(order)), [found.index(entry) for entry in order]).statistic))
