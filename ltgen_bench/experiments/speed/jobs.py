"""What is measured, ours and the plain references. A job makes its input and returns the call that is timed."""

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torch_fidelity.utils import get_featuresdict_from_dataset

from ltgen_bench.core.progress import SILENT
from ltgen_bench.evaluation.extractors.inception import Inception
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.evaluation.measure import Scope, Sides, measure
from ltgen_bench.evaluation.metrics import DEFAULT, METRICS, Settings, Side
from ltgen_bench.evaluation.metrics.balls import neighbour_scores
from ltgen_bench.evaluation.metrics.fid import frechet_distance
from ltgen_bench.experiments.speed.loops import draw_ours, draw_plain, train_ours, train_plain

Call = Callable[[], Sequence[float]]
K = 5
LAYERS = ["2048", "logits_unbiased"]
FIDELITY_BATCH = 64  # torch-fidelity's default
COMPARED = 16  # images whose Inception features are held against each other


def normal_features(count: int, width: int, seed: int) -> Float32[np.ndarray, "N D"]:
    """Standard normal features; what is timed here does not depend on what they are."""
    return np.random.default_rng(seed).standard_normal((count, width), dtype=np.float32)


def neighbours(images: int, features: int) -> Call:
    """Precision, recall, density, coverage: ours."""
    first, second = normal_features(images, features, 0), normal_features(images, features, 1)
    neighbour_scores(first[:64], second[:64], K)
    return lambda: neighbour_scores(first, second, K)


def neighbours_prdc(images: int, features: int) -> Call:
    """The same four as the authors' package defines them (prdc: Naeem et al. 2020): whole distance matrices in float64."""
    first, second = normal_features(images, features, 0), normal_features(images, features, 1)
    plain_prdc(first[:64], second[:64], K)
    return lambda: plain_prdc(first, second, K)


def plain_prdc(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"],
               k: int) -> tuple[float, float, float, float]:
    """(precision, recall, density, coverage) by three whole matrices of distances in float64; the edge is outside a ball."""
    around_real, around_generated = _kth_nearest(real, k), _kth_nearest(generated, k)
    distance = _distances(real, generated)  # [N, M]
    in_real = distance < around_real[:, None]
    return (float(in_real.any(axis=0).mean()), float((distance < around_generated).any(axis=1).mean()),
            float(in_real.sum(axis=0).mean() / k), float((distance.min(axis=1) < around_real).mean()))


def _kth_nearest(points: Float[np.ndarray, "N D"], k: int) -> Float[np.ndarray, " N"]:
    """The distance from every point to its k-th nearest neighbour; the nearest of all is the point itself."""
    return np.partition(_distances(points, points), k, axis=1)[:, k]


def _distances(first: Float[np.ndarray, "M D"], second: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "M N"]:
    first, second = first.astype(np.float64), second.astype(np.float64)
    squares = np.square(first).sum(axis=1)[:, None] - 2 * first @ second.T + np.square(second).sum(axis=1)
    return np.sqrt(np.maximum(squares, 0))


def neighbours_fidelity(images: int, features: int) -> Call:
    """Precision and recall: torch-fidelity's."""
    first, second = (torch.from_numpy(normal_features(images, features, seed)) for seed in (0, 1))

    def call(count: int = images) -> tuple[float, float]:
        found = prc_features_to_metric(first[:count], second[:count], prc_neighborhood=K, verbose=False)
        return found["precision"], found["recall"]

    call(64)
    return call


def frechet(images: int, features: int) -> Call:
    """FID from features: ours."""
    first, second = normal_features(images, features, 0), normal_features(images, features, 1)
    frechet_distance(first[:64], second[:64])
    return lambda: [frechet_distance(first, second)]


def frechet_fidelity(images: int, features: int) -> Call:
    """FID from features: torch-fidelity's."""
    first, second = (torch.from_numpy(normal_features(images, features, seed)) for seed in (0, 1))

    def call(width: int = features) -> list[float]:
        found = fid_statistics_to_metric(*(fid_features_to_statistics(part[:, :width]) for part in (first, second)),
                                         verbose=False)
        return [found["frechet_inception_distance"]]

    call(64)
    return call


def classes(classes: int, per_class: int, features: int) -> Call:
    """Every default metric that has a value for each class, with its floors: ours. Equally many images of every kind."""
    labels = np.repeat(np.arange(classes), per_class)
    sides = Sides(*(Side(normal_features(len(labels), features, seed), labels,
                         np.eye(classes, dtype=np.float32)[labels]) for seed in range(4)))
    scopes = [Scope("class", "class", (label,), label, f"class {label}") for label in range(classes)]
    metrics = [METRICS[name] for name in DEFAULT if "class" in METRICS[name].scopes and "training" not in METRICS[name].needs]

    def call() -> list[float]:
        with SILENT.stage("metrics", classes, "classes") as stage:
            rows = measure(metrics, sides, scopes, Settings(k=K), stage)
        return [float(row.get("value", math.nan)) for row in rows]

    return call


def inception(images: int, device: str) -> Call:
    """Inception features and logits of 32 x 32 images, written into an empty cache: ours, with untrained weights."""
    pixels = _pixels(images)
    extractor = Inception(untrained_inception().state_dict(), "untrained", device)
    extractor(pixels[:2])

    def call() -> list[float]:
        with tempfile.TemporaryDirectory() as folder, SILENT.stage("features", images, "images") as stage:
            found = cached_features(pixels, extractor, Path(folder), SILENT, stage)
            return found.features[:COMPARED].ravel().tolist()

    return call


def inception_fidelity(images: int, device: str) -> Call:
    """The same features and logits by torch-fidelity's loop over a data set."""
    pixels = _pixels(images)
    net = untrained_inception().to(torch.device(device))
    with torch.inference_mode():
        net(torch.from_numpy(pixels[:2]).to(device))

    def call() -> list[float]:
        found = get_featuresdict_from_dataset(_Pixels(pixels), net, FIDELITY_BATCH, device != "cpu", False, False)
        return found["2048"][:COMPARED].flatten().tolist()

    return call


def _pixels(images: int) -> UInt8[np.ndarray, "N 3 32 32"]:
    return np.random.default_rng(0).integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)


class _Pixels(Dataset):
    """Images one by one, as torch-fidelity wants them."""

    def __init__(self, images: UInt8[np.ndarray, "N C H W"]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.images[index])


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


JOBS: dict[str, Callable[..., Call]] = {job.__name__: job for job in (
    neighbours, neighbours_prdc, neighbours_fidelity, frechet, frechet_fidelity, classes, inception, inception_fidelity,
    train_ours, train_plain, draw_ours, draw_plain)}
