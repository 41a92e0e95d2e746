"""The unbiased squared MMD (Gretton et al. 2012, JMLR 13, lemma 6) for kernels that are functions of the inner product."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

BLOCK = 1024  # rows of a kernel matrix held at a time

Kernel = Callable[[np.ndarray], np.ndarray]  # of an array of inner products x.y, element by element; may write into it


def unbiased_mmd2(first: Float[np.ndarray, "M D"], second: Float[np.ndarray, "N D"], kernel: Kernel, *,
                  block: int = BLOCK) -> tuple[float, float]:
    """(unbiased MMD^2, its jackknife standard error) over all pairs, in float64.

    The diagonal of the two inner kernels is left out, the cross kernel is used whole, so the expectation is 0 for equal
    distributions and a value may be negative. A number added to the kernel changes nothing. The error is NaN with fewer
    than 3 images on a side. Memory: `block` rows of a kernel matrix.
    """
    m, n = len(first), len(second)
    assert min(m, n) >= 2, "an unbiased estimate needs two images on each side"
    first, second = first.astype(np.float64, copy=False), second.astype(np.float64, copy=False)
    within_first, _ = _kernel_sums(first, first, kernel, block)
    within_second, _ = _kernel_sums(second, second, kernel, block)
    across_first, across_second = _kernel_sums(first, second, kernel, block)
    within_first -= kernel(np.square(first).sum(axis=1))
    within_second -= kernel(np.square(second).sum(axis=1))
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


def _kernel_sums(first: Float64[np.ndarray, "M D"], second: Float64[np.ndarray, "N D"], kernel: Kernel,
                 block: int) -> tuple[Float64[np.ndarray, " M"], Float64[np.ndarray, " N"]]:
    """Sums of the kernel matrix over its columns, one an image of `first`, and over its rows."""
    rows, columns = np.empty(len(first)), np.zeros(len(second))
    for start in range(0, len(first), block):
        part = kernel(first[start:start + block] @ second.T)
        rows[start:start + block] = part.sum(axis=1)
        columns += part.sum(axis=0)
    return rows, columns
