"""Hyper-parameter search: selection on one half of the real images, report on the other, so that the report is unbiased.

Candidates differ in values of the recipe. Each is trained (once for each distinct training), sampled, and scored against
the half `selection`; the best is scored against the half `report`, and only that is a result. All are ordinary runs, so
a repeated search reads finished ones.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ltgen_bench.config.recipe_files import parse_setting
from ltgen_bench.config.schema import RunConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.files import write_text
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.evaluation.downstream import TRAIN_DATA
from ltgen_bench.evaluation.evaluator import check_extractors
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.experiments.pipeline import Run, carry_out
from ltgen_bench.experiments.plan import Plan, make_plan
from ltgen_bench.experiments.workload import as_preset, workload, worth_training
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.statistics.scale import scale_of
from ltgen_bench.statistics.seed_model import fit
from ltgen_bench.statistics.verdicts import compare

SEEDS = ("seed", "sample.seed")  # repetitions of a candidate: scores are averaged over them
REPEATS = 3  # seeds of a candidate where trainings are short
CHEAP = 2e13  # operations of a short training: minutes on two CPU cores
MEASUREMENT = ("data.", "evaluate.", "sample.images_per_class", "sample.labels", "source", "reported")
SYNTHETIC = TRAIN_DATA[1]  # downstream metrics select by the classifier trained on generated images alone


@dataclass(frozen=True)
class Candidate:
    """One combination of the searched values, with a plan for each combination of seeds."""

    values: Mapping[str, Any]
    plans: tuple[Plan, ...]

    @property
    def words(self) -> str:
        """`sample.omega 1, sample.steps 20`."""
        return ", ".join(f"{key} {value}" for key, value in self.values.items())


@dataclass(frozen=True)
class Search:
    """Candidates of a search, and the score to choose by."""

    metric: str
    extractor: str
    candidates: tuple[Candidate, ...]
    reports: tuple[tuple[Plan, ...], ...]  # for each candidate, its plans against the half `report`

    @property
    def words(self) -> str:
        """`6 candidates of 3 seeds, 6 trainings`."""
        counts = {"candidate": len(self.candidates), "seed": len(self.candidates[0].plans),
                  "training": len({plan.folder for candidate in self.candidates for plan in candidate.plans})}
        candidates, seeds, trainings = (f"{n} {name}{'s' if n > 1 else ''}" for name, n in counts.items())
        return f"{candidates}{f' of {seeds}' if counts['seed'] > 1 else ''}, {trainings}"


@dataclass(frozen=True)
class Found:
    """A finished search: the selection-half score of every candidate (mean over seeds), the choice, and its result.

    `may_be_best` are the candidates that are not worse than any other by simultaneous 95 % intervals of their differences; empty
    where the seeds are too few to tell. `recipe` is the file of the chosen one.
    """

    search: Search
    means: tuple[float, ...]
    spreads: tuple[float, ...]  # standard deviation over seeds; NaN for one
    chosen: int
    results: tuple[Run, ...]  # the chosen one on the report half, a run a seed
    may_be_best: tuple[int, ...]
    recipe: Path


def parse_axis(text: str) -> tuple[str, list[Any]]:
    """`sample.omega=0,0.5,1` as (key, values), each read as --set reads one; lists stand in brackets: `[8,16],[16,32]`."""
    key, equals, values = text.partition("=")
    key, whole = key.strip(), parse_setting(f"{key.strip() or 'key'}=[{values}]")[1]
    if not equals or not key or not values.strip():
        raise UserError(f"--over {text}: write it as KEY=VALUE,VALUE,..., for example --over sample.omega=0,0.5,1")
    found = whole if isinstance(whole, list) else [parse_setting(f"{key}={part.strip()}")[1] for part in values.split(",")]
    twice = [value for place, value in enumerate(found) if value in found[:place]]
    if twice:
        raise UserError(f"--over {text}: the value {twice[0]} is given twice.")
    return key, found


def make_search(config: RunConfig, over: Mapping[str, Sequence[Any]], dataset: LongTailDataset, runs: Path,
                context: RunContext, *, metric: str = "fid", extractor: str | None = None) -> Search:
    """Plan every candidate of `config`, whose preset is resolved, before anything is trained.

    The score by `metric` on the features of `extractor` (default: the first of `config`) selects. Keys that change the
    measurement cannot be searched, since scores of their candidates are not comparable. Raises `UserError` where a candidate
    cannot run.
    """
    for key in over:
        if any(key == fixed or (fixed.endswith(".") and key.startswith(fixed)) for fixed in MEASUREMENT):
            raise UserError(f"--over {key}: it changes what is measured, so its candidates do not compare; search in train, "
                            "method, network, or the sampler, steps and omega of sample.")
    axes = {key: values for key, values in over.items() if key not in SEEDS}
    if not axes:
        raise UserError("--over: a seed is not chosen but averaged over; name another key too, as in --over sample.omega=0,1")
    _check_metric(metric)
    dataset.half("selection")  # refuses classes that are too small
    extractor = extractor or config.evaluate.extractors[0]
    selecting = {"half": "selection", "metrics": (metric,), "extractors": (extractor,),
                 "downstream": METRICS[metric].is_downstream}
    reporting = {"half": "report", "selection": "selected-on-half"}
    # numbers of images take the place of a budget in other units, as they do in a recipe
    budget = None if "train.budget_images" in over else config.budget
    # candidates of other budgets and methods draw as many images
    base = worth_training(as_preset(config.model_copy(update={"budget": budget}), dataset), dataset.num_classes)
    seeds = [dict(zip(SEEDS, pair, strict=True)) for pair in itertools.product(
        *(over.get(key, [current]) for key, current in zip(SEEDS, (config.seed, config.sample.seed), strict=True)))]

    silent = replace(context, progress=SILENT)

    def plans(values: Mapping[str, Any], evaluate: Mapping[str, Any]) -> tuple[Plan, ...]:
        whole = base.model_copy(update={"evaluate": config.evaluate.model_copy(update=dict(evaluate))}).model_dump(mode="json")
        return tuple(make_plan(RunConfig.from_values(whole, overrides={**values, **own}, where="the search"), dataset, runs,
                               silent)
                     for own in seeds)

    combinations = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return Search(metric, extractor, tuple(Candidate(values, plans(values, selecting)) for values in combinations),
                  tuple(plans(values, reporting) for values in combinations))


def repeats(config: RunConfig, dataset: LongTailDataset) -> list[int]:
    """Return the seeds of a search that names none: three where one training takes a few minutes at most, else the recipe's."""
    budget = config.budget.flops if config.budget is not None else None
    cheap = (budget or workload(config, dataset).train) <= CHEAP
    return [config.seed + more for more in range(REPEATS if cheap else 1)]


