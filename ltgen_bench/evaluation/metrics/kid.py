"""KID: the unbiased squared MMD with a cubic kernel (Binkowski et al. 2018, arXiv:1801.01401)."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from jaxtyping import Float
from pydantic import Field

from ltgen_bench.evaluation.metrics import mmd
from ltgen_bench.evaluation.metrics.enough import ERROR
from ltgen_bench.evaluation.metrics.metric import DrawSettings, FeatureSet, Metric, Result, ScopeKind
from ltgen_bench.evaluation.metrics.mmd import BLOCK


class KidSettings(DrawSettings):
    """KID of all images is the mean over `subsets` random subsets of `subset_size` images; the kernel has the power `degree`."""

    subsets: int = Field(default=100, gt=0, title="KID subsets", serialization_alias="kid_subsets")
    subset_size: int = Field(default=1000, gt=1, title="images of a KID subset", serialization_alias="kid_subset_size")
    degree: int = Field(default=3, gt=0, title="degree of the KID kernel", serialization_alias="kid_degree")

    def fitted(self, n_generated: int, n_real: int) -> "KidSettings":
        """Return the settings with the subset size that so many images allow (`subset_size`)."""
        return self.model_copy(update={"subset_size": subset_size(n_generated, n_real, self.subset_size)})


def subset_size(n_generated: int, n_real: int, largest: int = 1000) -> int:
    """Images of one subset: `largest`, or half of the smaller side where that is less (at least 2).

    A subset that is the whole set would always be the same one, and its deviation 0.
    """
    return max(2, min(largest, min(n_generated, n_real) // 2))


def kid_over_subsets(generated: Float[np.ndarray, "M D"], real: Float[np.ndarray, "N D"], *, subsets: int, size: int,
                     seed: int, degree: int = 3) -> tuple[float, float]:
    """KID as it is usually reported: mean and standard deviation over random subsets. The draws are torch-fidelity's, in float64.

    The subsets overlap, so that deviation / sqrt(subsets) would understate the error of the mean.
    """
    rng = np.random.RandomState(seed)  # torch-fidelity's generator
    first, second = generated.astype(np.float64), real.astype(np.float64)
    values = np.empty(subsets)
    for index in range(subsets):
        of_first = first[rng.choice(len(first), size, replace=False)]
        of_second = second[rng.choice(len(second), size, replace=False)]
        values[index] = unbiased_mmd2(of_first, of_second, degree=degree)[0]
    return float(values.mean()), float(values.std())


def unbiased_mmd2(first: Float[np.ndarray, "M D"], second: Float[np.ndarray, "N D"], *, degree: int = 3,
                  block: int = BLOCK) -> tuple[float, float]:
    """(unbiased MMD^2, its jackknife standard error) over all pairs, with the kernel (x.y / D + 1)^degree.

    The expectation is 0 for equal distributions, and a value may be negative. Needs two images on each side; the error is
    NaN with fewer than 3. Memory: one block.
    """
    return mmd.unbiased_mmd2(first, second, partial(_kernel, width=first.shape[1], degree=degree), block=block)


def _kernel(products: np.ndarray, width: int, degree: int) -> np.ndarray:
    """(products / width + 1)^degree by repeated products: numpy's own power is some ten times slower for 3."""
    base = result = products / width + 1
    for _ in range(degree - 1):
        result = result * base
    return result


def _compute(generated: FeatureSet, real: FeatureSet, settings: KidSettings, kind: ScopeKind) -> Mapping[str, Result]:
    counts = {"n_real": len(real), "n_generated": len(generated)}
    if kind == "all" and min(len(generated), len(real)) >= 4:  # fewer give no subsets that differ
        size = subset_size(len(generated), len(real), settings.subset_size)
        value, spread = kid_over_subsets(generated.features, real.features, subsets=settings.subsets, size=size,
                                         seed=settings.seed, degree=settings.degree)
    else:
        value, spread = unbiased_mmd2(generated.features, real.features, degree=settings.degree)
    return {"kid": Result(value, spread, **counts)}


KID = Metric(
    name="kid", title="KID", direction="lower", bounds=(float("-inf"), float("inf")), scale=1000.0, decimals=5,
    uncertainty_is_error=False,  # over subsets, which are smaller
    min_images=2,
    summary="unbiased MMD^2 with a cubic kernel, as it is and not times 1000; over subsets for all images, over all pairs for "
            "groups and classes",
    source="Binkowski et al. 2018, arXiv:1801.01401", needs=("features", "reference"),
    scopes=("all", "group", "class"), settings=KidSettings,
    depends_on_n=False, enough=ERROR, compute=_compute)
