"""What the methods of a suite cost over its tasks, and which of them no other one beats in both quality and cost."""

from collections.abc import Mapping, Sequence

import pandas as pd

from ltgen_bench.statistics.suite_cells import SuitePlan

COSTS = {"seconds": "training time in seconds", "flops": "training FLOPs", "memory_mb": "peak memory in MB"}


def suite_costs(costs: pd.DataFrame, plan: SuitePlan, tasks: Sequence[str]) -> pd.DataFrame:
    """Return the cost of a run from rows of task, entry, seed and some columns of COSTS; one row an entry and cost.

    Columns: entry, cost (a key of COSTS), mean (over tasks, each the mean of its runs; tasks of one group count once), and ratio
    (geometric mean over tasks of cost / the baseline's). `tasks` are the groups that the scores count. NaN: no run of the entry
    tells this cost in one of the tasks, for the ratio also where the baseline does not. Seconds and memory are only comparable
    between runs of one machine, which is the caller's to see to.
    """
    rows = costs.assign(group=costs["task"].map(dict(plan.tasks)))
    rows = rows[rows["group"].isin(list(tasks)) & rows["seed"].isin(list(plan.seeds))]
    frames = []
    for cost in [cost for cost in COSTS if cost in rows]:
        of_tasks = rows.groupby(["group", "task", "entry"])[cost].mean()
        wide = of_tasks.groupby(["group", "entry"]).mean().unstack("entry").reindex(index=list(tasks), columns=list(plan.entries))
        logs = wide.where(wide > 0).transform("log")
        ratio = logs.sub(logs[plan.baseline], axis=0).mean(skipna=False).transform("exp")
        frame = pd.DataFrame({"cost": cost, "mean": wide.mean(skipna=False), "ratio": ratio})
        frames.append(frame.rename_axis("entry").reset_index())
    columns = ["entry", "cost", "mean", "ratio"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def pareto_front(quality: Mapping[str, float], cost: Mapping[str, float]) -> tuple[str, ...]:
    """Return the entries, cheapest first, that no other one beats: none is as good or better at the same or a smaller cost.

    A larger `quality` is better. Entries that are equal in both are on the front together; those with a NaN or without a cost are
    not compared.
    """
    table = pd.DataFrame({"quality": pd.Series(quality, dtype="float64"), "cost": pd.Series(cost, dtype="float64")}).dropna()

    def beaten(row: pd.Series) -> bool:
        least = (table["quality"] >= row["quality"]) & (table["cost"] <= row["cost"])
        return bool((least & ((table["quality"] > row["quality"]) | (table["cost"] < row["cost"]))).any())

    return tuple(str(entry) for entry, row in table.sort_values("cost", kind="stable").iterrows() if not beaten(row))
