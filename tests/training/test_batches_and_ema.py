"""Which images a step sees, and the moving average, each against a slow loop."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from ltgen_bench.data.images import ImageSet
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.training.batches import DataOrder, TrainingImages
from ltgen_bench.training.ema import EMA

CPU = torch.device("cpu")
LABELS = np.repeat([0, 1, 2], [20, 9, 4]).astype(np.int64)


class TestOrder:
    def test_every_image_comes_once_a_round(self):
        order = DataOrder(LABELS, 0)
        for number in range(5):
            assert sorted(order.at(33 * number, 33).tolist()) == list(range(33))

    def test_rounds_and_seeds_differ(self):
        order = DataOrder(LABELS, 0)
        assert order.at(0, 33).tolist() != order.at(33, 33).tolist()
        assert order.at(0, 33).tolist() != DataOrder(LABELS, 1).at(0, 33).tolist()

    @given(position=st.integers(0, 500), count=st.integers(1, 100), weighted=st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_entering_anywhere_equals_reading_on(self, position, count, weighted):
        weights = torch.tensor([1.0, 1.0, 1.0]) if weighted else None
        whole = DataOrder(LABELS, 3, weights).at(0, 600)
        assert np.array_equal(DataOrder(LABELS, 3, weights).at(position, count), whole[position:position + count])

    def test_a_batch_larger_than_the_data_goes_round_several_times(self):
        counts = Counter(DataOrder(LABELS, 0).at(0, 33 * 3 + 1).tolist())
        assert sorted(counts.values()) == [3] * 32 + [4]

    @pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [20.0, 9.0, 4.0], [0.0, 1.0, 3.0]])
    def test_with_class_weights_classes_have_these_frequencies(self, weights):
        drawn = DataOrder(LABELS, 0, torch.tensor(weights)).at(0, 20_000)
        counts = np.bincount(LABELS[drawn], minlength=3)
        expected = np.array(weights) / sum(weights) * 20_000
        assert (counts[expected == 0] == 0).all()
        assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-3

    def test_with_class_weights_the_images_of_a_class_are_equally_frequent(self):
        drawn = DataOrder(LABELS, 0, torch.ones(3)).at(0, 20_000)
        counts = np.bincount(drawn, minlength=33)[20:29]
        assert stats.chisquare(counts).pvalue > 1e-3


class TestBatches:
    @pytest.fixture
    def images(self):
        rng = np.random.default_rng(0)
        return ImageSet(rng.integers(0, 256, (33, 2, 3, 4), dtype=np.uint8), LABELS)

    def test_a_batch_is_the_next_images_of_the_order_with_their_labels(self, images):
        order = DataOrder(LABELS, 0)
        batch = TrainingImages(images, order, flip=False, device=CPU).batch(Draws(0, 30, 8, CPU))
        numbers = order.at(30, 8)
        assert torch.equal(batch.x_0, torch.from_numpy(images.images[numbers]) / 127.5 - 1)
        assert batch.labels.tolist() == LABELS[numbers].tolist()
        assert batch.x_0.min() >= -1
        assert batch.x_0.max() <= 1

    def test_slices_together_are_the_global_batch(self, images):
        training = TrainingImages(images, DataOrder(LABELS, 0), flip=True, device=CPU)
        whole = training.batch(Draws(0, 30, 8, CPU))
        parts = [training.batch(Draws(0, 30, 8, CPU, a, b)) for a, b in ((0, 3), (3, 8))]
        assert torch.equal(torch.cat([part.x_0 for part in parts]), whole.x_0)
        assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)

    def test_about_half_the_images_are_mirrored_left_to_right(self, images):
        order = DataOrder(LABELS, 0)
        plain, mirrored = (TrainingImages(images, order, flip=flip, device=CPU).batch(Draws(0, 0, 2000, CPU)).x_0
                           for flip in (False, True))
        same = (plain == mirrored).flatten(1).all(1)
        other = (plain.flip(3) == mirrored).flatten(1).all(1)
        assert (same ^ other).all()
        assert stats.binomtest(int(other.sum()), 2000, 0.5).pvalue > 1e-3

    def test_without_flip_nothing_is_mirrored_and_the_stored_images_stay(self, images):
        before = images.images.copy()
        training = TrainingImages(images, DataOrder(LABELS, 0), flip=True, device=CPU)
        training.batch(Draws(0, 0, 33, CPU)).x_0.zero_()
        assert np.array_equal(images.images, before)


def networks():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    return net, copy.deepcopy(net)


class TestEMA:
    def test_it_equals_a_slow_loop_over_every_weight(self):
        net, start = networks()
        ema = EMA(net, halflife_images=50, rampup=0.05)
        slow = [p.detach().double().clone() for p in start.parameters()]
        source, seen = torch.Generator().manual_seed(0), 0
        for images in (8, 8, 16, 8, 3) * 40:
            seen += images
            with torch.no_grad():
                for p in net.parameters():
                    p.add_(torch.randn(p.shape, generator=source))
            ema.update(net, seen, images)
            d = 0.5 ** (images / min(50, 0.05 * seen))
            slow = [d * old + (1 - d) * p.detach().double() for old, p in zip(slow, net.parameters(), strict=True)]
        assert seen > 50 / 0.05  # the ramp is over
        for p, expected in zip(ema.net.parameters(), slow, strict=True):
            assert torch.allclose(p.double(), expected, atol=1e-4)

    @pytest.mark.parametrize(("halflife", "batch", "decay"), [(443_600, 64, 0.9999), (0, 64, 0.0), (64, 64, 0.5)])
    def test_the_decay_follows_from_the_half_life(self, halflife, batch, decay):
        assert EMA(nn.Linear(1, 1), halflife, 0.0).decay(10**9, batch) == pytest.approx(decay, abs=1e-6)

    def test_batch_sizes_change_nothing_over_the_same_images(self):
        """Weights that stay put: what is left of the start depends on the images seen alone."""
        left = []
        for sizes in ([64] * 4, [16] * 16, [100, 100, 56]):
            net = nn.Linear(1, 1, bias=False)
            ema, seen = EMA(net, 100, 0.0), 0
            with torch.no_grad():
                ema.net.weight.fill_(1.0)
                net.weight.fill_(0.0)
            for size in sizes:
                seen += size
                ema.update(net, seen, size)
            left.append(ema.net.weight.item())
        assert left == pytest.approx([0.5 ** 2.56] * 3, rel=1e-5)

    def test_while_it_ramps_up_the_start_is_soon_forgotten(self):
        ema = EMA(nn.Linear(1, 1), 443_600, 0.05)
        assert ema.decay(64, 64) < 1e-5
        assert ema.decay(64 * 100, 64) == pytest.approx(0.5 ** (1 / 5))
        assert ema.decay(443_600 * 20, 64) == pytest.approx(0.9999, abs=1e-6)

    def test_its_network_is_apart_evaluates_and_has_no_gradient(self):
        net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
        ema = EMA(net, 10, 0.0)
        assert not ema.net.training
        assert net.training
        assert not any(p.requires_grad for p in ema.net.parameters())
        ema.update(net, 5, 5)
        assert all(p.requires_grad for p in net.parameters())
        assert ema.net[0].weight.data_ptr() != net[0].weight.data_ptr()
