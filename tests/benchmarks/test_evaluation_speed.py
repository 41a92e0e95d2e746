"""k-NN metrics, FID and Inception features against prdc's way and torch-fidelity; memory and metrics of every class."""

import numpy as np
import pytest
import torch
from benchmarks.plain_references import plain_prdc
from torch.utils.data import Dataset
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torch_fidelity.utils import get_featuresdict_from_dataset

from ltgen_bench.core.progress import SILENT
from ltgen_bench.evaluation.extractors.inception import Inception
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.evaluation.metrics.balls import neighbour_scores
from ltgen_bench.evaluation.metrics.fid import frechet_distance
from ltgen_bench.experiments.speed.evaluator_rates import (
    class_metrics,
    neighbours,
    normal_features,
    untrained_inception,
)
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training.cost import in_turn

pytestmark = pytest.mark.benchmark
CPU = torch.device("cpu")
WIDTH, K = 2048, 5
FIDELITY_BATCH = 64  # torch-fidelity's default


@pytest.fixture(scope="module")
def sides():
    """10,000 images with 2,048 features on each side."""
    return normal_features(10_000, WIDTH, 0), normal_features(10_000, WIDTH, 1)


def ratio(ours, theirs, device=CPU):
    """Their seconds over ours, in the median of calls in turn."""
    rounds = in_turn([ours, theirs], device, most=5, seconds=60).rounds
    return float(np.median(rounds[:, 1] / rounds[:, 0]))


def fidelity_prc(first, second):
    return prc_features_to_metric(torch.from_numpy(first), torch.from_numpy(second), prc_neighborhood=K, verbose=False)


def test_neighbours(sides, reach):
    ours, theirs = neighbour_scores(*sides, K), fidelity_prc(*sides)
    assert list(ours)[:4] == pytest.approx(plain_prdc(*sides, K), abs=1e-3)
    assert list(ours)[:2] == pytest.approx([theirs["precision"], theirs["recall"]], abs=1e-3)
    reach("k-NN: prdc's way / ours", ratio(lambda: neighbour_scores(*sides, K), lambda: plain_prdc(*sides, K)), at_least=3.0)
    reach("k-NN: torch-fidelity (precision and recall) / ours",
          ratio(lambda: neighbour_scores(*sides, K), lambda: fidelity_prc(*sides)), at_least=1.3)


def test_memory_of_neighbours_at_full_size(reach):
    found = neighbours(50_000, WIDTH)
    reach("k-NN: MB beyond the input, 50,000 x 50,000 x 2,048", found.memory_mb, at_most=2500.0)


def test_fid(sides, reach):
    def theirs():
        first, second = (fid_features_to_statistics(torch.from_numpy(side)) for side in sides)
        return fid_statistics_to_metric(first, second, verbose=False)["frechet_inception_distance"]

    assert frechet_distance(*sides) == pytest.approx(theirs(), rel=1e-6)
    reach("FID: torch-fidelity / ours", ratio(lambda: frechet_distance(*sides), theirs), at_least=1.0)


def test_metrics_of_every_class(reach):
    found = class_metrics(100, 500, WIDTH)
    reach("class metrics: seconds of 100 classes x 500", found.seconds, at_most=60.0)


class Images(Dataset):
    """Images one by one, as torch-fidelity wants them."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return torch.from_numpy(self.images[index])


@pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:.*multi-threaded:DeprecationWarning")
def test_inception(device, tmp_path, reach):
    pixels = np.random.default_rng(0).integers(0, 256, (256, 3, 32, 32), dtype=np.uint8)
    net = untrained_inception()
    extractor = Inception(net.state_dict(), "untrained", str(device))
    net, caches = net.to(device), iter(range(1000))

    def ours():
        with SILENT.stage("features", len(pixels), "images") as stage:
            return cached_features(pixels, extractor, RunContext(device, cache=tmp_path / str(next(caches))), stage).features

    def theirs():
        return get_featuresdict_from_dataset(Images(pixels), net, FIDELITY_BATCH, device.type == "cuda", False, False)["2048"]

    np.testing.assert_allclose(ours(), theirs(), rtol=1e-4, atol=1e-4)
    reach("Inception: torch-fidelity / ours", ratio(ours, theirs, device), at_least=1.4)
