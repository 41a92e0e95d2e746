"""The tables of a report of a suite: one a headline score over all tasks, one with the verdicts of each task, and raw numbers."""

import math

import pandas as pd

from ltgen_bench.core.words import counted, power
from ltgen_bench.report.comparisons import difference_text, margin_text
from ltgen_bench.report.numbers import MISSING
from ltgen_bench.report.suite_measured import ALL, FEW, Measured, Measurement, SuiteTables, file_part
from ltgen_bench.report.suite_words import LIMITS, SKILL, interval_text
from ltgen_bench.report.table import Cell, Head, Row, Table

SHOWN = {FEW: "few", ALL: "all"}
RATES = ("Win rate: share of tasks and opponents that a method wins by its seeds, open and equivalent ones counted half. Its "
         "interval, that of the mean rank and that of the skill here are for one method each (95 %), for tasks like these.")
BEST = ("Bold, *: may be the best, not worse than any other method over the tasks (simultaneous 95 % intervals of all pairs, and "
        "of the differences from the baseline). In a column without a mark no method is shown to be worse than another.")


def score_table(tables: SuiteTables, measurement: Measurement) -> Table:
    """One headline score over all tasks: skill, win rate and mean rank of each method, few classes before all, and its cost."""
    shown = {scope: one for scope, one in tables.of(measurement).items() if scope in SHOWN}
    first = next(iter(shown.values()))
    heads, columns = [Head("method", "method", number=False)], []
    for title, name in (("skill ↑", "skill"), ("win rate ↑", "win_rate"), ("mean rank ↓", "mean_rank")):
        for scope, one in shown.items():
            found, decimals = getattr(one.scores, name), 1 if name == "mean_rank" else 2
            best = one.best if name == "skill" and len(one.best) < len(one.scores.order) else ()
            heads.append(Head(title, f"{name}:{scope}", SHOWN[scope], score=False))
            columns.append({entry: Cell(interval_text(own, decimals), own.value, best=entry in best)
                            for entry, own in found.items()})
    heads.append(Head("no score", "failures", "runs", score=False))
    columns.append({entry: Cell(f"{count}", float(count)) for entry, count in first.scores.failures.items()})
    for cost, title, unit in (("seconds", "training", "s"), ("flops", "training", "FLOPs"), ("memory_mb", "memory", "MB")):
        known = tables.cost_of(cost)
        if any(not math.isnan(value) for value in known.values()):
            heads.append(Head(title, cost, unit, score=False))
            columns.append({entry: Cell(_amount(cost, value), value) for entry, value in known.items()})
    order = [*first.scores.order, *(entry for entry in first.scores.skill if entry not in first.scores.order)]
    rows = [Row((Cell(entry), *(column.get(entry, Cell(MISSING)) for column in columns))) for entry in order]
    notes = [f"{_over(first)}; policy for missing runs: {tables.policy}. Baseline: {tables.results.plan.baseline}.", SKILL, BEST,
             RATES, *tables.shared_notes,
             *(f"{one.name}: {note}" for one in shown.values() for note in one.notes if note not in tables.shared_notes)]
    return Table(f"scores-{file_part(measurement)}", f"{tables.results.name}: {first.score} over {_over(first)}", tuple(heads),
                 tuple(rows), tuple(notes))


def _over(one: Measured) -> str:
    groups, tasks = len(one.scores.tasks), sum(one.plan.tasks[task] in one.scores.tasks for task in one.pairs)
    orders = f" ({tasks} with class orders)" if tasks > groups else ""
    return f"{counted(groups, 'task')}{orders}, {counted(len(one.plan.seeds), 'seed')}"


def _amount(cost: str, value: float) -> str:
    if math.isnan(value):
        return MISSING
    return power(value) if cost == "flops" else f"{value:,.0f}"


def verdict_table(tables: SuiteTables, measurement: Measurement) -> Table:
    """The differences of each method from the baseline in each task, by its seeds, with intervals, verdicts and margins."""
    shown = {scope: one for scope, one in tables.of(measurement).items() if scope in SHOWN}
    first = next(iter(shown.values()))
    heads = [Head("task", "task", number=False), Head("method", "method", number=False)]
    heads += [Head("difference", f"difference:{scope}", SHOWN[scope], score=False) for scope in shown]
    rows, notes = [], []
    for task in first.plan.tasks:
        for entry in [entry for entry in first.scores.skill if entry != tables.results.plan.baseline]:
            found = [one.against[task].of(entry, tables.results.plan.baseline) if task in one.against else None
                     for one in shown.values()]
            rows.append(Row((Cell(task), Cell(entry), *(Cell(difference_text(measurement[0], one) or MISSING, one.estimate
                                                             if one is not None else math.nan) for one in found))))
        notes += [f"{task}, {SHOWN[scope]}: {sentence}" for scope, one in shown.items() if task in one.against
                  for sentence in margin_text(measurement[0], one.against[task])]
        notes += [f"{task}: {sentence}" for one in shown.values() if task in one.against
                  for sentence in one.against[task].model.conditions]
    title = f"{first.score}: differences from {tables.results.plan.baseline} in each task"
    return Table(f"verdicts-{file_part(measurement)}", title, tuple(heads), tuple(rows), (LIMITS, *notes))


def raw_scores(tables: SuiteTables) -> pd.DataFrame:
    """Skill, win rate and mean rank of every score and scope as numbers, a row a method."""
    return pd.concat([one.scores.frame().assign(score=one.score, scope=one.scope) for one in tables.measured], ignore_index=True)


def raw_differences(tables: SuiteTables) -> pd.DataFrame:
    """The differences from the baseline as numbers, a row a score, scope, task and method, in the unit in which they are told.

    Those of scores that are compared as logarithms are ratios - 1. `further_seeds` is empty where settled, or above 1,000.
    """
    rows = [{"score": one.score, "scope": one.scope, "task": task, "method": own.a, "baseline": own.b, "verdict": own.verdict,
             "scale": own.scale.name,
             **{name: own.shown(getattr(own, name)) for name in ("estimate", "low", "high", "margin")},
             "further_seeds": own.further_seeds if own.verdict == "open" else None}
            for one in tables.measured for task, found in one.against.items() for own in found.differences]
    return pd.DataFrame(rows, columns=["score", "scope", "task", "method", "baseline", "verdict", "scale", "estimate", "low",
                                       "high", "margin", "further_seeds"]).astype({"further_seeds": "Int64"})
