"""How much of the variance of scores comes from training seeds, and how much from sampling seeds."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Sources:
    """Variances of one score on the scale of the metric, with the degrees of freedom of each.

    `sampling` is between images of one training that were drawn under several sampling seeds. `training` is what trainings add to
    it, at least 0; None where no entry has several training seeds.
    """

    sampling: float
    sampling_df: int
    training: float | None
    training_df: int


def variance_sources(scores: pd.DataFrame) -> Sources | None:
    """Return the sources of the variance of `scores`, rows of entry, seed, sample_seed and value (on the scale of the metric).

    Entries without a training seed that has several sampling seeds do not count; None where none is left. Variances are
    estimated within each entry and pooled by degrees of freedom. The sampling variance is that within training seeds, as in a
    nested analysis of variance. The training variance is half the mean square of differences between scores that share neither
    seed, less the sampling variance. Where sampling seeds differ from training to training this is the estimate of the nested
    analysis; where all trainings have the same ones, so that they share a part of the sampling error, it is still unbiased.
    """
    squares, sampling_df, training, training_df = 0.0, 0, 0.0, 0
    for _, own in scores.dropna(subset=["value", "sample_seed"]).groupby("entry", sort=False):
        by_training = own.groupby("seed")["value"]
        within = float(((own["value"] - by_training.transform("mean")) ** 2).sum())
        trainings = own["seed"].nunique()
        freedom = len(own) - trainings
        if not freedom:
            continue
        squares, sampling_df = squares + within, sampling_df + freedom
        if trainings > 1:
            value, seed, sampled = (own[name].to_numpy() for name in ("value", "seed", "sample_seed"))
            apart = (seed[:, None] != seed) & (sampled[:, None] != sampled)
            total = float(np.square(value[:, None] - value)[apart].mean()) / 2
            training += (trainings - 1) * (total - within / freedom)
            training_df += trainings - 1
    if not sampling_df:
        return None
    return Sources(squares / sampling_df, sampling_df, max(training / training_df, 0.0) if training_df else None, training_df)
