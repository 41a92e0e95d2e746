"""Laws over class counts, `resample` and `reweight` against slow versions and against figures worked out elsewhere.

The slow versions are plain Python sums over images and samples.
"""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from small import SHAPE, ByLabel, batch_of, draws

from ltgen_bench.config.schema import MethodConfig
from ltgen_bench.data.longtail import class_counts
from ltgen_bench.methods import method_settings
from ltgen_bench.methods.cfg import CFG
from ltgen_bench.methods.frequency import brs, effective_number, mean_one, power
from ltgen_bench.methods.label_drop import LabelDropSettings
from ltgen_bench.methods.resample import Resample, ResampleSettings
from ltgen_bench.methods.reweight import Reweight, ReweightSettings
from ltgen_bench.training.batches import DataOrder

CIFAR10_LT = class_counts(5000, 10, 100.0)  # 5000 ... 50
CIFAR10_LT_1000 = class_counts(5000, 10, 1000.0)
CIFAR100_LT = class_counts(500, 100, 100.0)
EXTREMES = [[5, 3], [9, 1, 1], CIFAR10_LT, CIFAR100_LT, list(range(1, 101))]


class TestLaws:
    @pytest.mark.parametrize("counts", EXTREMES, ids=lambda counts: f"{len(counts)}-classes")
    @pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.5, 1.0, 2.0])
    def test_power_is_what_it_says(self, counts, exponent):
        assert power(counts, exponent).tolist() == pytest.approx([n ** exponent for n in counts], rel=1e-12)

    @pytest.mark.parametrize("counts", EXTREMES, ids=lambda counts: f"{len(counts)}-classes")
    @pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.9999, 1.0])
    def test_the_effective_number_is_the_sum_of_powers_of_beta(self, counts, beta):
        """E_n = 1 + beta + ... + beta^(n - 1), term by term."""
        expected = [math.fsum(beta ** k for k in range(n)) for n in counts]
        assert effective_number(counts, beta).tolist() == pytest.approx(expected, rel=1e-10)

    def test_the_effective_number_lies_between_1_and_n_and_tends_to_n(self):
        counts = [1, 2, 50, 5000]
        assert effective_number(counts, 0.0).tolist() == [1, 1, 1, 1]
        assert effective_number(counts, 1 - 1e-12).tolist() == pytest.approx(counts, rel=1e-6)
        assert effective_number(counts, 1.0).tolist() == counts

    def test_brs_goes_by_rank_from_most_to_fewest_images_wherever_the_classes_stand(self):
        assert brs([5, 80, 20, 40], 0.1).tolist() == pytest.approx([0.1, 1, 0.1 ** (2 / 3), 0.1 ** (1 / 3)])
        assert brs([7, 7, 7], 0.25).tolist() == pytest.approx([1, 0.5, 0.25])
        assert brs([3, 9], 0.1).tolist() == pytest.approx([0.1, 1])

    @pytest.mark.parametrize(("ratio", "factor", "exponent"), [(0.01, 0.1, 1 / 2), (0.001, 0.1, 1 / 3), (0.01, 0.01, 1.0),
                                                               (0.01, 1.0, 0.0)])
    def test_on_an_exponential_profile_brs_is_a_power_of_the_counts(self, ratio, factor, exponent):
        """The exponent is ln f / ln IF; the counts here are large, so that rounding them does not show."""
        for classes in (2, 10, 100):
            counts = [round(1e12 * ratio ** (c / (classes - 1))) for c in range(classes)]
            found, expected = brs(counts, factor), power(counts, exponent)
            assert (found / found.sum()).tolist() == pytest.approx((expected / expected.sum()).tolist(), rel=1e-6)
            if factor < 1:
                assert exponent == pytest.approx(math.log(factor) / math.log(ratio))

    @pytest.mark.parametrize("counts", EXTREMES, ids=lambda counts: f"{len(counts)}-classes")
    def test_mean_one_makes_the_mean_over_images_one_and_keeps_ratios(self, counts):
        weights = 1 / effective_number(counts, 0.999)
        scaled = mean_one(weights, counts)
        images = [scaled[c].item() for c, n in enumerate(counts) for _ in range(n)]
        assert math.fsum(images) / len(images) == pytest.approx(1, rel=1e-12)
        assert (scaled / weights).std() < 1e-9 * (scaled / weights).mean()


@pytest.mark.parametrize(("counts", "classical_mean", "head", "tail", "ratio"), [
    (CIFAR10_LT, 0.171, 0.296, 23.4, 79), (CIFAR10_LT_1000, 0.030, 0.226, 178, 787), (CIFAR100_LT, 0.203, 0.221, 21.6, 98)],
    ids=["cifar10-100", "cifar10-1000", "cifar100-100"])
