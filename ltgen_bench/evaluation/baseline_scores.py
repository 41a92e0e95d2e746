"""Baseline scores of real images for a score, its sampling error, and whether a part of it is bias."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ltgen_bench.evaluation.metrics.metric import SEED, FeatureSet, Metric, Result, ScopeKind, Settings
from ltgen_bench.evaluation.subsets import stratified_halves, stratified_take

WIDE = 512  # features; wider ones have fewer splits and at most BASELINE_IMAGES images a side, to bound the cost
BASELINE_SPLITS = 3  # random halvings of the reference, averaged
SPREAD_SPLITS = 4  # random halvings of the generated images
BASELINE_IMAGES = 10_000

Score = Callable[[FeatureSet, FeatureSet], Mapping[str, Result]]

@dataclass(frozen=True)
class Baseline:
    """The scores of real images in the place of generated ones, by metric name, of `n` images.

    Where that is another number than in the score itself, and the metric depends on it, `again` are the scores of as many
    generated images, on as many real ones: only these compare with the baseline.

    `deviations` are standard deviations of the scores over random halvings, where there are several. The halvings are of the
    same real images: a deviation is that of dividing these, and lacks what other real images would change. Of three halvings
    it has two degrees of freedom: it is uncertain by about half.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    n: int = 0
    again: Mapping[str, float] = field(default_factory=dict)
    deviations: Mapping[str, float] = field(default_factory=dict)


NO_BASELINE = Baseline()


@dataclass(frozen=True)
class Baselines:
    """The baseline scores of metrics computed together in one scope, and the sampling error of each score by metric."""

    halves: Baseline
    held_out: Baseline
    spread: Mapping[str, float]


def baselines_of(metric: Metric, generated: FeatureSet, real: FeatureSet, held_out: FeatureSet, settings: Settings,
                 kind: ScopeKind, results: Mapping[str, Result]) -> Baselines:
    """Baseline scores and sampling errors of the metrics computed together with `metric`, whose scores are `results`."""
    compute = metric.compute
    assert compute is not None, "a metric without a function has no scores"

    score: Score = lambda first, second: compute(first, second, settings, kind)  # noqa: E731
    # Not where the metric brings its own error, nor where it takes so long that it is asked for by name.
    own = metric.on_request or any(not math.isnan(result.uncertainty) for result in results.values())
    return Baselines(halves_baseline(score, metric, generated, real, settings, results),
                     held_out_baseline(score, metric, generated, real, held_out, settings, results),
                     {} if own else spread(score, metric, generated, real, settings))


def halves_baseline(score: Score, metric: Metric, generated: FeatureSet, real: FeatureSet, settings: Settings,
               results: Mapping[str, Result]) -> Baseline:
    """Mean score of a half of the reference against the other: of as many images as there are generated, where a half has
    them."""
    if "half" not in metric.baselines:
        return NO_BASELINE
    wide = real.features.shape[1] > WIDE
    found: list[Mapping[str, Result]] = []
    count = 0
    for split in range(1 if wide else BASELINE_SPLITS):
        rng = np.random.default_rng([SEED, split])
        halves = [real.take(half) for half in stratified_halves(real.labels, rng)]
        count = min(len(halves[0]), len(generated), BASELINE_IMAGES if wide else len(halves[0]))
        if count < metric.images_needed(settings):
            return NO_BASELINE
        first, second = (half.take(stratified_take(half.labels, count, rng)) for half in halves)
        found.append(score(first, second))
    every = {name: [results[name].value for results in found] for name in found[0]}
    values = {name: float(np.mean(scores)) for name, scores in every.items()}
    deviations = {name: float(np.std(scores, ddof=1)) for name, scores in every.items()} if len(found) > 1 else {}
    if not _other_n(metric, found[0], results):
        return Baseline(values, count, deviations=deviations)
    rng = np.random.default_rng(SEED)
    again = _values(score(*(side.take(stratified_take(side.labels, count, rng)) for side in (generated, real))))
    return Baseline(values, count, again, deviations)


