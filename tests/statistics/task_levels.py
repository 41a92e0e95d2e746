"""How often a comparison over tasks (`SuiteScores.over_tasks`) proves what is not so, where all methods are equal:

    python tests/statistics/task_levels.py
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ltgen_bench.statistics.suite_cells import SuitePlan
from ltgen_bench.statistics.suite_scores import judge_by_table, suite_scores

METHODS = [f"m{number}" for number in range(13)]
SPREADS = {  # standard deviations of the methods over tasks, on the log scale; m0 is the baseline
    "equal": [0.2] * 13, "three methods five times the others'": [0.05] * 10 + [0.25] * 3,
    "three methods ten times the others'": [0.05] * 10 + [0.5] * 3, "the baseline eight times the others'": [0.4] + [0.05] * 12}


def levels(spread: Sequence[float], tasks: int, repetitions: int) -> tuple[float, float]:
    """Return the shares of repetitions with a false verdict: among all pairs, and among the differences from the baseline."""
    rng, false = np.random.default_rng(14), np.zeros(2)
    names = [f"t{number}" for number in range(tasks)]
    rows = pd.DataFrame([(task, entry, 0, 1.0 + place) for task in names for place, entry in enumerate(METHODS)],
                        columns=["task", "entry", "seed", "value"])
    none = judge_by_table(pd.DataFrame(columns=["task", "a", "b", "verdict"]))
    plan = SuitePlan({name: name for name in names}, METHODS, (0,), "m0")
    scores = suite_scores(rows, plan, none, direction="lower", ideal=0.0)
    for _ in range(repetitions):
        drawn = 0.5 * rng.standard_normal((tasks, 1)) + np.asarray(spread) * rng.standard_normal((tasks, len(METHODS)))
        made = replace(scores, by_task=pd.DataFrame(drawn, names, METHODS))
        for place, baseline in enumerate((None, "m0")):
            found = made.over_tasks(baseline)
            assert found is not None
            false[place] += any(one.verdict in ("better", "worse") for one in found.differences)
    pairs, against = (false / repetitions).tolist()
    return pairs, against


if __name__ == "__main__":
    for tasks in (3, 4, 6):
        for words, spread in SPREADS.items():
            pairs, against = levels(spread, tasks, 2000)
            print(f"| {tasks} | {words} | {100 * pairs:.1f} % | {100 * against:.1f} % |", flush=True)
