"""How often intervals over tasks hold the truth, in simulated suites with known truth; writes the table of BENCHMARK.md:

    python tests/statistics/suite_coverage.py
"""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from ltgen_bench.statistics.suite_cells import SuitePlan
from ltgen_bench.statistics.suite_scores import judge_by_seeds, suite_scores

BEGIN, END = "<!-- suite-coverage:begin -->", "<!-- suite-coverage:end -->"
REPETITIONS = 300
JUDGE = judge_by_seeds("log", "lower")


@dataclass(frozen=True)
class World:
    """Suites of `tasks` with `orders` class orders each: log score = method + method in task + method in order + seed.

    The methods' part goes from -0.5 to 0.5, so that the best has about a third of the worst one's error. Standard deviations:
    `between` of a method's part in a task (the smallest and the largest over methods), half of it of the part in an order, and
    0.1 of seeds.
    """

    tasks: int
    seeds: int
    orders: int = 1
    between: tuple[float, float] = (0.2, 0.2)
    skewed: bool = False
    methods: int = 13

    @property
    def words(self) -> str:
        """The differences between tasks, as the table names them."""
        kind = "skewed (exponential)" if self.skewed else "normal"
        return kind if self.between[0] == self.between[1] else f"{kind}, unequal (factor {self.between[1] / self.between[0]:g})"


WORLDS = (World(3, 3), World(4, 3), World(6, 5), World(3, 5, orders=2), World(4, 3, between=(0.1, 0.4)), World(4, 3, skewed=True))


def true_logs(world):
    """The methods' part of the log score; the one in the middle is the baseline."""
    return np.linspace(-0.5, 0.5, world.methods)


def drawn(world, rng):
    """Values [task, order, seed, method] of one suite."""
    def zero_mean(shape):
        return rng.exponential(size=shape) - 1 if world.skewed else rng.normal(size=shape)

    sd = np.resize(world.between, world.methods)  # small, large, small, ...
    in_task = sd * zero_mean((world.tasks, 1, 1, world.methods))
    in_order = sd / 2 * zero_mean((world.tasks, world.orders, 1, world.methods)) if world.orders > 1 else 0.0
    of_seed = 0.1 * rng.normal(size=(world.tasks, world.orders, world.seeds, world.methods))
    return np.exp(true_logs(world) + in_task + in_order + of_seed)


def scored(world, values):
    """`suite_scores` of drawn values."""
    tasks, orders, seeds, methods = values.shape
    names = [f"m{at:02}" for at in range(methods)]
    rows = [(f"t{task}-{order}", names[at], seed) for task, order, seed, at in product(*map(range, values.shape))]
    scores = pd.DataFrame(rows, columns=["task", "entry", "seed"]).assign(value=values.ravel())
    groups = {f"t{task}-{order}": f"t{task}" for task, order in product(range(tasks), range(orders))}
    plan = SuitePlan(groups, names, range(seeds), names[methods // 2])
    return suite_scores(scores, plan, JUDGE, direction="lower", ideal=0.0)


def percentiles(values, baseline, rng, draws=400):
    """Percentile intervals of log ratios by a hierarchical bootstrap: tasks, then seeds, the same for all methods."""
    tasks, _, seeds, _ = values.shape
    chosen = rng.integers(tasks, size=(draws, tasks))
    again = rng.integers(seeds, size=(draws, tasks, seeds))
    logs = np.log(values[chosen[:, :, None], :, again].mean(axis=2)).mean(axis=(1, 2))  # draws x methods
    return np.quantile(logs - logs[:, [baseline]], (0.025, 0.975), axis=0)


def coverage(world, repetitions=REPETITIONS, truth_tasks=1000):
    """The shares of intervals that hold the truth: skill, win rate, mean rank, and the skill by percentiles of a bootstrap.

    Of win rate and mean rank, which depend on the number of seeds, the truth is their value over `truth_tasks` drawn tasks.
    """
    rng = np.random.default_rng([ord(letter) for letter in repr(world)])
    true = scored(replace(world, tasks=truth_tasks), drawn(replace(world, tasks=truth_tasks), rng))
    baseline = world.methods // 2
    ratios = true_logs(world) - true_logs(world)[baseline]
    skill = dict(zip(true.skill, 1 - np.exp(ratios), strict=True))
    held = {"skill": [], "win rate": [], "mean rank": [], "percentiles": []}
    for _ in range(repetitions):
        values = drawn(world, rng)
        found = scored(world, values)
        held["skill"] += [own.low <= skill[entry] <= own.high for entry, own in found.skill.items() if skill[entry] != 0]
        held["win rate"] += [own.low <= true.win_rate[entry].value <= own.high for entry, own in found.win_rate.items()]
        held["mean rank"] += [own.low <= true.mean_rank[entry].value <= own.high for entry, own in found.mean_rank.items()]
        low, high = percentiles(values, baseline, rng)
        held["percentiles"] += np.delete((low <= ratios) & (ratios <= high), baseline).tolist()
    return {name: float(np.mean(own)) for name, own in held.items()}


def table(found):
    """The section of BENCHMARK.md from (world, coverage) pairs."""
    heads = ("tasks", "class orders", "seeds", "differences between tasks", "skill", "win rate", "mean rank",
             "skill by percentiles of a bootstrap")
    lines = [f"| {' | '.join(heads)} |", "|---:|---:|---:|---|---:|---:|---:|---:|"]
    for world, own in found:
        facts = (world.tasks, world.orders, world.seeds, world.words, *(f"{100 * share:.1f} %" for share in own.values()))
        lines.append(f"| {' | '.join(map(str, facts))} |")
    return "\n".join(lines)


def section(page):
    """What stands between the markers of `page`."""
    return page.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()


if __name__ == "__main__":
    made = table([(world, coverage(world)) for world in WORLDS])
    path = Path(__file__).parents[2] / "BENCHMARK.md"
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
