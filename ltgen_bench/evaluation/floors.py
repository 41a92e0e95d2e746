"""What stands beside a score: its noise floors, how far sampling moves it, and how much of it is bias."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ltgen_bench.evaluation.metrics.base import Compute, Metric, Result, ScopeKind, Settings, Side
from ltgen_bench.evaluation.subsets import stratified_halves, stratified_take

WIDE = 512  # features; wider ones have fewer splits and at most FLOOR_IMAGES images a side, to bound the cost
FLOOR_SPLITS = 3  # random halvings of the reference, averaged
SPREAD_SPLITS = 4  # random halvings of the generated images
FLOOR_IMAGES = 10_000


@dataclass(frozen=True)
class Beside:
    """The floors of one family of metrics in one scope, and the spread of its scores; by metric name."""

    halves: Mapping[str, float]
    halves_n: int  # images in each half
    held_out: Mapping[str, float]
    spread: Mapping[str, float]


def beside(compute: Compute, metric: Metric, generated: Side, real: Side, held_out: Side, settings: Settings, kind: ScopeKind,
           results: Mapping[str, Result]) -> Beside:
    """Floors and spread of the metrics that `compute` gives, of which `metric` is one and `results` the scores."""
    halves, count = floor_half(compute, metric, generated, real, settings, kind)
    # Not where the metric brings its own error, nor where it takes so long that it is asked for by name.
    own = metric.on_request or any(not math.isnan(result.uncertainty) for result in results.values())
    return Beside(halves, count, floor_test(compute, metric, generated, real, held_out, settings, kind),
                  {} if own else spread(compute, metric, generated, real, settings, kind))


def floor_half(compute: Compute, metric: Metric, generated: Side, real: Side, settings: Settings,
               kind: ScopeKind) -> tuple[dict[str, float], int]:
    """Mean score of a half of the reference against the other, and the images in each: as many as there are generated,
    where a half has them."""
    if "half" not in metric.floors:
        return {}, 0
    wide = real.features.shape[1] > WIDE
    found: list[Mapping[str, Result]] = []
    count = 0
    for split in range(1 if wide else FLOOR_SPLITS):
        rng = np.random.default_rng([settings.seed, split])
        halves = [real.take(half) for half in stratified_halves(real.labels, rng)]
        count = min(len(halves[0]), len(generated), FLOOR_IMAGES if wide else len(halves[0]))
        if count < metric.images_needed(settings):
            return {}, 0
        first, second = (half.take(stratified_take(half.labels, count, rng)) for half in halves)
        found.append(compute(first, second, settings, kind))
    return {name: float(np.mean([results[name].value for results in found])) for name in found[0]}, count


def floor_test(compute: Compute, metric: Metric, generated: Side, real: Side, held_out: Side, settings: Settings,
               kind: ScopeKind) -> dict[str, float]:
    """The score of held-out real images in the place of the generated ones, and no more of them."""
    if "test" not in metric.floors or len(held_out) < metric.images_needed(settings):
        return {}
    count = min(len(held_out), len(generated))
    chosen = stratified_take(held_out.labels, count, np.random.default_rng(settings.seed))
    results = compute(held_out.take(chosen), real, settings, kind)
    return {name: result.value for name, result in results.items()}


def spread(compute: Compute, metric: Metric, generated: Side, real: Side, settings: Settings,
           kind: ScopeKind) -> dict[str, float]:
    """How far another draw of as many generated images would move each score: a standard deviation; nothing where too few.

    From disjoint halves of the images, without replacement: their scores differ by sqrt(2) deviations of a half, and a
    deviation falls with the root of the number of images. The bias of few images is in both halves and drops out, which is
    why nothing is drawn with replacement: a bootstrap of FID moves its centre. Of wide features at most FLOOR_IMAGES real
    images and half as many generated ones a side are compared.
    """
    wide = real.features.shape[1] > WIDE
    found: dict[str, list[float]] = {}
    rng = np.random.default_rng([settings.seed, len(generated)])
    if wide and len(real) > FLOOR_IMAGES:
        real = real.take(stratified_take(real.labels, FLOOR_IMAGES, rng))
    count = 0
    for _ in range(2 if wide else SPREAD_SPLITS):
        halves = [generated.take(half) for half in stratified_halves(generated.labels, rng)]
        count = min(len(halves[0]), FLOOR_IMAGES // 2) if wide else len(halves[0])
        counts = np.unique(halves[0].labels, return_counts=True)[1]
        if count < metric.images_needed(settings) or counts.min(initial=count) < metric.min_per_class:
            return {}
        scores = [compute(half.take(stratified_take(half.labels, count, rng)), real, settings, kind) for half in halves]
        for name in scores[0]:
            found.setdefault(name, []).append((scores[0][name].value - scores[1][name].value) ** 2)
    return {name: math.sqrt(float(np.mean(squares)) / 2 * count / len(generated)) for name, squares in found.items()}


def note(metric: Metric, result: Result, around: Beside, generated: Side, real: Side, settings: Settings, kind: ScopeKind) -> str:
    """What a reader has to know of a score: what equal distributions would have, or how much of it is bias."""
    if metric.expected is not None:
        return f"expected of equal distributions ({metric.expected(result, settings):.3f})"
    if metric.biased_below is None or len(generated) >= metric.biased_below or metric.compute is None:
        return ""
    halves = around.halves
    if metric.name not in halves:
        return f"mostly bias: n < {metric.biased_below}"
    share = "mostly" if halves[metric.name] >= result.value / 2 else "partly"
    rng = np.random.default_rng(settings.seed)
    cut = [side.take(stratified_take(side.labels, around.halves_n, rng)) for side in (generated, real)]
    there = metric.compute(cut[0], cut[1], settings, kind)[metric.name].value
    return f"{share} bias: n < {metric.biased_below} ({there:.4g} at the floor's n = {around.halves_n})"
