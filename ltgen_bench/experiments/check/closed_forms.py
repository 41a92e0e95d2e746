"""Metrics of sets whose scores follow from their definitions. They are asked as the evaluation asks them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from scipy.linalg import block_diag, hadamard

from ltgen_bench.evaluation.metrics import METRICS, Result, Side
from ltgen_bench.evaluation.metrics.metric import ScopeKind
from ltgen_bench.experiments.check.finding import Finding, Machine, at_most, near

TIGHT = 1e-9  # for what is computed in float64
IMAGES = 512
K = 5


def score(metric: str, generated: Side, real: Side, kind: ScopeKind = "all", **settings: Any) -> Result:
    """The registered metric of two sides, with some of its settings changed."""
    compute, own = METRICS[metric].compute, METRICS[metric].settings
    assert compute is not None, "a metric that trains nothing"
    return compute(generated, real, own(**settings), kind)[metric]


def side(features: np.ndarray, logits: np.ndarray | None = None) -> Side:
    """One side of one class, in float32 as extractors give it."""
    labels = np.zeros(len(features), np.int64)
    return Side(np.ascontiguousarray(features, np.float32), labels, None if logits is None else logits.astype(np.float32))


def frechet_of_known_moments(machine: Machine) -> Iterator[Finding]:
    """Sets with means and covariances that are known to the last bit, for more images than features and for fewer.

    The columns of a Hadamard matrix sum to zero and are orthogonal, so that its product with an integer matrix A has the
    covariance A^T A n / (n - 1), and float32 holds it exactly. In blocks of two, tr (S T)^1/2 is
    (tr S T + 2 (det S det T)^1/2)^1/2.
    """
    rng = np.random.default_rng(0)
    # In the second case every feature is there twice: the images span all of its 62 directions, and 124 features.
    for name, images, blocks, copies in (("more", IMAGES, 32, 1), ("fewer", 64, 31, 2)):
        first, second = (rng.integers(-2, 3, (blocks, 2, 2)) + 4 * np.eye(2, dtype=int) for _ in range(2))
        shift = rng.integers(-2, 3, 2 * blocks * copies)
        points = hadamard(images)[:, 1:2 * blocks + 1]
        generated, real = (np.tile(points @ block_diag(*matrices), copies) for matrices in (first, second))
        distance = sum(_block_distance(a.T @ a, b.T @ b) for a, b in zip(first, second, strict=True))
        expected = float(shift @ shift) + copies * images / (images - 1) * distance
        found = score("fid", side(generated), side(real + shift)).value
        yield at_most(f"FID of known moments, {name} images than features", abs(found - expected) / expected, TIGHT)


def _block_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The distance between covariances of 2 x 2."""
    cross = np.trace(first @ second) + 2 * np.sqrt(max(np.linalg.det(first) * np.linalg.det(second), 0.0))
    return float(np.trace(first) + np.trace(second) - 2 * np.sqrt(max(cross, 0.0)))


def kernel_of_known_points(machine: Machine) -> Iterator[Finding]:
    """All images at 0 against all at 1: the kernel (x.y / D + 1)^3 is 1, 8 and 1, so that KID is 1 + 8 - 2."""
    zeros, ones = side(np.zeros((8, 16))), side(np.ones((8, 16)))
    yield near("KID of two points", score("kid", zeros, ones, "class").value, 7.0, TIGHT)
    yield near("KID of two points, over subsets", score("kid", zeros, ones).value, 7.0, TIGHT)
    rng = np.random.default_rng(1)
    first, second = (side(rng.standard_normal((IMAGES, 32))) for _ in range(2))
    found = score("kid", first, second, "class")
    yield at_most("KID of one distribution, in its errors", abs(found.value) / found.uncertainty, 4.0)


def neighbours_of_known_sets(machine: Machine) -> Iterator[Finding]:
    """Identical sets, disjoint ones, and one image repeated among points on a line, whose balls can be counted."""
    points = np.random.default_rng(2).standard_normal((IMAGES, 1024))  # as wide as is computed in float32
    yield from _four("identical sets", side(points), side(points), (1.0, 1.0, (K + 1) / K, 1.0))
    yield from _four("disjoint sets", side(points + 1000), side(points), (0.0, 0.0, 0.0, 0.0))
    line = np.zeros((100, 8))
    line[:, 0] = np.arange(100)
    collapsed = np.zeros((100, 8))
    collapsed[:, 0] = 50.25  # by the third neighbour a ball reaches 2 points far: those of 49, 50, 51, 52
    yield from _four("a collapsed set", side(collapsed), side(line), (1.0, 0.0, 4 / 3, 0.04), k=3)


def _four(name: str, generated: Side, real: Side, expected: tuple[float, ...], k: int = K) -> Iterator[Finding]:
    for metric, wanted in zip(("precision", "recall", "density", "coverage"), expected, strict=True):
        yield near(f"{metric} of {name}", score(metric, generated, real, k=k).value, wanted, TIGHT)


def predictions_without_doubt(machine: Machine) -> Iterator[Finding]:
    """Predictions that know nothing have an inception score of 1, sure ones that are spread evenly one of L."""
    same = np.zeros((100, 10), np.float32)
    sure = 200 * np.tile(np.eye(10, dtype=np.float32), (10, 1))
    yield near("IS of uniform predictions", _is(same), 1.0, TIGHT)
    yield near("IS of one-hot predictions of 10 classes", _is(sure), 10.0, 1e-6)


def _is(logits: Float32[np.ndarray, "N L"]) -> float:
    features: Float[np.ndarray, "N 1"] = np.zeros((len(logits), 1))
    return score("is", side(features, logits), side(features), splits=1).value
