"""FID: the Frechet distance between Gaussians fitted to two sets of features (Heusel et al. 2017, arXiv:1706.08500)."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float, Float64

from ltgen_bench.evaluation.metrics.blas import blas_threads
from ltgen_bench.evaluation.metrics.enough import COVARIANCE
from ltgen_bench.evaluation.metrics.metric import FeatureSet, Metric, Result, ScopeKind, Settings

BLOCK = 4096  # rows in float64 at a time
BIASED_BELOW = 2048  # images; below it, Inception's covariance is singular and the bias rules (pytorch-fid README)


def frechet_distance(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"], block: int = BLOCK) -> float:
    """|mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^1/2), in float64, at least 0. Needs two images on each side.

    The cross term is real by construction: it comes from symmetric matrices or from singular values, so there is
    neither a complex number nor an epsilon on the diagonal. Memory: `block` rows in float64 and some D x D matrices.
    """
    assert min(len(generated), len(real)) >= 2, "a covariance needs two images"
    means = [side.mean(axis=0, dtype=np.float64) for side in (generated, real)]
    sides = list(zip((generated, real), means, strict=True))
    cross = None
    if min(len(generated), len(real)) >= real.shape[1]:
        first, second = (_covariance(*side, block) for side in sides)
        spread = np.trace(first) + np.trace(second)
        cross = _trace_root_by_eigenvalues(first, second)
    if cross is None:  # a covariance without an inverse
        first, second = (_root(*side, block) for side in sides)
        spread = np.square(first).sum() + np.square(second).sum()
        cross = _trace_root_by_singular_values(first, second)
    shift = means[0] - means[1]
    return max(float(shift @ shift + spread - 2 * cross), 0.0)  # a distance; rounding may fall a hair below


def _centred(features: Float[np.ndarray, "N D"], mean: Float64[np.ndarray, " D"],
             block: int) -> Iterator[Float64[np.ndarray, "n D"]]:
    """Blocks of A with A^T A the covariance (with n - 1): centred and scaled rows."""
    for start in range(0, len(features), block):
        rows = features[start:start + block] - mean
        rows /= np.sqrt(len(features) - 1)
        yield rows


def _covariance(features: Float[np.ndarray, "N D"], mean: Float64[np.ndarray, " D"],
                block: int) -> Float64[np.ndarray, "D D"]:
    total = np.zeros((len(mean), len(mean)))
    for rows in _centred(features, mean, block):
        total += rows.T @ rows
    return total


def _root(features: Float[np.ndarray, "N D"], mean: Float64[np.ndarray, " D"],
          block: int) -> Float64[np.ndarray, "n D"]:
    """B with B^T B the covariance and no more rows than columns: A itself, or R of A = Q R, block by block."""
    if len(features) <= len(mean):
        return next(_centred(features, mean, len(features)))
    root = np.empty((0, len(mean)))
    for rows in _centred(features, mean, block):
        root = np.asarray(np.linalg.qr(np.concatenate([root, rows]), mode="r"))
    return root


def _trace_root_by_eigenvalues(first: Float64[np.ndarray, "D D"], second: Float64[np.ndarray, "D D"]) -> float | None:
    """Tr (S_1 S_2)^1/2 = Tr (L^T S_2 L)^1/2 with S_1 = L L^T, a symmetric matrix of the same eigenvalues; None for a
    singular S_1.

    Cholesky's L takes a tenth of the time of a root by eigenvectors, and small eigenvalues keep their digits.
    """
    try:
        with blas_threads(1):
            root = np.linalg.cholesky(first)
    except np.linalg.LinAlgError:
        return None
    product = root.T @ second @ root
    with blas_threads(1):
        eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    return float(np.sqrt(np.clip(eigenvalues, 0, None)).sum())


def _trace_root_by_singular_values(first: Float64[np.ndarray, "M D"], second: Float64[np.ndarray, "N D"]) -> float:
    """Tr (S_1 S_2)^1/2 = |A B^T|_*, the nuclear norm of the cross product of the roots: for fewer images than dimensions."""
    product = first @ second.T
    with blas_threads(1):
        return float(np.linalg.svd(product, compute_uv=False).sum())


def _compute(generated: FeatureSet, real: FeatureSet, settings: Settings, kind: ScopeKind) -> Mapping[str, Result]:
    value = frechet_distance(generated.features, real.features)
    return {"fid": Result(value, n_real=len(real), n_generated=len(generated))}


FID = Metric(
    name="fid", title="FID", transform="log", direction="lower", bounds=(0.0, float("inf")), min_images=2,
    summary="Frechet distance between Gaussians fitted to real and generated features; biased upwards at small n",
    source="Heusel et al. 2017, arXiv:1706.08500", needs=("features", "reference"), scopes=("all", "group"),
    enough=COVARIANCE, biased_below=BIASED_BELOW, plots=("groups", "curve"), plotted_against="recall", compute=_compute)
