"""`diffrop-style` and `igd-ml-style` against slow versions that take one sample and one label at a time, and the paths that
their gradients may take.

The slow versions are written from the formulas with plain Python numbers, where that is possible.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from small import SHAPE, batch_of, draws
from torch import nn

from ltgen_bench.diffusion.ddpm_process import DDPMProcess
from ltgen_bench.methods.base import Batch
from ltgen_bench.methods.cfg import CFG
from ltgen_bench.methods.diffrop_style import DiffROPStyle, DiffROPStyleSettings
from ltgen_bench.methods.igd_ml_style import IGDMLStyle, IGDMLStyleSettings
from ltgen_bench.methods.label_drop import LabelDropSettings

PROBLEMS = {"three": ((20, 9, 4), (0, 1, 2, 0, 1)), "two": ((5, 3), (0, 1, 1)), "a-class-of-one": ((9, 1, 1), (2, 0, 1)),
            "batch-of-one": ((20, 9, 4), (1,)), "thirty": (tuple(range(30, 0, -1)), (29, 0, 15))}


class ByLabel(nn.Module):
    """eps is one learnt number for each label; it notes the labels of every pass, and whether it was under no_grad."""

    def __init__(self, num_labels=4, spread=1.0):
        super().__init__()
        self.number = nn.Parameter(spread * torch.linspace(-1, 2, num_labels))
        self.calls = []

    def forward(self, x_t, t, labels, augment=None):
        self.calls.append((labels.clone(), torch.is_grad_enabled()))
        return self.number[labels].view(-1, 1, 1, 1).expand_as(x_t)


def sample_by_sample(net, batch, settings, draws, null):
    """(t, h, noise, whether dropped) of each sample, predictions in float64, and how to predict for another label."""
    size = len(batch.labels)
    t, noise = draws.integers("t", 1000), draws.normal("noise", *SHAPE)
    if settings.label_drop_unit == "batch":
        dropped = [draws.coin("label-drop", settings.label_drop)] * size
    else:
        dropped = [u < settings.label_drop for u in draws.uniform("label-drop").tolist()]
    bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    for i in range(size):
        bar = bars[int(t[i])]
        x_t = (np.sqrt(bar) * batch.x_0[i] + np.sqrt(1 - bar) * noise[i])[None].float()

        def predict(label, x_t=x_t, now=t[i:i + 1]):
            return net(x_t, now, torch.tensor([label]))[0].double()

        yield int(t[i]), predict(null if dropped[i] else int(batch.labels[i])), noise[i].double(), dropped[i], predict


def mean_square(a, b):
    return sum((x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)) / a.numel()


def slow_diffrop(net, batch, settings, counts, draws):
    betas, classes, size = np.linspace(1e-4, 0.02, 1000), len(counts), len(batch.labels)
    others = [(int(y) + 1 + int(step)) % classes for y, step in
              zip(batch.labels, draws.integers("other-label", classes - 1), strict=True)]
    found = {"mse": 0.0, "overlap": 0.0}
    for i, (t, h, noise, dropped, predict) in enumerate(sample_by_sample(net, batch, settings, draws, classes)):
        k = betas[t] ** 2 / (2 * betas[t] * (1 - betas[t]) * (1 - math.prod(1 - betas[:t + 1])))
        found["mse"] += mean_square(h, noise) / size
        if not dropped:
            found["overlap"] += settings.weight * max(0.0, settings.margin - k * mean_square(h, predict(others[i]))) / size
    return found


def slow_igd(net, batch, settings, counts, draws, chosen):
    """`chosen`: the other labels of each sample."""
    size, found = len(batch.labels), {"mse": 0.0, "coupling": 0.0}
    for i, (t, h, noise, dropped, predict) in enumerate(sample_by_sample(net, batch, settings, draws, len(counts))):
        found["mse"] += mean_square(h, noise) / size
        if not dropped:
            pulls = [t / 1000 * settings.beta * mean_square(h, predict(label)) for label in chosen[i]]
            found["coupling"] += sum(pulls) / len(pulls) / size
    return found


@pytest.mark.parametrize("unit", ["batch", "sample"])
@pytest.mark.parametrize(("weight", "margin"), [(10.0, 1e-4), (2.0, 1e-3), (1.0, 10.0)])
@pytest.mark.parametrize("where", PROBLEMS)
def test_the_hinge_is_that_of_the_slow_version(where, weight, margin, unit, make_problem, make_network):
    counts, labels = PROBLEMS[where]
    settings = DiffROPStyleSettings(weight=weight, margin=margin, label_drop=0.3, label_drop_unit=unit)
    net = make_network(SHAPE, len(counts))
    for position in (0, 8, 32):
        with torch.no_grad():
            loss = DiffROPStyle(settings, make_problem(counts, SHAPE)).loss(net, batch_of(*labels), draws(position, len(labels)))
            expected = slow_diffrop(net, batch_of(*labels), settings, counts, draws(position, len(labels)))
        assert loss.total.item() == pytest.approx(sum(expected.values()), rel=1e-5)
        for name, term in loss.terms.items():
            assert term.item() == pytest.approx(expected[name], rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("unit", ["batch", "sample"])
@pytest.mark.parametrize("other_labels", [1, 2, "all"])
@pytest.mark.parametrize("where", PROBLEMS)
def test_the_coupling_is_that_of_the_slow_version(where, other_labels, unit, make_problem, make_network):
    counts, labels = PROBLEMS[where]
    settings = IGDMLStyleSettings(beta=0.7, other_labels=other_labels, label_drop=0.3, label_drop_unit=unit)
    net, batch, method = make_network(SHAPE, len(counts)), batch_of(*labels), IGDMLStyle(settings, make_problem(counts, SHAPE))
    for position in (0, 8, 32):
        with torch.no_grad():
            loss = method.loss(net, batch, draws(position, len(labels)))
            chosen = method.others(batch.labels, draws(position, len(labels))).T.tolist()
            if other_labels == "all":  # in any order
                assert [sorted(row) for row in chosen] == [[c for c in range(len(counts)) if c != y] for y in labels]
            expected = slow_igd(net, batch, settings, counts, draws(position, len(labels)), chosen)
        assert loss.total.item() == pytest.approx(sum(expected.values()), rel=1e-5)
        for name, term in loss.terms.items():
            assert term.item() == pytest.approx(expected[name], rel=1e-5, abs=1e-8)


def test_k_t_has_the_values_of_the_gaussians():
    k = DDPMProcess().divergences
    literals = {1: (0.273, 5e-4), 100: (0.010, 5e-5), 500: (0.0055, 5e-5), 900: (0.0092, 5e-5), 999: (0.0102, 5e-5)}
    for t, (value, rounding) in literals.items():
        assert k[t].item() == pytest.approx(value, abs=rounding)


@pytest.mark.parametrize("t", [1, 100, 999])
def test_k_t_times_the_squared_distance_is_the_divergence_of_the_reverse_steps(t):
    """By the means of the reverse process (Ho et al. 2020, equation 11) and a KL divergence of two normals from torch."""
    schedule, first, second = DDPMProcess(), torch.tensor([0.3, -1.2]).double(), torch.tensor([0.1, 0.4]).double()
    beta, bar, x_t = schedule.betas[t], schedule.alphas_bar[t], torch.tensor([0.7, 0.2]).double()
    normals = [torch.distributions.Normal((x_t - beta / (1 - bar).sqrt() * eps) / (1 - beta).sqrt(), beta.sqrt())
               for eps in (first, second)]
    expected = torch.distributions.kl_divergence(*normals).sum().item()
    assert (schedule.divergences[t] * (first - second).square().sum()).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("unit", ["batch", "sample"])
@pytest.mark.parametrize(("method", "off"), [
    (DiffROPStyle, {"weight": 0.0}), (DiffROPStyle, {"margin": 0.0}), (IGDMLStyle, {"beta": 0.0}),
    (IGDMLStyle, {"beta": 0.0, "other_labels": "all"})], ids=["weight-0", "margin-0", "beta-0", "beta-0-all"])
def test_switched_off_they_are_cfg(method, off, unit, make_problem, make_network):
    problem, net, batch = make_problem((20, 9, 4), SHAPE), make_network(SHAPE, 3), batch_of(0, 1, 2, 0)
    drop = {"label_drop": 0.4, "label_drop_unit": unit}
    for position in range(0, 80, 8):
        gradients = []
        for one in (method(method.Settings(**off, **drop), problem), CFG(LabelDropSettings(**drop), problem)):
            loss = one.loss(net, batch, draws(position, 4))
            gradients.append((loss.total.detach(), *torch.autograd.grad(loss.total, list(net.parameters()), allow_unused=True,
                                                                        materialize_grads=True)))
        for found, expected in zip(*gradients, strict=True):
            assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


class TestHinge:
    def gradient(self, spread, make_problem, *labels, margin=10.0):
        """Of the hinge alone: what it adds to the gradient of the squared error."""
        found, nets = [], []
        for weight in (1.0, 0.0):
            net = ByLabel(spread=spread)
            settings = DiffROPStyleSettings(weight=weight, margin=margin, label_drop=0.0)
            method = DiffROPStyle(settings, make_problem((20, 9, 4), SHAPE))
            method.loss(net, batch_of(*labels), draws(0, len(labels))).total.backward()
            found.append(net.number.grad)
            nets.append(net)
        return found[0] - found[1], nets[0]

    def test_it_drives_both_predictions_apart_by_the_gradient_of_the_formula(self, make_problem):
        """d/dh_y of -k (h_y - h_y')^2 is -2 k (h_y - h_y'), and its opposite for h_y'."""
        gradient, net = self.gradient(1.0, make_problem, 0)
        labels, _ = net.calls[0]
        y, other = labels.tolist()
        number, k = torch.linspace(-1, 2, 4), DDPMProcess().divergences[draws(0, 1).integers("t", 1000)].item()
        expected = -2 * k * (number[y] - number[other]).item()
        assert y == 0
        assert gradient[y].item() == pytest.approx(expected, rel=1e-3)
        assert gradient[other].item() == pytest.approx(-expected, rel=1e-3)
        assert gradient[3] == 0

    def test_beyond_the_margin_it_leaves_them_alone(self, make_problem):
        gradient, _ = self.gradient(100.0, make_problem, 0, 1, 2, margin=1e-4)
        assert (gradient == 0).all()

    def test_a_dropped_batch_has_one_pass_and_no_hinge(self, make_problem):
        net = ByLabel()
        loss = DiffROPStyle(DiffROPStyleSettings(label_drop=1.0), make_problem()).loss(net, batch_of(0, 1, 2), draws(0, 3))
        assert set(loss.terms) == {"mse"}
        assert [labels.tolist() for labels, _ in net.calls] == [[3, 3, 3]]

    def test_the_other_label_is_uniform_over_the_other_classes(self, make_problem):
        net, labels = ByLabel(6), torch.arange(3000) % 5
        problem = replace(make_problem((50, 20, 9, 4, 1)), image_shape=(1, 1, 1))
        DiffROPStyle(DiffROPStyleSettings(label_drop=0.0), problem).loss(
            net, Batch(torch.zeros(3000, 1, 1, 1), labels), draws(0, 3000))
        other = net.calls[0][0][3000:]
        for y in range(5):
            counts = np.bincount(other[labels == y], minlength=5)
            assert counts[y] == 0
            assert stats.chisquare(np.delete(counts, y)).pvalue > 1e-3