def test_weights_of_the_effective_number_are_those_of_the_table(counts, classical_mean, head, tail, ratio, make_problem):
    """beta = 0.9999: the mean over images under sum_c w_c = K; and with mean 1 what a head and a tail image weigh."""
    w = make_weights(make_problem, counts)
    images = torch.tensor(counts).double()
    classical = w * len(counts) / w.sum()
    assert (images * classical).sum().item() / sum(counts) == pytest.approx(classical_mean, abs=6e-4)
    assert w[0].item() == pytest.approx(head, abs=6e-4)
    assert w[-1].item() == pytest.approx(tail, rel=3e-3)
    assert (w[-1] / w[0]).item() == pytest.approx(ratio, abs=0.6)


def make_weights(make_problem, counts, **settings):
    return Reweight(ReweightSettings(**settings), make_problem(counts, SHAPE)).weights.double()


class TestResample:
    def shares(self, make_problem, counts, **settings):
        named = method_settings(MethodConfig(name="resample", **settings))
        weights = Resample(named, make_problem(counts, SHAPE)).class_weights()
        return (weights / weights.sum()).tolist()

    def test_the_default_draws_all_classes_equally(self, make_problem):
        assert self.shares(make_problem, CIFAR10_LT) == pytest.approx([0.1] * 10)

    @pytest.mark.parametrize("counts", EXTREMES, ids=lambda counts: f"{len(counts)}-classes")
    def test_the_variants_are_square_root_and_brs(self, counts, make_problem):
        roots = [math.sqrt(n) for n in counts]
        found = self.shares(make_problem, counts, variant="square-root")
        assert found == pytest.approx([root / sum(roots) for root in roots])
        found = self.shares(make_problem, counts, variant="brs")
        ranks = {c: rank for rank, c in enumerate(sorted(range(len(counts)), key=lambda c: (-counts[c], c)))}
        decays = [0.1 ** (ranks[c] / (len(counts) - 1)) for c in range(len(counts))]
        assert found == pytest.approx([decay / sum(decays) for decay in decays])

    @pytest.mark.parametrize(("counts", "settings", "factor"), [
        (CIFAR10_LT, {"exponent": 0.5}, 10), (CIFAR10_LT, {}, 100), (CIFAR10_LT, {"brs": 0.1}, 10),
        (CIFAR10_LT_1000, {"brs": 0.1}, 100)], ids=["square-root", "balanced", "brs-100", "brs-1000"])
    def test_a_tail_image_is_drawn_so_many_times_as_often_as_a_head_image(self, counts, settings, factor, make_problem):
        """By the order of the data itself: its probabilities, and what it draws."""
        labels = np.repeat(np.arange(10), counts).astype(np.int64)
        weights = Resample(ResampleSettings(**settings), make_problem(counts, SHAPE)).class_weights()
        order = DataOrder(labels, 0, weights)
        assert order.probabilities[-1] / order.probabilities[0] == pytest.approx(factor, rel=1e-9)
        drawn = order.at(0, 20 * len(labels))
        shares = np.array([order.probabilities[labels == c].sum() for c in range(10)])
        assert stats.chisquare(np.bincount(labels[drawn], minlength=10), shares * len(drawn)).pvalue > 1e-3
        times = np.bincount(drawn, minlength=len(labels))
        assert times[labels == 9].mean() / times[labels == 0].mean() == pytest.approx(factor, rel=0.1)
        assert stats.chisquare(times[labels == 9]).pvalue > 1e-3  # uniformly within the class

    def test_images_come_again_before_all_have_come(self, make_problem):
        """With replacement, also within a round and for a class of one image."""
        labels = np.repeat([0, 1, 2], [20, 9, 1]).astype(np.int64)
        order = DataOrder(labels, 0, Resample(ResampleSettings(), make_problem((20, 9, 1), SHAPE)).class_weights())
        counts = Counter(order.at(0, 30).tolist())
        assert counts[29] > 1
        assert len(counts) < 30

    def test_an_exponent_of_1_leaves_the_order_of_cfg(self, make_problem):
        problem = make_problem((20, 9, 4), SHAPE)
        assert Resample(ResampleSettings(exponent=1.0), problem).class_weights() is None
        assert Resample(ResampleSettings(exponent=1.0, brs=0.5), problem).class_weights() is not None

    def test_the_loss_is_that_of_cfg(self, make_problem, make_network):
        problem, net = make_problem((20, 9, 4), SHAPE), make_network(SHAPE, 3)
        for position in range(0, 80, 8):
            losses = [method(method.Settings(label_drop=0.5), problem).loss(net, batch_of(0, 1, 2), draws(position, 3)).total
                      for method in (Resample, CFG)]
            assert torch.equal(*losses)


