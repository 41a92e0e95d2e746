"""The headline scores of a suite: each over all tasks, and within each task by its seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from ltgen_bench.core.errors import UserError
from ltgen_bench.core.words import file_name
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.report.baselines import distance_from_best
from ltgen_bench.report.columns import measurement_name, scope_words
from ltgen_bench.report.comparisons import comparison
from ltgen_bench.report.entries import Block, Key, blocks, difference, measurements
from ltgen_bench.report.suite_results import SuiteResults
from ltgen_bench.report.tables import REAL_ALONE
from ltgen_bench.statistics import Comparison
from ltgen_bench.statistics.suite_cells import Policy, SuitePlan
from ltgen_bench.statistics.suite_costs import COSTS, pareto_front, suite_costs
from ltgen_bench.statistics.suite_scores import SuiteScores, judge_by_table, suite_scores

FEW, MANY, ALL = "few@thirds", "many@thirds", "all"
Measurement = tuple[str, str, str]  # metric, extractor, training set of a downstream classifier
HARDWARE = {"seconds", "memory_mb"}  # costs that only compare on one machine


def file_part(measurement: Measurement) -> str:
    """Return a measurement as a part of a file name: `downstream_accuracy-cnn-8x8-synthetic`."""
    return file_name("-".join(filter(None, measurement)))


@dataclass(frozen=True)
class Measured:
    """One headline score in one scope, over all tasks (`scores`) and in each.

    `pairs` and `against` map each task to its verdicts by seeds: of all pairs, and of all methods against the baseline.
    """

    measurement: Measurement
    scope: str
    plan: SuitePlan
    scores: SuiteScores
    pairs: Mapping[str, Comparison]
    against: Mapping[str, Comparison]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`FID ↓ (classifier), few classes`."""
        return f"{self.score}, {scope_words(self.scope).partition(' (')[0]}"

    @property
    def score(self) -> str:
        """`FID ↓ (classifier)`, `downstream accuracy ↑ (cnn-8x8), trained on synthetic images`."""
        metric, extractor, train_data = self.measurement
        trained = f", trained on {train_data.replace('real-lt+', 'real-lt and ')} images" if train_data else ""
        return f"{measurement_name((metric, extractor, '', ''))}{trained}"

    @cached_property
    def over_tasks(self) -> Comparison | None:
        """The comparison of all pairs over the tasks; None with fewer than three tasks or without skills."""
        return self.scores.over_tasks()

    @cached_property
    def against_baseline(self) -> Comparison | None:
        """The comparison with the baseline over the tasks; None likewise."""
        return self.scores.over_tasks(self.plan.baseline)

    @cached_property
    def best(self) -> tuple[str, ...]:
        """The methods that may be the best over the tasks: neither comparison shows them to be worse than another one.

        Empty where nothing was compared.
        """
        found, against, baseline = self.over_tasks, self.against_baseline, self.plan.baseline
        if found is None or against is None:
            return ()
        worse = {own.a if own.verdict == "worse" else baseline for own in against.differences
                 if own.verdict in ("better", "worse")}
        return tuple(entry for entry in found.best if entry not in worse)

    @property
    def quality(self) -> dict[str, float]:
        """Entry -> skill, or the negative of the mean rank where there are no skills; larger is better."""
        by_skill = self.scores.ordered_by == "skill"
        return {entry: one.value if by_skill else -self.scores.mean_rank[entry].value
                for entry, one in self.scores.skill.items()}


@dataclass(frozen=True)
class SuiteTables:
    """Everything that a report of a suite says in numbers. `measured` has the few classes before all.

    `costs` are rows of entry, cost, mean and ratio to the baseline (`suite_costs`). `notes` say what holds for all scores.
    """

    results: SuiteResults
    policy: Policy
    measured: tuple[Measured, ...]
    blocks: Mapping[str, Block]
    costs: pd.DataFrame
    notes: tuple[str, ...]

    def of(self, measurement: Measurement) -> dict[str, Measured]:
        """Scope -> the score of one measurement."""
        return {one.scope: one for one in self.measured if one.measurement == measurement}

    @property
    def measurements(self) -> list[Measurement]:
        """The headline measurements, in order."""
        return list(dict.fromkeys(one.measurement for one in self.measured))

    @property
    def cost(self) -> str:
        """The cost that methods are drawn against: FLOPs where they are known for all, else seconds."""
        known = self.costs.dropna(subset=["mean"]).groupby("cost")["entry"].nunique()
        return str(max(("flops", "seconds"), key=lambda one: (known.get(one, 0), one == "flops")))

    def cost_of(self, cost: str, column: str = "mean") -> dict[str, float]:
        """Entry -> mean of one cost over the tasks, or its ratio to the baseline's."""
        own = self.costs[self.costs["cost"] == cost]
        return {str(entry): float(value) for entry, value in zip(own["entry"], own[column], strict=True)}

    def front(self, one: Measured) -> tuple[str, ...]:
        """The methods that no other one beats in both the score and `cost`, cheapest first; costs that differ by less than a
        hundredth of the baseline's count as equal."""
        return pareto_front(one.quality, {entry: round(cost, 2) for entry, cost in self.cost_of(self.cost, "ratio").items()})

    @property
    def shared_notes(self) -> tuple[str, ...]:
        """The notes that hold for every score alike."""
        return tuple(note for note in self.measured[0].notes if all(note in one.notes for one in self.measured))