class TestCoupling:
    def losses(self, make_problem, counts, labels, **settings):
        net = ByLabel(len(counts) + 1)
        method = IGDMLStyle(IGDMLStyleSettings(label_drop=0.0, **settings), make_problem(counts, SHAPE))
        return method.loss(net, batch_of(*labels), draws(0, len(labels))), net

    def test_the_other_labels_are_detached_and_computed_without_gradients(self, make_problem):
        """All images are of class 0, so nothing but the number of class 0 may have a gradient."""
        loss, net = self.losses(make_problem, (20, 9, 4), (0, 0, 0), beta=5.0, other_labels="all")
        loss.total.backward()
        assert net.number.grad[0] != 0
        assert (net.number.grad[1:] == 0).all()
        assert [grad for _, grad in net.calls] == [True, False, False]

    def test_its_gradient_is_that_of_the_formula(self, make_problem):
        """d/dh_0 of beta t / T mean over y' (h_0 - h_y')^2."""
        gradients = []
        for beta in (1.0, 0.0):
            loss, net = self.losses(make_problem, (20, 9, 4), (0,), beta=beta, other_labels="all")
            loss.total.backward()
            gradients.append(net.number.grad[0].item())
        number, t = torch.linspace(-1, 2, 4).tolist(), int(draws(0, 1).integers("t", 1000))
        expected = t / 1000 * (2 * (number[0] - number[1]) + 2 * (number[0] - number[2])) / 2
        assert gradients[0] - gradients[1] == pytest.approx(expected, rel=1e-4)

    def test_under_autocast_the_gradient_is_not_lost_to_the_passes_without_one(self, make_problem, make_network):
        """Autocast keeps cast weights; had the first cast been under no_grad, the loss would have no path to them."""
        net = make_network(SHAPE, 3)
        method = IGDMLStyle(IGDMLStyleSettings(label_drop=0.0, other_labels="all"), make_problem((20, 9, 4), SHAPE))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = method.loss(net, batch_of(0, 1, 2), draws(0, 3))
        loss.total.backward()
        moved = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert {name for name, p in net.named_parameters() if "conv" in name and name.endswith("weight")} <= moved

    def test_a_dropped_batch_has_one_pass_and_no_coupling(self, make_problem):
        net = ByLabel()
        loss = IGDMLStyle(IGDMLStyleSettings(label_drop=1.0), make_problem()).loss(net, batch_of(0, 1, 2), draws(0, 3))
        assert set(loss.terms) == {"mse"}
        assert [labels.tolist() for labels, _ in net.calls] == [[3, 3, 3]]

    @pytest.mark.parametrize("wanted", [1, 3, 98])
    def test_drawn_labels_are_different_and_none_is_the_samples_own(self, wanted, make_problem):
        counts = tuple(range(100, 0, -1))
        method = IGDMLStyle(IGDMLStyleSettings(other_labels=wanted), make_problem(counts, SHAPE))
        labels = torch.arange(100)
        others = method.others(labels, draws(0, 100))
        assert others.shape == (wanted, 100)
        for y, row in zip(labels.tolist(), others.T.tolist(), strict=True):
            assert len(set(row)) == wanted
            assert y not in row
            assert set(row) <= set(range(100))

    def test_more_labels_than_there_are_mean_all_of_them(self, make_problem):
        method = IGDMLStyle(IGDMLStyleSettings(other_labels=50), make_problem((5, 3)))
        assert method.others(torch.tensor([0, 1, 1]), draws(0, 3)).tolist() == [[1, 0, 0]]

    @pytest.mark.parametrize("wanted", [1, 2, 3])
    def test_drawn_labels_are_uniform_so_that_the_mean_over_draws_is_the_exact_one(self, wanted, make_problem):
        method = IGDMLStyle(IGDMLStyleSettings(other_labels=wanted), make_problem((50, 20, 9, 4, 1)))
        labels = torch.arange(3000) % 5
        others = method.others(labels, draws(0, 3000))
        for y in range(5):
            counts = np.bincount(others[:, labels == y].flatten(), minlength=5)
            assert counts[y] == 0
            assert stats.chisquare(np.delete(counts, y)).pvalue > 1e-3

    def test_classes_are_drawn_equally_often_where_that_is_asked(self, make_problem):
        assert IGDMLStyle(IGDMLStyleSettings(), make_problem()).class_weights() is None
        assert IGDMLStyle(IGDMLStyleSettings(class_balanced=True), make_problem()).class_weights().tolist() == [1, 1, 1]