def slow_reweight(net, batch, settings, counts, draws):
    """The loss as a sum over samples and pixels; the draws are those of the same names."""
    size = len(batch.labels)
    t, noise = draws.integers("t", 1000), draws.normal("noise", *SHAPE)
    if settings.label_drop_unit == "batch":
        dropped = [draws.coin("label-drop", settings.label_drop)] * size
    else:
        dropped = [u < settings.label_drop for u in draws.uniform("label-drop").tolist()]
    raw = [1 / n if settings.beta == 1 else (1 - settings.beta) / (1 - settings.beta ** n) for n in counts]
    scale = sum(counts) / math.fsum(n * w for n, w in zip(counts, raw, strict=True))
    bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    total = 0.0
    for i in range(size):
        bar, y = bars[int(t[i])], int(batch.labels[i])
        x_t = (np.sqrt(bar) * batch.x_0[i] + np.sqrt(1 - bar) * noise[i])[None].float()
        eps = net(x_t, t[i:i + 1], torch.tensor([len(counts) if dropped[i] else y]))[0]
        weight = scale * raw[y] if settings.weight_dropped or not dropped[i] else 1.0
        total += weight * sum((a - b) ** 2 for a, b in zip(eps.double().flatten().tolist(), noise[i].double().flatten().tolist(),
                                                           strict=True)) / eps.numel() / size
    return total


@pytest.mark.parametrize("unit", ["batch", "sample"])
@pytest.mark.parametrize("weight_dropped", [True, False], ids=["all", "labelled"])
@pytest.mark.parametrize("beta", [0.9999, 0.9, 1.0])
def test_the_reweighted_loss_is_that_of_the_slow_version(beta, weight_dropped, unit, make_problem, make_network):
    settings = ReweightSettings(beta=beta, weight_dropped=weight_dropped, label_drop=0.4, label_drop_unit=unit)
    hundred = tuple(range(100, 0, -1))
    for counts, labels in (((20, 9, 4), (0, 1, 2, 0, 2)), ((9, 1, 1), (1,)), ((5, 3), (0, 1)), (hundred, (99, 3))):
        net, batch = make_network(SHAPE, len(counts)), batch_of(*labels)
        for position in (0, 8, 16, 32):
            with torch.no_grad():
                found = Reweight(settings, make_problem(counts, SHAPE)).loss(net, batch, draws(position, len(labels))).total
                expected = slow_reweight(net, batch, settings, counts, draws(position, len(labels)))
            assert found.item() == pytest.approx(expected, rel=1e-5)


def test_beta_0_is_cfg(make_problem, make_network):
    problem, net = make_problem((20, 9, 4), SHAPE), make_network(SHAPE, 3)
    for unit in ("batch", "sample"):
        drop = {"label_drop": 0.5, "label_drop_unit": unit}
        for position in range(0, 80, 8):
            losses = (Reweight(ReweightSettings(beta=0.0, **drop), problem).loss(net, batch_of(0, 1, 2), draws(position, 3)),
                      CFG(LabelDropSettings(**drop), problem).loss(net, batch_of(0, 1, 2), draws(position, 3)))
            assert losses[0].total.item() == pytest.approx(losses[1].total.item(), rel=1e-6)


@pytest.mark.parametrize(("beta", "weights"), [(1.0, [33 / 60, 33 / 27, 33 / 12]), (0.0, [1.0, 1.0, 1.0])])
def test_inverse_frequency_gives_every_class_the_same_total(beta, weights, make_problem):
    """n_c w_c = N / K for beta = 1."""
    assert make_weights(make_problem, (20, 9, 4), beta=beta).tolist() == pytest.approx(weights, rel=1e-6)


@pytest.mark.parametrize("label_drop", [0.0, 1.0], ids=["labelled", "dropped"])
def test_inverse_frequency_has_the_gradient_of_class_balanced_batches(label_drop, make_problem):
    """Over one pass of the training set: the weighted mean is the mean over classes of their means, with and without label."""
    labels = [0] * 20 + [1] * 9 + [2] * 4
    batch, net = batch_of(*labels), ByLabel()
    method = Reweight(ReweightSettings(beta=1.0, label_drop=label_drop), make_problem((20, 9, 4), SHAPE))
    method.loss(net, batch, draws(0, 33)).total.backward()
    noise = draws(0, 33).normal("noise", *SHAPE)
    expected = torch.zeros(4)
    for c in range(3):
        told = 3 if label_drop else c
        expected[told] += 2 * (net.number[told].detach() - noise[batch.labels == c]).mean() / 3
    assert torch.allclose(net.number.grad, expected, atol=1e-6)


def test_without_weights_no_label_is_learnt_from_the_training_mixture(make_problem):
    batch, problem = batch_of(0, 0, 0, 0, 0, 2), make_problem((20, 9, 4), SHAPE)
    gradients = []
    for method in (Reweight(ReweightSettings(weight_dropped=False, label_drop=1.0), problem),
                   Reweight(ReweightSettings(label_drop=1.0), problem), CFG(LabelDropSettings(label_drop=1.0), problem)):
        net = ByLabel()
        method.loss(net, batch, draws(0, 6)).total.backward()
        gradients.append(net.number.grad)
    assert torch.allclose(gradients[0], gradients[2])
    assert not torch.allclose(gradients[1], gradients[2])