def suite_tables(results: SuiteResults, policy: Policy = "error") -> SuiteTables:
    """Return the scores of a suite. Raises `UserError` for runs that do not compare, and by the policy for missing ones."""
    results.check(policy)
    rows = results.rows.assign(label=results.rows["method"])
    of_task = {str(task): _block(str(task), own, results) for task, own in rows.groupby("task", sort=False)}
    of_task = {task: of_task[task] for task in results.plan.tasks if task in of_task}
    baseline = results.plan.baseline
    planned = {task: replace(block, baseline=baseline) for task, block in of_task.items() if baseline in block.entries}
    known = {key[:3]: None for metric in results.metrics for block in of_task.values() for key in measurements(block.shown)
             if key[0] == metric and key[2] != REAL_ALONE}
    found, notes = [], []
    for measurement in known:
        for scope in (FEW, ALL, MANY):
            try:
                found.append(_measured(measurement, scope, of_task, planned, results.plan, policy))
            except UserError as error:
                if policy == "error" and scope == ALL:
                    raise
                notes.append(f"{measurement_name((*measurement, ''))}, {scope_words(scope)}: not compared. {error}")
    lacking = [metric for metric in results.metrics if metric not in {one[0] for one in known}]
    notes += [f"No run has the headline score {METRICS[metric].title}." for metric in lacking]
    if not found:
        raise UserError(f"{results.title}: none of its scores can be compared.", notes)
    costs, of_costs = _costs(results, found[0].scores.tasks)
    return SuiteTables(results, policy, tuple(found), of_task, costs, (*notes, *of_costs))


def _block(task: str, rows: pd.DataFrame, results: SuiteResults) -> Block:
    """The runs of one task, an entry each method; `UserError` where their scores do not compare."""
    found = blocks(rows, (), results.protocols)
    if len(found) > 1:
        ids = [sorted(set(block.protocols) - set(found[not place].protocols)) for place, block in enumerate(found[:2])]
        words = next((text for pair in zip(*ids, strict=False) if (text := difference(pair, results.protocols))), "")
        why = words or "data or protocols"
        raise UserError(f"{results.title}: the runs of task {task} were measured in different ways and do not compare. They "
                        f"differ in {why}. Measure again with: ltgen-bench suite run {results.name}")
    return found[0]


def _measured(measurement: Measurement, scope: str, of_task: Mapping[str, Block], planned: Mapping[str, Block], plan: SuitePlan,
              policy: Policy) -> Measured:
    """Return one score in one scope; `planned` are the blocks of the tasks that compare with the baseline alone."""
    keys = {task: key for task, block in of_task.items() for key in block.keys if key[:3] == measurement}
    parts = {task: _part(of_task[task], key, scope).assign(task=task) for task, key in keys.items()}
    parts = {task: part for task, part in parts.items() if part["value"].notna().any()}
    metric = METRICS[measurement[0]]
    if not parts:
        raise UserError("No task has this score.")
    own = SuitePlan({task: group for task, group in plan.tasks.items() if task in parts or task not in of_task},
                    plan.entries, plan.seeds, plan.baseline)
    missing = [task for task in of_task if task not in parts]
    notes = [f"No such score in {', '.join(missing)}."] if missing else []
    pairs = {task: comparison(of_task[task], keys[task], scope) for task in parts}
    against = {task: comparison(block, keys[task], scope) for task, block in planned.items() if task in parts}
    nearest = metric.direction == "nearest"
    direction = "lower" if nearest else metric.direction
    ideal = 0.0 if direction == "lower" else metric.bounds[1] if metric.bounds[1] != float("inf") else None
    scores = suite_scores(pd.concat(parts.values()), own, judge_by_table(_verdicts(pairs, own, policy)),
                          direction="lower" if direction == "lower" else "higher", ideal=ideal, policy=policy)
    return Measured(measurement, scope, own, scores, pairs, against, (*notes, *scores.notes))


def _part(block: Block, key: Key, scope: str) -> pd.DataFrame:
    """Rows of entry, seed, value; of scores that are best nearest to a value the distance from it."""
    part = block.part(key, scope)
    if METRICS[key[0]].direction == "nearest":
        part = part.assign(value=distance_from_best(part, key[0]))
    return part[["entry", "seed", "value"]]


def _verdicts(pairs: Mapping[str, Comparison], plan: SuitePlan, policy: Policy) -> pd.DataFrame:
    """Rows of task, a, b, verdict by the seeds of each task. Under `impute` the baseline stands for a method without a score."""
    rows = [(task, one.a, one.b, one.verdict) for task, found in pairs.items() for one in found.differences]
    if policy == "impute":
        for task, found in pairs.items():
            absent = [entry for entry in plan.entries if entry not in found.entries]
            rows += [(task, entry, other, one.verdict) for entry in absent for other in found.entries
                     if (one := found.of(plan.baseline, other)) is not None]
            rows += [(task, entry, plan.baseline, "equivalent") for entry in absent]
    return pd.DataFrame(rows, columns=["task", "a", "b", "verdict"])


def _costs(results: SuiteResults, groups: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The costs of the methods, and why some do not compare."""
    runs = results.rows.drop_duplicates(["run", "score_digest"]).rename(
        columns={"method": "entry", "train_seconds": "seconds", "train_flops": "flops", "peak_memory_mb": "memory_mb"})
    machines = runs["hardware"].nunique()
    columns = [cost for cost in COSTS if machines == 1 or cost not in HARDWARE]
    runs = runs.astype(dict.fromkeys(columns, "float64"))
    notes = [] if machines == 1 else [f"The runs were made on {machines} machines or settings of threads, so that seconds and "
                                      "memory do not compare and are left out."]
    return suite_costs(runs[["task", "entry", "seed", *columns]], results.plan, groups), notes
