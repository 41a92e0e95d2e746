"""CORAL against a slow version that takes one sample and one pair at a time, and the paths that its gradients may take.

The slow version is written from the formulas of the paper with plain Python numbers, where that is possible.
"""

import math

import pytest
import torch
from small import BATCH, COUNTS, SHAPE, batch_of, draws
from torch import nn

from ltgen_bench.core.progress import SILENT
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.cfg import CFG
from ltgen_bench.methods.coral import CORAL, CORALSettings, supervised_contrast
from ltgen_bench.methods.label_drop import LabelDropSettings
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training.checkpoint import load_newest
from ltgen_bench.training.loop import train


@pytest.fixture
def build(make_problem, make_network):
    """`build(net, weight=...)`: the method with these settings, its head made for 16 channels, and its network or `net`."""
    def make(net=None, **settings):
        method = CORAL(CORALSettings(**settings), make_problem(COUNTS, SHAPE))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            adapted = method.adapt_network(make_network(SHAPE, 3))
        return method, adapted if net is None else net

    return make


def slow_supcon(z, labels, temperature):
    """SupCon of the samples in the list, from their vectors of unit length."""
    def similar(i, k):
        return math.exp(sum(a * b for a, b in zip(z[i], z[k], strict=True)) / temperature)

    of_anchors = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        positives = [k for k in others if labels[k] == labels[i]]
        if positives:
            total = sum(similar(i, k) for k in others)
            of_anchors.append(-sum(math.log(similar(i, j) / total) for j in positives) / len(positives))
    return sum(of_anchors) / len(of_anchors) if of_anchors else 0.0


def slow_coral(method, net, batch, draws):
    """The terms of the loss; the draws are those of the same names."""
    settings, size = method.settings, len(batch.labels)
    x_t, t, noise = method.noised(batch, draws)
    if settings.label_drop_unit == "batch":
        dropped = [draws.coin("label-drop", settings.label_drop)] * size
    else:
        dropped = [u < settings.label_drop for u in draws.uniform("label-drop").tolist()]
    mse, weight, z, labels = 0.0, 0.0, [], []
    for i in range(size):
        label = 3 if dropped[i] else int(batch.labels[i])
        eps, middle = net(x_t[i:i + 1], t[i:i + 1], torch.tensor([label]), middle=True)
        mse += (eps[0] - noise[i]).double().square().mean().item() / size
        if not dropped[i]:
            weight += settings.weight * math.exp((1 - int(t[i]) / 1000) / settings.decay) / size
            pooled = torch.stack([channel.double().mean() for channel in middle[0]])
            vector = method.head.weight.double() @ pooled + method.head.bias.double()
            z.append([number / math.sqrt(vector.square().sum().item()) for number in vector.tolist()])
            labels.append(label)
    if not z and settings.label_drop_unit == "batch":
        return {"mse": mse}
    contrast = weight * slow_supcon(z, labels, settings.temperature)
    return {"mse": mse, "contrast": contrast * settings.temperature if settings.times_temperature else contrast}


@pytest.mark.parametrize("unit", ["batch", "sample"])
@pytest.mark.parametrize("values", [{}, CORAL.variants["released-code"], {"decay": 1.0, "temperature": 0.09, "projection": 5}],
                         ids=["defaults", "released-code", "cifar100-lt"])
def test_the_loss_is_that_of_the_slow_version(values, unit, build):
    method, net = build(label_drop=0.3, label_drop_unit=unit, **values)
    batch = batch_of(0, 1, 0, 2, 0, 1, 0, 0)
    seen = set()
    for position in (0, 8, 32):
        with torch.no_grad():
            loss = method.loss(net, batch, draws(position))
            expected = slow_coral(method, net, batch, draws(position))
        assert loss.total.item() == pytest.approx(sum(expected.values()), rel=1e-5)
        assert loss.terms.keys() == expected.keys()
        for name, term in loss.terms.items():
            assert term.item() == pytest.approx(expected[name], rel=1e-5)
        seen.add(frozenset(loss.terms))
    both = frozenset({"mse", "contrast"})
    assert seen == ({both, frozenset({"mse"})} if unit == "batch" else {both})


