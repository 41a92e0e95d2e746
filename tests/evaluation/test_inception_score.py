import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from ltgen_bench.evaluation.metrics.inception_score import inception_score


@pytest.mark.parametrize(("count", "classes", "splits"), [(100, 10, 10), (103, 7, 10), (10, 3, 10), (500, 1008, 5)])
def test_it_is_torch_fidelitys_value(count: int, classes: int, splits: int) -> None:
    logits = 3 * np.random.default_rng(0).standard_normal((count, classes)).astype(np.float32)
    expected = isc_features_to_metric(torch.from_numpy(logits), splits=splits, shuffle=True, rng_seed=5)
    mean, deviation = inception_score(logits, splits, seed=5)
    assert mean == pytest.approx(expected["inception_score_mean"], rel=1e-9)
    assert deviation == pytest.approx(expected["inception_score_std"], rel=1e-6, abs=1e-9)


def test_sure_predictions_of_every_class_score_their_number() -> None:
    logits = np.tile(1000.0 * np.eye(4), (50, 1))  # probabilities underflow to 0
    assert inception_score(logits, 1, seed=0)[0] == pytest.approx(4)


def test_one_class_alone_scores_one() -> None:
    assert inception_score(np.tile([[9.0, 0.0, 0.0]], (40, 1)), 10, seed=0) == pytest.approx((1.0, 0.0))