def _check_metric(name: str) -> None:
    metric = METRICS[name]
    if "all" not in metric.scopes:
        raise UserError(f"--metric {name}: it has no value over all classes to choose by.")
    if not {"reference", "downstream classifier"} & set(metric.needs):
        raise UserError(f"--metric {name}: it looks at no real image, so the report half would repeat the number that it was "
                        "chosen by; choose by fid, kid or another metric with a reference.")
    if metric.direction == "nearest" and metric.target is None:
        raise UserError(f"--metric {name}: it is best where it is nearest to that of real images; choose by fid, kid or another "
                        "metric of which lower or higher is better.")


def carry_out_search(search: Search, context: RunContext) -> Found:
    """Train, sample and score every candidate against the half `selection`, and the best one against the half `report`.

    Of equal means the first is selected. Raises `UserError` where no candidate has a value.
    """
    progress, report = context.progress, search.reports[0][0]
    check_extractors(report.dataset, report.config.evaluate, context)
    means, spreads, scores = [], [], []
    for number, candidate in enumerate(search.candidates, 1):
        progress.say(f"candidate {number} of {len(search.candidates)}: {candidate.words}")
        runs = [carry_out(plan, context) for plan in candidate.plans]
        values = np.array([selection_value(run.scores, search.metric) for run in runs])
        scores.append(values)
        means.append(float(values.mean()))
        spreads.append(float(values.std(ddof=1)) if len(values) > 1 else math.nan)
    metric = METRICS[search.metric]
    losses = {"lower": means, "higher": [-mean for mean in means],
              "nearest": [abs(mean - (metric.target or 0.0)) for mean in means]}[metric.direction]
    ranked = np.where(np.isnan(losses), math.inf, losses)
    if np.isnan(means).all():
        raise UserError(f"{search.metric} has no value for any candidate ({_note(runs[0].scores)}); choose by another --metric, "
                        "or draw more images.")
    chosen = int(ranked.argmin())
    progress.say(f"chosen: {search.candidates[chosen].words}; scoring it against the other half")
    results = [carry_out(plan, context) for plan in search.reports[chosen]]
    return Found(search, tuple(means), tuple(spreads), chosen, tuple(results), _may_be_best(scores, search.metric),
                 _write_recipe(search, chosen))


def _may_be_best(scores: Sequence[np.ndarray], name: str) -> tuple[int, ...]:
    """Return the candidates that are not worse than another one; `scores` has an array over seeds for each."""
    metric = METRICS[name]
    values = np.stack(scores, axis=1)
    if metric.direction == "nearest":
        values = np.abs(values - (metric.target or 0.0))
    table = pd.DataFrame(values, columns=[str(place) for place in range(len(scores))])
    direction = "higher" if metric.direction == "higher" else "lower"
    model = fit(table, scale=scale_of(metric.compared_as, values), direction=direction)
    return tuple(map(int, compare(model).best))


def _write_recipe(search: Search, chosen: int) -> Path:
    """Write the chosen settings as a recipe, whose run is the result of the search, and return its path."""
    plan = search.reports[chosen][0]
    source = (f"chosen by {search.metric} ({search.extractor}) on the selection half of the real images among {search.words}: "
              f"{search.candidates[chosen].words}; else {plan.config.source or 'as given'}")
    path = plan.runs / plan.dataset.name / "searches" / f"{plan.config.method.name}-{plan.score_digest}.toml"
    write_text(path, plan.spelled_out.model_copy(update={"source": source}).to_toml())
    return path


def selection_value(scores: Scores, metric: str) -> float:
    """The value over all classes; of a downstream metric, that of the classifier trained on generated images alone."""
    table = scores.table
    rows = table[(table["metric"] == metric) & (table["scope"] == "all") & table["train_data"].isin(["", SYNTHETIC])]
    return float(rows["value"].iloc[0])


def _note(scores: Scores) -> str:
    return str(scores.table.loc[scores.table["scope"] == "all", "note"].iloc[0])