class TestSupervisedContrast:
    def z_of(self, *degrees):
        angles = torch.tensor(degrees).deg2rad()
        return torch.stack([angles.cos(), angles.sin()], dim=1)

    def everyone(self, z):
        return torch.ones(len(z), dtype=torch.bool)

    def test_two_pairs_at_right_angles(self):
        z = self.z_of(0.0, 0.0, 90.0, 90.0)
        loss = supervised_contrast(z, torch.tensor([5, 5, 7, 7]), self.everyone(z), 0.5)
        assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-2)), rel=1e-6)

    def test_anchors_without_positives_are_in_no_mean_but_are_compared_with(self):
        z = self.z_of(0.0, 60.0, 180.0)
        loss = supervised_contrast(z, torch.tensor([0, 0, 1]), self.everyone(z), 1.0)
        first = math.log(1 + math.exp(-1) / math.exp(0.5))
        second = math.log(1 + math.exp(-0.5) / math.exp(0.5))
        assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)

    def test_samples_that_are_not_taken_are_as_if_they_were_not_there(self):
        z = self.z_of(0.0, 60.0, 180.0, 10.0, 20.0)
        labels = torch.tensor([0, 0, 1, 0, 1])
        taken = torch.tensor([True, True, True, False, False])
        loss = supervised_contrast(z, labels, taken, 0.3)
        assert loss.item() == pytest.approx(supervised_contrast(z[:3], labels[:3], taken[:3], 0.3).item(), rel=1e-6)

    @pytest.mark.parametrize(("labels", "taken"), [([3], [True]), ([0, 1, 2], [True] * 3), ([0, 0], [True, False]),
                                                   ([0, 0], [False, False])])
    def test_without_a_pair_it_is_zero_with_a_gradient_of_zero(self, labels, taken):
        z = self.z_of(*torch.arange(len(labels)).mul(50.0).tolist()).requires_grad_()
        loss = supervised_contrast(z, torch.tensor(labels), torch.tensor(taken), 0.1)
        loss.backward()
        assert loss.item() == 0
        assert torch.equal(z.grad, torch.zeros_like(z))

    def test_its_gradient_is_that_of_the_formula(self):
        """All of z moves, the other side of each pair too: nothing is detached."""
        z = self.z_of(0.0, 70.0, 130.0, 200.0, 290.0)
        labels, step = torch.tensor([0, 1, 0, 1, 2]), 1e-6
        leaf = z.clone().requires_grad_()
        supervised_contrast(leaf, labels, self.everyone(z), 0.4).backward()
        for i in range(5):
            for d in range(2):
                moved = [z.double().tolist(), z.double().tolist()]
                moved[0][i][d] -= step
                moved[1][i][d] += step
                low, high = (slow_supcon(vectors, labels.tolist(), 0.4) for vectors in moved)
                assert leaf.grad[i, d].item() == pytest.approx((high - low) / (2 * step), rel=1e-4, abs=1e-5)


class TestTimeWeight:
    @pytest.mark.parametrize(("decay", "mean"), [(0.3, 8.12), (0.8, 1.99), (1.0, 1.72)])
    def test_its_mean_over_all_times_relative_to_w(self, decay, mean, build):
        method, _ = build(weight=0.25, decay=decay)
        weights = method.time_weight(torch.arange(1000)) / 0.25
        assert weights.mean().item() == pytest.approx(mean, abs=0.005)
        assert (weights.diff() < 0).all(), "largest at low noise"
        assert weights[0].item() == pytest.approx(math.exp(1 / decay))

    @pytest.mark.parametrize(("values", "mean"), [(CORAL.variants["released-code"], 0.406), ({"times_temperature": True}, 0.0024),
                                                  ({}, 0.020)])
    def test_the_weight_of_the_papers_values_is_far_from_that_of_the_codes_defaults(self, values, mean, build):
        method, _ = build(**values)
        assert method.time_weight(torch.arange(1000)).mean().item() == pytest.approx(mean, rel=0.02)


