"""The pictures of a report of a suite, from its scores: few, many and all classes beside each other."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from ltgen_bench.core.words import file_name
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.report.columns import measurement_name
from ltgen_bench.report.entries import measurements
from ltgen_bench.report.numbers import facts
from ltgen_bench.report.pictures import Drawings
from ltgen_bench.report.suite_measured import ALL, FEW, MANY, Measured, Measurement, SuiteTables, file_part
from ltgen_bench.report.suite_plots import (
    Panels,
    class_count_figure,
    cost_figure,
    difference_figure,
    rank_figure,
    win_figure,
)
from ltgen_bench.report.suite_words import skill
from ltgen_bench.statistics.suite_costs import COSTS
from ltgen_bench.statistics.suite_scores import LEAST_TASKS

PANELS = {FEW: "few classes", MANY: "many classes", ALL: "all classes"}
DIFFERENCE = ["entry", "estimate", "low", "high", "verdict", "margin"]
WIDE = 12.0  # inches, of three panels
BY_CLASS = {"downstream_accuracy": "downstream_recall"}  # a score over all classes -> the same of one class, where it is another


def drawings(tables: SuiteTables) -> Drawings:
    """Title -> (file name, function that draws), of every headline score."""
    found: Drawings = {}
    for measurement in tables.measurements:
        found |= _of_score(tables, measurement)
    return found


def _of_score(tables: SuiteTables, measurement: Measurement) -> Drawings:
    of = {scope: one for scope in PANELS if (one := tables.of(measurement).get(scope)) is not None}
    score = next(iter(of.values())).score
    text, width = _footer(tables, score), WIDE * max(len(of), 1.5) / 3
    baseline, found = tables.results.plan.baseline, dict[str, tuple[str, Callable[[], Figure]]]()

    def add(title: str, name: str, panels: Panels, draw: Callable[[Panels], Figure]) -> None:
        if panels:
            found[f"{score}: {title}"] = (f"{name}-{file_part(measurement)}", partial(draw, panels))

    def panels(frame: Callable[[Measured], pd.DataFrame]) -> dict[str, pd.DataFrame]:
        return {PANELS[scope]: data for scope, one in of.items() if len(data := frame(one))}

    add(f"differences from {baseline} over tasks", "differences", panels(_differences),
        partial(difference_figure, label=f"skill over {baseline}", larger_is_better=True, width=width,
                footer=f"{text}; simultaneous 95 % intervals for tasks like these"))
    add("win rates", "wins", {name: data for name, data in panels(lambda one: one.scores.wins).items() if name != PANELS[MANY]},
        partial(win_figure, width=WIDE, footer=f"{text}; percent of tasks won by the row against the column; open and equivalent "
                                               "pairs count half"))
    add("mean ranks", "ranks", panels(_ranks),
        partial(rank_figure, label="mean rank over tasks", width=width, footer=f"{text}; 95 % interval of each method"))
    by_skill = all(one.scores.ordered_by == "skill" for one in of.values())
    add("quality against cost", "cost", panels(lambda one: _against_cost(tables, one)),
        partial(cost_figure, label=f"skill over {baseline}" if by_skill else "mean rank, negative",
                cost_label=f"{COSTS[tables.cost].removesuffix(' in seconds')}, multiples of {baseline}'s", width=width,
                footer=f"{text}; 95 % interval of each method; intervals that leave the panel are cut"))
    return found | _in_tasks(tables, measurement) | _by_class(tables, measurement)


def _in_tasks(tables: SuiteTables, measurement: Measurement) -> Drawings:
    """The differences from the baseline by seeds: of the first headline score in each task, of others where tasks are few."""
    of, baseline = tables.of(measurement), tables.results.plan.baseline
    found: Drawings = {}
    if measurement != tables.measurements[0] and len(set(tables.results.plan.tasks.values())) >= LEAST_TASKS:
        return {}
    direction = METRICS[measurement[0]].direction
    for task in tables.blocks:
        every = {PANELS[scope]: of[scope].against[task].differences for scope in PANELS
                 if scope in of and task in of[scope].against and of[scope].against[task].differences}
        if not every:
            continue
        panels = {title: pd.DataFrame(
            [(own.a, *(own.shown(number) for number in (own.estimate, own.low, own.high)), own.verdict, own.shown(own.margin))
             for own in differences], columns=DIFFERENCE) for title, differences in every.items()}
        score, log = next(iter(of.values())).score, next(iter(every.values()))[0].scale.name == "log"
        label = f"{facts(measurement[0]).title}, {'relative difference' if log else 'difference'} from {baseline}"
        draw = partial(difference_figure, panels, label=label, larger_is_better=direction == "higher",
                       width=WIDE * len(panels) / 3,
                       footer=f"{_footer(tables, score)}; task {task}; simultaneous 95 % intervals by seeds")
        found[f"{score}: differences from {baseline} in task {task}"] = (
            f"differences-{file_name(task)}-{file_part(measurement)}", draw)
    return found


def _footer(tables: SuiteTables, score: str) -> str:
    plan = tables.results.plan
    return f"{tables.results.title}; {score}; {len(set(plan.tasks.values()))} tasks, seeds {', '.join(map(str, plan.seeds))}"


def _differences(one: Measured) -> pd.DataFrame:
    found = one.against_baseline
    rows = [(own.a, (gain := skill(own)).value, gain.low, gain.high, own.verdict, own.margin)
            for own in (found.differences if found is not None else ())]
    return pd.DataFrame(rows, columns=DIFFERENCE)


def _ranks(one: Measured) -> pd.DataFrame:
    rows = [(entry, own.value, own.low, own.high) for entry, own in one.scores.mean_rank.items() if own.value == own.value]
    return pd.DataFrame(rows, columns=["entry", "rank", "low", "high"])


def _against_cost(tables: SuiteTables, one: Measured) -> pd.DataFrame:
    cost, front, quality = tables.cost_of(tables.cost, "ratio"), tables.front(one), one.quality
    by_skill = one.scores.ordered_by == "skill"
    ends = {entry: (own.low, own.high) if by_skill else (-own.high, -own.low)
            for entry, own in (one.scores.skill if by_skill else one.scores.mean_rank).items()}
    rows = [(entry, value, *ends[entry], cost.get(entry, np.nan), entry in front) for entry, value in quality.items()]
    data = pd.DataFrame(rows, columns=["entry", "quality", "low", "high", "cost", "front"])
    return data if data[["quality", "cost"]].notna().all(axis=1).any() else data.iloc[:0]


def _by_class(tables: SuiteTables, measurement: Measurement) -> Drawings:
    """The score of each class against its number of training images, in the task whose class counts differ most."""
    metric = BY_CLASS.get(measurement[0], measurement[0])
    counts = {}
    for task, block in tables.blocks.items():
        keys = [key for key in measurements(block.shown, "class") if key[:3] == (metric, *measurement[1:])]
        part = block.part(keys[0], "class") if keys else pd.DataFrame()
        if len(part) and part["value"].notna().any():
            counts[task] = (float(part["class_count"].max()) / max(float(part["class_count"].min()), 1.0), part, keys[0])
    if not counts:
        return {}
    task = max(counts, key=lambda one: counts[one][0])
    _, part, key = counts[task]
    grouped = part.groupby(["entry", "class_label", "class_count"], sort=False)["value"]
    data = grouped.agg(value="mean", spread="std", n="count").reset_index()
    df = data["n"] - 1
    pooled = (data["spread"].fillna(0) ** 2 * df).groupby(data["class_label"]).transform("sum")
    freedom = df.groupby(data["class_label"]).transform("sum")
    half = stats.t.ppf(0.975, freedom) * np.sqrt(pooled / freedom / data["n"])  # NaN with one seed
    low, high = METRICS[metric].bounds
    data = data.assign(low=(data["value"] - half).clip(low, high), high=(data["value"] + half).clip(low, high),
                       class_count=data["class_count"].astype(float))
    data = data.groupby(["entry", "class_count"], sort=False)[["value", "low", "high"]].mean().reset_index()
    name = measurement_name(key)
    draw = partial(class_count_figure, data, label=f"{name} of a class", baseline=tables.results.plan.baseline,
                   footer=f"{_footer(tables, name)}; task {task}; 95 % intervals over seeds, of each class alone, with the "
                          f"variance pooled over methods; dashed: {tables.results.plan.baseline}")
    return {f"{name} of each class against its training images, task {task}": (
        f"class-count-{file_part(key[:3])}", draw)}
