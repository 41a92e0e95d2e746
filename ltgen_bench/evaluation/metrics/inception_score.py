"""IS: how sure and how varied a classifier's predictions are (Salimans et al. 2016, arXiv:1606.03498)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from pydantic import Field
from scipy.special import log_softmax, logsumexp

from ltgen_bench.evaluation.metrics.enough import ENTROPY
from ltgen_bench.evaluation.metrics.metric import HELD_OUT, REPEATED, DrawSettings, FeatureSet, Metric, Result, ScopeKind


class InceptionScoreSettings(DrawSettings):
    """The images are cut into `splits` chunks, whose scores are averaged."""

    splits: int = Field(default=10, gt=0, title="IS splits", serialization_alias="is_splits")

    @property
    def least_images(self) -> int:
        """Smallest number of images: one per split."""
        return self.splits


def inception_score(logits: Float[np.ndarray, "N L"], splits: int, seed: int) -> tuple[float, float]:
    """exp(E KL(p(y|x) || p(y))) as mean and standard deviation over `splits` chunks of a seeded permutation.

    In 1 ... L, in float64. Same chunks, and the same value, as torch-fidelity's with `samples_shuffle`.
    Needs at least `splits` images.
    """
    count = len(logits)
    assert count >= splits, "every split needs an image"
    order = np.random.RandomState(seed).permutation(count)  # torch-fidelity's generator
    log_p = log_softmax(logits[order].astype(np.float64), axis=1)
    scores = []
    for split in range(splits):
        chunk = log_p[split * count // splits:(split + 1) * count // splits]
        log_marginal = logsumexp(chunk, axis=0) - np.log(len(chunk))  # finite where the probabilities underflow
        scores.append(np.exp((np.exp(chunk) * (chunk - log_marginal)).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def _compute(generated: FeatureSet, real: FeatureSet, settings: InceptionScoreSettings, kind: ScopeKind) -> Mapping[str, Result]:
    assert generated.logits is not None, "the caller gives no rows without logits to this metric"
    value, deviation = inception_score(generated.logits, settings.splits, settings.seed)
    return {"is": Result(value, deviation, n_generated=len(generated))}


INCEPTION_SCORE = Metric(
    name="is", title="IS", direction="higher", bounds=(1.0, float("inf")), min_images=1, transform="log",
    uncertainty_is_error=False,  # over splits, which are smaller
    summary="exp of the mean divergence of a classifier's predictions from their average; sees no real image",
    source="Salimans et al. 2016, arXiv:1606.03498", needs=("logits",), scopes=("all", "group"), baselines=("test",),
    enough=ENTROPY, settings=InceptionScoreSettings, blind_to=(HELD_OUT, REPEATED), compute=_compute)
