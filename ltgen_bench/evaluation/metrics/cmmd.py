"""CMMD: the squared MMD with a Gaussian kernel between the directions of features (Jayasumana et al. 2024, arXiv:2401.09603).

Published is 1000 times the MMD^2 with sigma = 10 on embeddings of CLIP ViT-L/14 at 336 pixels, divided by their length: the
extractor `clip`, up to the rule of resizing (theirs is bicubic). On other extractors it is the same formula, and its values
compare only with each other. The paper defines the unbiased estimate, which is the one here; its public code
(google-research/cmmd, distance.py) keeps the diagonals, which adds 1000 (1 - mean kernel) / n for each side: together 0.0003
for 30,000 images a side whose cosines are 0.6 in the mean, and 0.08 for 100.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ltgen_bench.evaluation.metrics import mmd
from ltgen_bench.evaluation.metrics.directions import directions
from ltgen_bench.evaluation.metrics.enough import ERROR
from ltgen_bench.evaluation.metrics.metric import FeatureSet, Metric, Result, ScopeKind, Settings

SIGMA = 10.0  # width of the kernel
SCALE = 1000.0  # what the paper multiplies by
BLOCK = 256  # rows of a kernel matrix held at a time: 100 MB at 50,000 images


def cmmd(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"], *,
         block: int = BLOCK) -> tuple[float, float]:
    """(1000 MMD^2, its jackknife standard error) with the kernel exp(-|x - y|^2 / (2 sigma^2)) of unit vectors, in float64.

    Unbiased: 0 is expected of equal distributions, and a value may be negative. Needs two images on each side; the error is
    NaN with fewer than 3. Memory: float64 copies of the features and `block` rows of a kernel matrix.
    """
    value, error = mmd.unbiased_mmd2(directions(generated), directions(real), _kernel, block=block)
    return SCALE * value, SCALE * error


def _kernel(products: np.ndarray) -> np.ndarray:
    """The kernel minus 1, which changes no MMD: within 0.02 of 1 as it is, it would lose two digits.

    |x - y|^2 = 2 - 2 x.y for unit vectors.
    """
    products -= 1
    products /= SIGMA ** 2
    return np.expm1(products, out=products)


def _compute(generated: FeatureSet, real: FeatureSet, settings: Settings, kind: ScopeKind) -> Mapping[str, Result]:
    value, error = cmmd(generated.features, real.features)
    return {"cmmd": Result(value, error, n_real=len(real), n_generated=len(generated))}


CMMD = Metric(
    name="cmmd", title="CMMD", direction="lower", bounds=(float("-inf"), float("inf")), min_images=2, on_request=True,
    summary="1000 times the unbiased MMD^2 with a Gaussian kernel (sigma 10) of directions; published for the extractor clip",
    source="Jayasumana et al. 2024, arXiv:2401.09603", needs=("features", "reference"), scopes=("all", "group", "class"),
    depends_on_n=False, enough=ERROR, compute=_compute)
