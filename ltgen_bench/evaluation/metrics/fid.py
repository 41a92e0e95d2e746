"""FID: the Frechet distance between Gaussians fitted to two sets of features (Heusel et al. 2017, arXiv:1706.08500)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ltgen_bench.evaluation.metrics.base import Metric, Result, ScopeKind, Settings, Side

BIASED_BELOW = 2048  # images; below it, Inception's covariance is singular and the bias rules (pytorch-fid README)


def frechet_distance(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"]) -> float:
    """|mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^1/2), in float64, at least 0. Needs two images on each side.

    The cross term is real by construction: it comes from symmetric matrices or from singular values, so there is
    neither a complex number nor an epsilon on the diagonal.
    """
    assert min(len(generated), len(real)) >= 2, "a covariance needs two images"
    first, second = generated.astype(np.float64), real.astype(np.float64)
    mean_first, mean_second = first.mean(axis=0), second.mean(axis=0)
    # Centred and scaled, A^T A is the covariance (with n - 1), and |A|^2 its trace.
    first = (first - mean_first) / np.sqrt(len(first) - 1)
    second = (second - mean_second) / np.sqrt(len(second) - 1)
    few = min(len(first), len(second)) < first.shape[1]
    cross = _trace_root_by_singular_values if few else _trace_root_by_eigenvalues
    shift = mean_first - mean_second
    distance = shift @ shift + np.square(first).sum() + np.square(second).sum() - 2 * cross(first, second)
    return max(float(distance), 0.0)  # a distance; rounding may fall a hair below


def _trace_root_by_eigenvalues(first: Float[np.ndarray, "M D"], second: Float[np.ndarray, "N D"]) -> float:
    """Tr (S_1 S_2)^1/2 = Tr (R S_2 R)^1/2 with R = S_1^1/2, which is symmetric."""
    values, vectors = np.linalg.eigh(first.T @ first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    product = root @ (second.T @ second) @ root
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    return float(np.sqrt(np.clip(eigenvalues, 0, None)).sum())


def _trace_root_by_singular_values(first: Float[np.ndarray, "M D"], second: Float[np.ndarray, "N D"]) -> float:
    """Tr (S_1 S_2)^1/2 = |A B^T|_*, the nuclear norm of the centred cross product: for fewer images than dimensions."""
    return float(np.linalg.svd(_fewer_rows(first) @ _fewer_rows(second).T, compute_uv=False).sum())


def _fewer_rows(matrix: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "n D"]:
    """R of A = Q R where A has more rows than columns: it has the same covariance."""
    return matrix if len(matrix) <= matrix.shape[1] else np.asarray(np.linalg.qr(matrix, mode="r"))


def _compute(generated: Side, real: Side, settings: Settings, kind: ScopeKind) -> Mapping[str, Result]:
    value = frechet_distance(generated.features, real.features)
    return {"fid": Result(value, n_real=len(real), n_generated=len(generated))}


FID = Metric(
    name="fid", title="FID", direction="lower", bounds=(0.0, float("inf")), min_images=2,
    summary="Frechet distance between Gaussians fitted to real and generated features; biased upwards at small n",
    source="Heusel et al. 2017, arXiv:1706.08500", needs=("features", "reference"), scopes=("all", "group"),
    biased_below=BIASED_BELOW, compute=_compute)
