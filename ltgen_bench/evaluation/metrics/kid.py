"""KID: the unbiased squared MMD with a cubic kernel (Binkowski et al. 2018, arXiv:1801.01401)."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from ltgen_bench.evaluation.metrics.base import Metric, Result, ScopeKind, Settings, Side

BLOCK = 1024  # rows of a kernel matrix held at a time


class SubsetKid(NamedTuple):
    """Mean over the subsets, their standard deviation, and deviation / sqrt(subsets).

    The subsets overlap, so the last understates the error of the mean; the deviation is what papers print.
    """

    value: float
    deviation: float
    error: float


def subset_size(n_generated: int, n_real: int, largest: int = 1000) -> int:
    """Images of one subset: `largest`, or half of the smaller side where that is less (at least 2).

    A subset that is the whole set would always be the same one, and its deviation 0.
    """
    return max(2, min(largest, min(n_generated, n_real) // 2))


def kid_over_subsets(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"], *, subsets: int, size: int,
                     seed: int, degree: int = 3) -> SubsetKid:
    """KID as it is usually reported: the mean over random subsets. The draws are torch-fidelity's, in float64."""
    rng = np.random.RandomState(seed)  # torch-fidelity's generator
    first, second = generated.astype(np.float64), real.astype(np.float64)
    values = np.empty(subsets)
    for index in range(subsets):
        of_first = first[rng.choice(len(first), size, replace=False)]
        of_second = second[rng.choice(len(second), size, replace=False)]
        values[index] = unbiased_mmd2(of_first, of_second, degree=degree)[0]
    deviation = float(values.std())
    return SubsetKid(float(values.mean()), deviation, deviation / math.sqrt(subsets))


def unbiased_mmd2(first: Float[np.ndarray, "M D"], second: Float[np.ndarray, "N D"], *, degree: int = 3,
                  block: int = BLOCK) -> tuple[float, float]:
    """(unbiased MMD^2, its jackknife standard error) over all pairs, with the kernel (x.y / D + 1)^degree.

    The diagonal of the two inner kernels is left out, the cross kernel is used whole, so the expectation is 0 for equal
    distributions and a value may be negative. The error is NaN with fewer than 3 images on a side. Memory: one block.
    """
    m, n = len(first), len(second)
    assert min(m, n) >= 2, "an unbiased estimate needs two images on each side"
    first, second = first.astype(np.float64, copy=False), second.astype(np.float64, copy=False)
    within_first, _ = _kernel_sums(first, first, degree, block)
    within_second, _ = _kernel_sums(second, second, degree, block)
    across_first, across_second = _kernel_sums(first, second, degree, block)
    within_first -= _kernel_diagonal(first, degree)
    within_second -= _kernel_diagonal(second, degree)
    sums = within_first.sum(), within_second.sum(), across_first.sum()
    value = _mmd2(*sums, m, n)
    if min(m, n) < 3:
        return value, math.nan
    # Leaving image i out takes its row and its column from the inner sum and its row from the cross sum.
    without_first = _mmd2(sums[0] - 2 * within_first, sums[1], sums[2] - across_first, m - 1, n)
    without_second = _mmd2(sums[0], sums[1] - 2 * within_second, sums[2] - across_second, m, n - 1)
    variance = (m - 1) * without_first.var() + (n - 1) * without_second.var()
    return value, math.sqrt(variance)


def _mmd2(first_sum: Any, second_sum: Any, cross_sum: Any, m: int, n: int) -> Any:
    """From sums over pairs to the estimate; the sums are numbers, or one number for each image left out."""
    return first_sum / (m * (m - 1)) + second_sum / (n * (n - 1)) - 2 * cross_sum / (m * n)


def _kernel_sums(first: Float64[np.ndarray, "M D"], second: Float64[np.ndarray, "N D"], degree: int,
                 block: int) -> tuple[Float64[np.ndarray, " M"], Float64[np.ndarray, " N"]]:
    """Sums of the kernel matrix over its columns, one an image of `first`, and over its rows."""
    rows, columns = np.empty(len(first)), np.zeros(len(second))
    for start in range(0, len(first), block):
        kernel = _power(first[start:start + block] @ second.T / first.shape[1] + 1, degree)
        rows[start:start + block] = kernel.sum(axis=1)
        columns += kernel.sum(axis=0)
    return rows, columns


def _kernel_diagonal(features: Float64[np.ndarray, "N D"], degree: int) -> Float64[np.ndarray, " N"]:
    return _power(np.square(features).sum(axis=1) / features.shape[1] + 1, degree)


def _power(base: np.ndarray, degree: int) -> np.ndarray:
    """base ** degree by repeated products: numpy's own power is some ten times slower for 3."""
    result = base
    for _ in range(degree - 1):
        result = result * base
    return result


def _compute(generated: Side, real: Side, settings: Settings, kind: ScopeKind) -> Mapping[str, Result]:
    counts = {"n_real": len(real), "n_generated": len(generated)}
    if kind == "all" and min(len(generated), len(real)) >= 4:  # fewer give no subsets that differ
        size = subset_size(len(generated), len(real), settings.kid_subset_size)
        kid = kid_over_subsets(generated.features, real.features, subsets=settings.kid_subsets, size=size,
                               seed=settings.seed, degree=settings.kid_degree)
        return {"kid": Result(kid.value, kid.deviation, **counts)}
    value, error = unbiased_mmd2(generated.features, real.features, degree=settings.kid_degree)
    return {"kid": Result(value, error, **counts)}


KID = Metric(
    name="kid", title="KID x1e3", direction="lower", bounds=(float("-inf"), float("inf")), scale=1000.0, min_images=2,
    summary="unbiased MMD^2 with a cubic kernel; over subsets for all images, over all pairs for groups and classes",
    source="Binkowski et al. 2018, arXiv:1801.01401", needs=("features", "reference"),
    scopes=("all", "group", "class"), settings=("kid_subsets", "kid_subset_size", "kid_degree", "seed"),
    compute=_compute)
