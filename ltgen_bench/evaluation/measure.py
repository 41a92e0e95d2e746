"""The rows of one extractor: every metric in every scope, each with its baseline scores."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ltgen_bench.core.progress import Stage
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.evaluation.baseline_scores import WIDE, Baseline, baselines_of, note
from ltgen_bench.evaluation.metrics.blas import blas_threads
from ltgen_bench.evaluation.metrics.enough import too_few
from ltgen_bench.evaluation.metrics.metric import FeatureSet, Metric, Result, ScopeKind, Settings

NO_CLASSES = "no classes in this group"
NO_LOGITS = "not available: this weights file has no logits"
NO_HELD_OUT = "not available: needs held-out images, and the data have no test part"
NO_TRAINING = "not available: needs all training images and held-out ones"


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
class FeatureSets:
    """What meets in a measurement: generated images, the reference, and real images that are not in the reference.

    `train` are the images that the model was trained on; None where no metric asks for them, or not all are at hand.
    """

    generated: FeatureSet
    real: FeatureSet
    held_out: FeatureSet
    train: FeatureSet | None = None

    def within(self, scope: Scope) -> "FeatureSets":
        """The images of the scope's classes."""
        generated, real, held_out = (side.take(np.isin(side.labels, scope.classes))
                                     for side in (self.generated, self.real, self.held_out))
        train = None if self.train is None else self.train.take(np.isin(self.train.labels, scope.classes))
        return FeatureSets(generated, real, held_out, train)


def scopes_of(dataset: LongTailDataset) -> list[Scope]:
    """Return all scopes: all classes, the groups of both rules (also empty ones), and every class."""
    groups = [Scope(name, "group", tuple(classes)) for name, classes in dataset.groups.items()]
    classes = [Scope("class", "class", (label,), label, name) for label, name in enumerate(dataset.class_names)]
    return [Scope("all", "all", tuple(range(dataset.num_classes))), *groups, *classes]


class Configured(NamedTuple):
    """A metric with its settings."""

    metric: Metric
    settings: Settings


def measure(metrics: Sequence[Configured], sides: FeatureSets, scopes: Sequence[Scope], stage: Stage) -> list[dict[str, Any]]:
    """Rows of `metrics` by `scopes`, in the order of `metrics`; `stage` advances by scopes. Protocols come later.

    Large scopes take all of torch's threads one after another. Classes are small matrices, which gain nothing from a second
    thread: as many of them as there are threads are measured side by side. The numbers depend on neither.
    """
    import torch  # not above: this module is imported without it

    threads = torch.get_num_threads()
    rows: dict[str, list[dict[str, Any]]] = {metric.name: [] for metric, _ in metrics}

    def measured(scope: Scope) -> list[dict[str, Any]]:
        wanted = [one for one in metrics if scope.kind in one.metric.scopes]
        inside = sides.within(scope)
        return [{**row, **scope.row} for settings, family in _families(wanted)
                for row in _family_rows(family, inside, scope, settings)]

    def note(scope: Scope, found: list[dict[str, Any]]) -> None:
        for row in found:
            rows[row["metric"]].append(row)
        stage.advance(1, scope.class_name or scope.name)

    for scope in scopes:
        if scope.kind != "class":
            with blas_threads(1 if sides.real.features.shape[1] <= WIDE else threads):
                note(scope, measured(scope))
    classes = [scope for scope in scopes if scope.kind == "class"]
    pool = ThreadPoolExecutor(threads)
    try:
        torch.set_num_threads(1)
        with blas_threads(1):
            for scope, found in zip(classes, pool.map(measured, classes), strict=True):
                note(scope, found)
    finally:
        pool.shutdown(cancel_futures=True)  # on Ctrl-C the classes that wait are not begun
        torch.set_num_threads(threads)
    return [row for metric, _ in metrics for row in rows[metric.name]]


def _families(metrics: Sequence[Configured]) -> Iterator[tuple[Settings, list[Metric]]]:
    """(settings, metrics that one call computes at these)."""
    families: dict[Any, tuple[Settings, list[Metric]]] = {}
    for metric, settings in metrics:
        function = metric.compute or metric.against_training
        if function is not None:
            families.setdefault((function, settings.model_dump_json()), (settings, []))[1].append(metric)
    yield from families.values()