class Fixed(nn.Module):
    """eps is one learnt number, the features are learnt, in a type of their own; it notes what it was asked."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.number = nn.Parameter(torch.tensor(0.5))
        self.features = nn.Parameter(torch.randn(BATCH, 16, 2, 2, generator=torch.Generator().manual_seed(1)))
        self.dtype = dtype
        self.calls = []

    def forward(self, x_t, t, labels, augment=None, *, middle=False):
        self.calls.append((labels.clone(), middle))
        eps = self.number * torch.ones_like(x_t)
        return (eps, self.features.to(self.dtype)) if middle else eps


class TestLoss:
    def test_a_dropped_batch_has_null_labels_no_contrast_and_asks_for_no_features(self, build):
        method, net = build(Fixed(), label_drop=1.0)
        loss = method.loss(net, batch_of(*[0] * BATCH), draws())
        assert set(loss.terms) == {"mse"}
        [(labels, middle)] = net.calls
        assert labels.tolist() == [3] * BATCH
        assert not middle

    def test_otherwise_it_is_one_pass_with_the_true_labels(self, build):
        method, net = build(Fixed(), label_drop=0.0)
        batch = batch_of(0, 1, 0, 2, 0, 1, 0, 0)
        method.loss(net, batch, draws())
        [(labels, middle)] = net.calls
        assert torch.equal(labels, batch.labels)
        assert middle

    @pytest.mark.parametrize("unit", ["batch", "sample"])
    def test_weight_0_is_cfg_bit_for_bit(self, unit, build, make_network, make_problem):
        batch = batch_of(0, 1, 0, 2, 0, 1, 0, 0)
        for position in range(0, 80, 8):
            drop = {"label_drop": 0.5, "label_drop_unit": unit}
            coral, net = build(weight=0.0, **drop)
            other = make_network(SHAPE, 3)
            losses = (coral.loss(net, batch, draws(position)),
                      CFG(LabelDropSettings(**drop), make_problem(COUNTS, SHAPE)).loss(other, batch, draws(position)))
            for loss in losses:
                loss.total.backward()
            assert torch.equal(losses[0].total, losses[1].total)
            assert all(torch.equal(p.grad, q.grad) for p, q in zip(net.parameters(), other.parameters(), strict=True))
            assert coral.head.weight.grad is None

    def test_the_contrast_moves_the_head_and_the_way_down_but_not_the_way_up(self, build):
        gradients = []
        for weight in (0.0, 1.0):
            method, net = build(weight=weight, label_drop=0.0)
            method.loss(net, batch_of(0, 1, 0, 2, 0, 1, 0, 0), draws()).total.backward()
            gradients.append({name: p.grad for name, p in net.named_parameters()})
        assert (method.head.weight.grad != 0).any()
        moved = {name for name, p in gradients[0].items() if (p - gradients[1][name]).abs().max() > 1e-5}
        assert {"unet.conv_in.weight", "unet.mid_block.resnets.1.conv2.weight"} <= moved
        assert not [name for name in moved if name.startswith(("unet.up_blocks", "unet.conv_out", "unet.conv_norm_out"))]

    @pytest.mark.parametrize("labels", [(1,), (0, 1, 2)])
    def test_a_batch_without_positives_trains_as_cfg_does(self, labels, build, make_network, make_problem):
        batch = batch_of(*labels)
        method, net = build(weight=1.0, label_drop=0.0)
        loss = method.loss(net, batch, draws(batch=len(labels)))
        loss.total.backward()
        other = make_network(SHAPE, 3)
        CFG(LabelDropSettings(label_drop=0.0), make_problem(COUNTS, SHAPE)).loss(
            other, batch, draws(batch=len(labels))).total.backward()
        assert loss.terms["contrast"].item() == 0
        assert torch.equal(method.head.weight.grad, torch.zeros_like(method.head.weight))
        assert all(torch.allclose(p.grad, q.grad, atol=1e-7)
                   for p, q in zip(net.parameters(), other.parameters(), strict=True))

    def test_under_bf16_only_the_network_computes_in_it(self, build):
        """Rounded features give exactly what the same features give in float32."""
        batch = batch_of(0, 1, 0, 2, 0, 1, 0, 0)
        method, net = build(Fixed(dtype=torch.bfloat16), weight=1.0, label_drop=0.0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = method.loss(net, batch, draws())
        rounded = Fixed()
        rounded.features.data = net.features.data.bfloat16().float()
        expected = method.loss(rounded, batch, draws())
        assert loss.total.dtype == torch.float32
        assert torch.equal(loss.terms["contrast"], expected.terms["contrast"])


class TestHead:
    def test_it_is_a_linear_map_from_the_middle_block_to_128_numbers(self, build):
        method, net = build()
        [(name, head)] = method.extra_modules().items()
        assert (name, head.in_features, head.out_features) == ("head", 16, 128)
        assert net.middle_channels == 16
        assert head is method.head

    def test_it_is_trained_and_kept_and_not_sampled(self, make_config, tiny_dataset, tmp_path):
        config = make_config({"method.name": "coral", "method.weight": 1.0})
        trained = train(config, tiny_dataset, tmp_path, RunContext())
        tensors, _ = load_newest(tmp_path, SILENT)
        assert "extra.head.weight" in tensors
        assert tensors["adam.exp_avg.extra.head.weight"].any()
        assert not [name for name in {**trained.net.state_dict(), **tensors} if "head" in name and "extra." not in name]


def test_its_variant_is_the_released_code():
    settings = CORALSettings(**METHODS["coral"].variants["released-code"])
    assert (settings.weight, settings.decay, settings.temperature, settings.times_temperature) == (0.5, 0.3, 0.1, True)
    defaults = CORALSettings()
    assert (defaults.weight, defaults.decay, defaults.temperature, defaults.times_temperature) == (0.01, 0.8, 0.12, False)