def held_out_baseline(score: Score, metric: Metric, generated: FeatureSet, real: FeatureSet, held_out: FeatureSet,
                      settings: Settings, results: Mapping[str, Result]) -> Baseline:
    """The score of held-out real images in the place of the generated ones, and no more of them.

    A metric whose best value is that of real images takes those of the reference where none are held out.
    """
    if metric.direction == "nearest" and not len(held_out):
        held_out = real
    if "test" not in metric.baselines or len(held_out) < metric.images_needed(settings):
        return NO_BASELINE
    count = min(len(held_out), len(generated))
    found = score(held_out.take(stratified_take(held_out.labels, count, np.random.default_rng(SEED))), real)
    if not _other_n(metric, found, results):
        return Baseline(_values(found), count)
    chosen = stratified_take(generated.labels, count, np.random.default_rng(SEED))
    return Baseline(_values(found), count, _values(score(generated.take(chosen), real)))


def _values(results: Mapping[str, Result]) -> dict[str, float]:
    return {name: result.value for name, result in results.items()}


def _other_n(metric: Metric, baseline: Mapping[str, Result], results: Mapping[str, Result]) -> bool:
    """Return whether a baseline has another number of images than the score, so that the two do not compare."""
    return metric.depends_on_n and any((one.n_generated, one.n_real) != (results[name].n_generated, results[name].n_real)
                                       for name, one in baseline.items())


def spread(score: Score, metric: Metric, generated: FeatureSet, real: FeatureSet, settings: Settings) -> dict[str, float]:
    """How far another draw of as many generated images would move each score: a standard deviation; nothing where too few.

    From disjoint halves of the images, without replacement: their scores differ by sqrt(2) deviations of a half, and a
    deviation falls with the root of the number of images. The bias of few images is in both halves and drops out, which is
    why nothing is drawn with replacement: a bootstrap of FID moves its centre. Of wide features at most BASELINE_IMAGES real
    images and half as many generated ones a side are compared.
    """
    wide = real.features.shape[1] > WIDE
    found: dict[str, list[float]] = {}
    rng = np.random.default_rng([SEED, len(generated)])
    if wide and len(real) > BASELINE_IMAGES:
        real = real.take(stratified_take(real.labels, BASELINE_IMAGES, rng))
    count = 0
    for _ in range(2 if wide else SPREAD_SPLITS):
        halves = [generated.take(half) for half in stratified_halves(generated.labels, rng)]
        count = min(len(halves[0]), BASELINE_IMAGES // 2) if wide else len(halves[0])
        counts = np.unique(halves[0].labels, return_counts=True)[1]
        if count < metric.images_needed(settings) or counts.min(initial=count) < metric.min_per_class:
            return {}
        scores = [score(half.take(stratified_take(half.labels, count, rng)), real) for half in halves]
        for name in scores[0]:
            found.setdefault(name, []).append((scores[0][name].value - scores[1][name].value) ** 2)
    return {name: math.sqrt(float(np.mean(squares)) / 2 * count / len(generated)) for name, squares in found.items()}


def note(metric: Metric, result: Result, baselines: Baselines, generated: FeatureSet, held_out: FeatureSet,
         settings: Settings) -> str:
    """Return the note of a score: the expected value of a perfect generator, or that a part of it is bias."""
    if metric.expected is not None:
        return f"expected value of a perfect generator ({metric.expected(result, settings):.3f})"
    if metric.direction == "nearest" and metric.target is None and not len(held_out):
        return "the value for real images is that of the reference, since there are no held-out ones"
    if metric.biased_below is None or len(generated) >= metric.biased_below:
        return ""
    halves = baselines.halves
    if metric.name not in halves.values or metric.name not in halves.again:
        return f"mostly small-sample bias: fewer than {metric.biased_below:,} images"
    share = "mostly" if halves.values[metric.name] >= result.value / 2 else "partly"
    return (f"{share} small-sample bias: fewer than {metric.biased_below:,} images ({halves.again[metric.name]:.4g} with the "
            f"{halves.n} of the baseline score)")