def _family_rows(family: list[Metric], sides: FeatureSets, scope: Scope, settings: Settings) -> list[dict[str, Any]]:
    first = family[0]
    why = _unavailable(first, sides, scope, settings)
    if why:
        return [{"metric": metric.name, "note": why} for metric in family]
    if first.against_training is not None and sides.train is not None:
        found = first.against_training(sides.generated, sides.train, sides.held_out)
        return [{"metric": metric.name, **vars(found[metric.name]), **_few(metric, found[metric.name], sides, scope, settings)}
                for metric in family]
    assert first.compute is not None, "a metric without a function has no family"
    results = first.compute(sides.generated, sides.real, settings, scope.kind)
    baselines = baselines_of(first, sides.generated, sides.real, sides.held_out, settings, scope.kind, results)
    rows = []
    for metric in family:
        result = results[metric.name]
        row = {"metric": metric.name, **vars(result), **_baseline("half", baselines.halves, metric.name),
               **_baseline("test", baselines.held_out, metric.name), **_few(metric, result, sides, scope, settings),
               "note": note(metric, result, baselines, sides.generated, sides.held_out, settings)}
        rows.append({**row, "uncertainty": baselines.spread.get(metric.name, result.uncertainty)})
    return rows


def _baseline(kind: str, found: Baseline, metric: str) -> dict[str, Any]:
    """The columns of one kind of baseline score; without one its value is missing."""
    if metric not in found.values:
        return {f"floor_{kind}": math.nan}
    row = {f"floor_{kind}": found.values[metric], f"{kind}_n": found.n, f"at_{kind}": found.again.get(metric, math.nan)}
    return row | ({"half_sd": found.deviations[metric]} if metric in found.deviations else {})


def _few(metric: Metric, result: Result, sides: FeatureSets, scope: Scope, settings: Settings) -> dict[str, Any]:
    """Return how many images per side are enough for the metric, and which sides have fewer, in words."""
    wanted = metric.wanted(len(scope.classes), sides.generated.features.shape[1], settings)
    taking_part = {"generated": sides.generated}
    if "reference" in metric.needs:
        taking_part["real"] = sides.real
    if metric.against_training is not None:
        taking_part["held-out"] = sides.held_out
    counts = {name: len(side) for name, side in taking_part.items()}
    if metric.enough.by_class:
        counts = {name: _fewest(side, scope) * len(scope.classes) for name, side in taking_part.items()}
    words = too_few(counts, wanted)
    if not words and metric.compute is not None:  # a part of each side alone may have entered
        entered = min(count for count in (result.n_generated, result.n_real) if count is not None)
        words = too_few({"on each side": entered}, wanted)
    return {"wanted": wanted, "few": words}


def _fewest(side: FeatureSet, scope: Scope) -> int:
    """Images of the scope's smallest class."""
    return int(np.bincount(side.labels, minlength=max(scope.classes) + 1)[list(scope.classes)].min())


def _unavailable(metric: Metric, sides: FeatureSets, scope: Scope, settings: Settings) -> str:
    """Why there is no value, or nothing."""
    if not scope.classes:
        return NO_CLASSES
    if "logits" in metric.needs and sides.generated.logits is None:
        return NO_LOGITS
    if metric.against_training is not None and (sides.train is None or not len(sides.held_out)):
        return NO_TRAINING
    taking_part = {"generated": sides.generated}
    if "reference" in metric.needs:
        taking_part["real"] = sides.real
        if not len(sides.real):
            return NO_HELD_OUT  # they would be the reference
    needed = metric.images_needed(settings)
    short = " and ".join(f"{len(side)} {name}" for name, side in taking_part.items() if len(side) < needed)
    if short:
        return f"not available: needs n >= {needed} images, has {short}"
    wanted = [(name, side, metric.min_per_class) for name, side in taking_part.items()]
    wanted += [("held-out", sides.held_out, metric.min_held_out)] if metric.against_training is not None else []
    for name, side, least in wanted:
        fewest = _fewest(side, scope)
        if fewest < least > 1:  # labels drawn at random may leave a class without an image
            return f"not available: needs n >= {least} {name} images of each class, has {fewest}"
    return ""
