"""FID of a class above its baseline: what is left of a FID of few images when the bias is taken off."""

from collections.abc import Mapping

import numpy as np

from ltgen_bench.evaluation.metrics.enough import COVARIANCE
from ltgen_bench.evaluation.metrics.fid import frechet_distance
from ltgen_bench.evaluation.metrics.metric import DrawSettings, FeatureSet, Metric, Result, ScopeKind

SPLITS = 3  # random halvings of the real images, averaged


def fid_excess(generated: FeatureSet, real: FeatureSet, seed: int) -> tuple[float, int]:
    """(mean of FD(generated, half) - FD(other half, half) over halvings of the real images, images on each side).

    All three sets have equally many images, drawn without replacement, so that the bias of few images is in both terms and
    cancels: 0 is expected of the real distribution, and a value may be negative. Needs four real and two generated images.
    """
    values = []
    count = min(len(real) // 2, len(generated))
    assert count >= 2, "a covariance needs two images"
    for split in range(SPLITS):
        rng = np.random.default_rng([seed, split])
        order, chosen = rng.permutation(len(real)), rng.permutation(len(generated))[:count]
        half, other = (real.features[part] for part in (order[:count], order[count:2 * count]))
        values.append(frechet_distance(generated.features[chosen], half) - frechet_distance(other, half))
    return float(np.mean(values)), count


def _compute(generated: FeatureSet, real: FeatureSet, settings: DrawSettings, kind: ScopeKind) -> Mapping[str, Result]:
    value, count = fid_excess(generated, real, settings.seed)
    return {"fid_excess": Result(value, n_real=count, n_generated=count)}


FID_EXCESS = Metric(
    name="fid_excess", title="FID above baseline", direction="lower", bounds=(float("-inf"), float("inf")), min_images=4,
    summary="FID of a class less the FID of real images at the same few images, so that the bias of few images cancels",
    source="this benchmark's; FID: Heusel et al. 2017, arXiv:1706.08500", needs=("features", "reference"), scopes=("class",),
    baselines=("test",), settings=DrawSettings, enough=COVARIANCE,
    conventions=(("counts", "halves of the real class, 3 splits"),), compute=_compute)
