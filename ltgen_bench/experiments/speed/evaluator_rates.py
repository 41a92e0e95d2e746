"""The stage `evaluate`: metrics of given features, and the features of Inception."""

import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.core.progress import SILENT, Progress
from ltgen_bench.evaluation.extractors.inception import Inception
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.evaluation.measure import Configured, FeatureSets, Scope, measure
from ltgen_bench.evaluation.metrics import METRICS, FeatureSet, default_metrics
from ltgen_bench.evaluation.metrics.balls import neighbour_scores
from ltgen_bench.evaluation.metrics.fid import frechet_distance
from ltgen_bench.experiments.speed.speed_rows import Conditions, Measured, SpeedRow, measured, rows_of
from ltgen_bench.runtime.context import RunContext

K = 5
CPU = torch.device("cpu")
FEW = 64  # images of the call that warms up
LAYERS = ["2048", "logits_unbiased"]


def evaluate_stage(conditions: Conditions, progress: Progress) -> list[SpeedRow]:
    """Seconds and memory of the k-NN metrics, FID and the metrics of every class, and Inception's images/s."""
    sizes = conditions.sizes

    square, wide = (f"{images:,} x {images:,} x {sizes.features:,}" for images in (sizes.images, sizes.wide))
    jobs: list[tuple[str, str, Callable[..., Measured], tuple[Any, ...]]] = [
        ("k-NN", square, neighbours, (sizes.images, sizes.features)), ("FID", square, frechet, (sizes.images, sizes.features)),
        ("class metrics", f"{sizes.classes} classes x {sizes.per_class} x {sizes.features:,}", class_metrics,
         (sizes.classes, sizes.per_class, sizes.features)),
        ("Inception", f"{sizes.inception:,} images on {conditions.device}", inception, (sizes.inception, conditions.device)),
        *([("k-NN", wide, neighbours, (sizes.wide, sizes.features))] if sizes.wide else [])]

    def timed(what: str, size: str, job: Callable[..., Measured], inputs: tuple[Any, ...]) -> list[SpeedRow]:
        found = job(*inputs)
        rate = job is inception
        return [SpeedRow("evaluate", what, size, "images/s" if rate else "s",
                         sizes.inception / found.seconds if rate else found.seconds, memory_mb=found.memory_mb)]

    return rows_of({f"{job[0]}, {job[1]}": partial(timed, *job) for job in jobs}, progress)


def normal_features(count: int, width: int, seed: int) -> Float32[np.ndarray, "N D"]:
    """Standard normal features; the time of a metric does not depend on what they are."""
    return np.random.default_rng(seed).standard_normal((count, width), dtype=np.float32)


def neighbours(images: int, features: int) -> Measured:
    """Precision, recall, density and coverage of two sets of so many images."""
    first, second = normal_features(images, features, 0), normal_features(images, features, 1)
    neighbour_scores(first[:FEW], second[:FEW], K)
    return measured(lambda: neighbour_scores(first, second, K), CPU)


def frechet(images: int, features: int) -> Measured:
    """FID of two sets of so many images, from their features."""
    first, second = normal_features(images, features, 0), normal_features(images, features, 1)
    frechet_distance(first[:FEW], second[:FEW])
    return measured(lambda: frechet_distance(first, second), CPU)


def class_metrics(classes: int, per_class: int, features: int) -> Measured:
    """Every default metric that has a value for each class, with its baseline scores; equally many images of every kind."""
    labels = np.repeat(np.arange(classes), per_class)
    sides = FeatureSets(*(FeatureSet(normal_features(len(labels), features, seed), labels,
                         np.eye(classes, dtype=np.float32)[labels]) for seed in range(4)))
    scopes = [Scope("class", "class", (label,), label, f"class {label}") for label in range(classes)]
    metrics = [Configured(METRICS[name], METRICS[name].settings_of(EvaluateConfig(k=K))) for name in default_metrics()
               if "class" in METRICS[name].scopes and not METRICS[name].is_downstream]
    with SILENT.stage("metrics", classes, "classes") as stage:
        return measured(lambda: measure(metrics, sides, scopes, stage), CPU)


def inception(images: int, device: str) -> Measured:
    """Inception features and logits of 32 x 32 images, written into an empty cache, with untrained weights."""
    pixels = np.random.default_rng(0).integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    extractor = Inception(untrained_inception().state_dict(), "untrained", device)
    extractor(pixels[:2])
    with tempfile.TemporaryDirectory() as folder, SILENT.stage("features", images, "images") as stage:
        context = RunContext(torch.device(device), cache=Path(folder))
        return measured(lambda: cached_features(pixels, extractor, context, stage), context.device)


class _Untrained(FeatureExtractorInceptionV3):
    """torch-fidelity's network with its first weights, whatever the file holds that it insists on reading."""

    def load_state_dict(self, *arguments: Any, **more: Any) -> Any:
        return None


def untrained_inception() -> FeatureExtractorInceptionV3:
    """Inception-v3 with random weights that keep the size of what passes through, so that no number is denormal."""
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        path = Path(folder) / "none.pth"
        torch.save({}, path)
        net = _Untrained("inception-v3-compat", LAYERS, feature_extractor_weights_path=str(path))
    with torch.no_grad():
        for name, weights in net.named_parameters():
            if name.endswith("conv.weight"):
                weights *= math.sqrt(6)
    return net
