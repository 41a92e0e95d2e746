"""One extractor's rows: every metric in every scope, each beside its noise floors."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn brings it along

from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.evaluation.metrics.base import Compute, Metric, Result, ScopeKind, Settings, Side
from ltgen_bench.evaluation.subsets import stratified_halves, stratified_take
from ltgen_bench.progress import Stage

WIDE = 512  # features; wider ones have one split and at most FLOOR_IMAGES images a side, to bound the cost
FLOOR_SPLITS = 3  # random halvings of the reference, averaged
FLOOR_IMAGES = 10_000
NO_CLASSES = "no classes in this group"
NO_LOGITS = "not available: this weights file has no logits"


@dataclass(frozen=True)
class Scope:
    """A part of the classes: all, one group of one rule, or one class."""

    name: str
    kind: ScopeKind
    classes: tuple[int, ...]
    label: int | None = None
    class_name: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """The columns of a row that say where it belongs."""
        return {"scope": self.name, "label": self.label, "class_name": self.class_name}


@dataclass(frozen=True)
class Sides:
    """What meets in a measurement: generated images, the reference, and real images that are not in the reference."""

    generated: Side
    real: Side
    held_out: Side

    def within(self, scope: Scope) -> "Sides":
        """The images of the scope's classes."""
        return Sides(*(side.take(np.isin(side.labels, scope.classes))
                       for side in (self.generated, self.real, self.held_out)))


def scopes_of(dataset: LongTailDataset) -> list[Scope]:
    """All classes, the groups of both rules (an empty one too), and every class."""
    groups = [Scope(name, "group", tuple(classes)) for name, classes in dataset.groups.items()]
    classes = [Scope("class", "class", (label,), label, name) for label, name in enumerate(dataset.class_names)]
    return [Scope("all", "all", tuple(range(dataset.num_classes))), *groups, *classes]


def measure(metrics: Sequence[Metric], sides: Sides, scopes: Sequence[Scope], settings: Settings,
            stage: Stage) -> list[dict[str, Any]]:
    """Rows of `metrics` by `scopes`, in the order of `metrics`; `stage` advances by scopes. Protocols come later."""
    rows: dict[str, list[dict[str, Any]]] = {metric.name: [] for metric in metrics}
    # Small matrices gain nothing from a second thread, and on a busy machine lose much by waiting for it.
    with threadpool_limits(None if sides.real.features.shape[1] > WIDE else 1, user_api="blas"):
        for scope in scopes:
            wanted = [metric for metric in metrics if scope.kind in metric.scopes]
            inside = sides.within(scope)
            for compute, family in _families(wanted):
                for row in _family_rows(compute, family, inside, scope, settings):
                    rows[row["metric"]].append({**row, **scope.row})
            stage.advance(1, scope.class_name or scope.name)
    return [row for metric in metrics for row in rows[metric.name]]


def _families(metrics: Sequence[Metric]) -> Iterator[tuple[Compute, list[Metric]]]:
    """Metrics that one call computes, together."""
    families: dict[Compute, list[Metric]] = {}
    for metric in metrics:
        if metric.compute is not None:
            families.setdefault(metric.compute, []).append(metric)
    yield from families.items()


def _family_rows(compute: Compute, family: list[Metric], sides: Sides, scope: Scope,
                 settings: Settings) -> list[dict[str, Any]]:
    note = _unavailable(family[0], sides, scope, settings)
    if note:
        return [{"metric": metric.name, "note": note} for metric in family]
    results = compute(sides.generated, sides.real, settings, scope.kind)
    halves, floor_n = _floor_half(compute, family[0], sides, scope, settings)
    tests = _floor_test(compute, family[0], sides, scope, settings)
    return [{"metric": metric.name, **vars(results[metric.name]), "floor_half": halves.get(metric.name, math.nan),
             "floor_test": tests.get(metric.name, math.nan),
             "note": _bias_note(metric, results[metric.name], halves, floor_n, sides, scope, settings)}
            for metric in family]


def _unavailable(metric: Metric, sides: Sides, scope: Scope, settings: Settings) -> str:
    """Why there is no value, or nothing."""
    if not scope.classes:
        return NO_CLASSES
    if "logits" in metric.needs and sides.generated.logits is None:
        return NO_LOGITS
    counts = {"generated": len(sides.generated)}
    if "reference" in metric.needs:
        counts["real"] = len(sides.real)
    needed = metric.images_needed(settings)
    short = " and ".join(f"{count} {name}" for name, count in counts.items() if count < needed)
    return f"not available: needs n >= {needed} images, has {short}" if short else ""


def _floor_half(compute: Compute, metric: Metric, sides: Sides, scope: Scope,
                settings: Settings) -> tuple[dict[str, float], int]:
    """Mean score of a half of the reference against the other, and the images in each: as many as there are generated,
    where a half has them."""
    if "half" not in metric.floors:
        return {}, 0
    wide = sides.real.features.shape[1] > WIDE
    found: list[Mapping[str, Result]] = []
    count = 0
    for split in range(1 if wide else FLOOR_SPLITS):
        rng = np.random.default_rng([settings.seed, split])
        halves = [sides.real.take(half) for half in stratified_halves(sides.real.labels, rng)]
        count = min(len(halves[0]), len(sides.generated), FLOOR_IMAGES if wide else len(halves[0]))
        if count < metric.images_needed(settings):
            return {}, 0
        first, second = (half.take(stratified_take(half.labels, count, rng)) for half in halves)
        found.append(compute(first, second, settings, scope.kind))
    return {name: float(np.mean([results[name].value for results in found])) for name in found[0]}, count


def _floor_test(compute: Compute, metric: Metric, sides: Sides, scope: Scope, settings: Settings) -> dict[str, float]:
    """The score of held-out real images in the place of the generated ones, and no more of them."""
    if "test" not in metric.floors or len(sides.held_out) < metric.images_needed(settings):
        return {}
    count = min(len(sides.held_out), len(sides.generated))
    chosen = stratified_take(sides.held_out.labels, count, np.random.default_rng(settings.seed))
    results = compute(sides.held_out.take(chosen), sides.real, settings, scope.kind)
    return {name: result.value for name, result in results.items()}


def _bias_note(metric: Metric, result: Result, halves: Mapping[str, float], floor_n: int, sides: Sides, scope: Scope,
               settings: Settings) -> str:
    """For a biased score of few images: how much is bias, and the score at the floor's own n, where the two compare."""
    if metric.biased_below is None or len(sides.generated) >= metric.biased_below or metric.compute is None:
        return ""
    if metric.name not in halves:
        return f"mostly bias: n < {metric.biased_below}"
    share = "mostly" if halves[metric.name] >= result.value / 2 else "partly"
    rng = np.random.default_rng(settings.seed)
    generated, real = (side.take(stratified_take(side.labels, floor_n, rng)) for side in (sides.generated, sides.real))
    there = metric.compute(generated, real, settings, scope.kind)[metric.name].value
    return f"{share} bias: n < {metric.biased_below} ({there:.4g} at the floor's n = {floor_n})"
