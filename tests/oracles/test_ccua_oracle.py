"""CCUA against a slow version that takes one sample and one pair at a time, the paths of its gradients, and its resampling.

The slow version is written from the formulas of the U-Net code with plain Python numbers, where that is possible.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from small import BATCH, COUNTS, SHAPE, batch_of, draws
from torch import nn

from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import Batch
from ltgen_bench.methods.ccua import CCUA, CCUASettings, repulsion
from ltgen_bench.methods.cfg import CFG
from ltgen_bench.methods.label_drop import LabelDropSettings
from ltgen_bench.training.batches import DataOrder
from ltgen_bench.training.loop import Trainer, build_method

LABELS = (0, 1, 0, 2, 0, 1, 0, 0)
NULL = 3


@pytest.fixture
def build(make_problem):
    """`build(counts, a_ucl=...)`: the method with these settings."""
    return lambda counts=COUNTS, **settings: CCUA(CCUASettings(**settings), make_problem(counts, SHAPE))


def slow_ucl(features, i, temperature):
    """UCL of sample i, from the features of all as lists of numbers."""
    def cos(a, b):
        return sum(p * q for p, q in zip(a, b, strict=True)) / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))

    return math.log(1 + sum(math.exp((cos(features[i], features[j]) - 1) / temperature)
                            for j in range(len(features)) if j != i))


def slow_ccua(method, net, batch, draws):
    """The terms of the loss; the draws are those of the same names."""
    settings, size = method.settings, len(batch.labels)
    x_t, t, noise = method.noised(batch, draws)
    if settings.label_drop_unit == "batch":
        dropped = [draws.coin("label-drop", settings.label_drop)] * size
    else:
        dropped = [u < settings.label_drop for u in draws.uniform("label-drop").tolist()]
    mse = al = ucl = 0.0
    features = []
    for i in range(size):
        label = NULL if dropped[i] else int(batch.labels[i])
        h = net(x_t[i:i + 1], t[i:i + 1], torch.tensor([label]))[0].double()
        h_null, middle = net(x_t[i:i + 1], t[i:i + 1], torch.tensor([NULL]), middle=True)
        features.append(middle.double().flatten().tolist())
        mse += (h - noise[i]).square().mean().item() / size
        al += 0.0 if dropped[i] else settings.a_al * int(t[i]) / 1000 * (h - h_null[0]).square().mean().item() / size
    for i in range(size):
        time = int(t[i]) / 1000 if settings.ucl_time_weight else 1.0
        ucl += settings.a_ucl * time * slow_ucl(features, i, settings.temperature) / size
    off = {"ucl"} if settings.a_ucl == 0 else set()
    if settings.a_al == 0 or (settings.label_drop_unit == "batch" and dropped[0]):
        off.add("al")
    return {name: term for name, term in {"mse": mse, "ucl": ucl, "al": al}.items() if name not in off}


@pytest.mark.parametrize("unit", ["batch", "sample"])
@pytest.mark.parametrize("values", [{}, {"a_ucl": 0.0, "a_al": 0.3}, {"a_ucl": 0.7, "a_al": 0.0},
                                    {"a_ucl": 0.05, "a_al": 0.05, "temperature": 0.4, "ucl_time_weight": False}],
                         ids=["both", "al", "ucl", "ucl-without-time"])
def test_the_loss_is_that_of_the_slow_version(values, unit, build, make_network):
    method, net, batch = build(label_drop=0.3, label_drop_unit=unit, **values), make_network(SHAPE, 3), batch_of(*LABELS)
    seen = set()
    for position in (0, 8, 32):
        with torch.no_grad():
            loss = method.loss(net, batch, draws(position))
            expected = slow_ccua(method, net, batch, draws(position))
        assert loss.total.item() == pytest.approx(sum(expected.values()), rel=1e-5)
        assert loss.terms.keys() == expected.keys()
        for name, term in loss.terms.items():
            assert term.item() == pytest.approx(expected[name], rel=1e-5)
        seen.add(frozenset(loss.terms))
    assert len(seen) == (2 if unit == "batch" and method.settings.a_al else 1), "with labels, and without"


class ByLabel(nn.Module):
    """eps is one learnt number for each label, the features one learnt vector for each label and place in the batch."""

    def __init__(self, dtype=torch.float32, size=2 * BATCH):
        super().__init__()
        self.number = nn.Parameter(torch.linspace(-1, 2, 4))
        self.features = nn.Parameter(torch.randn(size, 4, 2, 2, generator=torch.Generator().manual_seed(1)))
        self.dtype = dtype
        self.calls = []

    def forward(self, x_t, t, labels, augment=None, *, middle=False):
        self.calls.append((x_t, t, labels, augment, middle))
        eps = self.number[labels].view(-1, 1, 1, 1).expand_as(x_t)
        return (eps, self.features[:len(labels)].to(self.dtype)) if middle else eps


class TestRepulsion:
    def test_alike_apart_and_opposite_features(self):
        alike = repulsion(torch.ones(5, 2, 3, 3), 0.1, draws())
        assert alike.tolist() == pytest.approx([math.log(5)] * 5, rel=1e-5)
        right = repulsion(torch.eye(2), 0.1, draws())
        assert right.tolist() == pytest.approx([math.log1p(math.exp(-10))] * 2, rel=1e-4)
        opposite = repulsion(torch.tensor([[1.0], [-3.0]]), 1.0, draws())
        assert opposite.tolist() == pytest.approx([math.log1p(math.exp(-2))] * 2, rel=1e-6)

    def test_one_alone_has_nothing_to_move_away_from(self):
        features = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
        loss = repulsion(features, 0.1, draws())
        loss.sum().backward()
        assert loss.tolist() == [0.0]
        assert torch.equal(features.grad, torch.zeros_like(features))

    def test_the_lengths_of_features_do_not_matter(self):
        features = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
        lengths = torch.tensor([[1.0], [20.0], [0.01], [3.0]])
        assert torch.allclose(repulsion(features, 0.1, draws()), repulsion(features * lengths, 0.1, draws()), atol=1e-5)

    def test_its_gradient_is_that_of_the_formula_on_both_sides_of_a_pair(self):
        """The loss of sample 0 alone moves the others too: keys are not detached."""
        features = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        repulsion(features, 0.5, draws())[0].backward()
        assert (features.grad.abs().sum(1) > 1e-3).all()
        step = 1e-6
        for j in range(3):
            for d in range(4):
                moved = [features.double().tolist(), features.double().tolist()]
                moved[0][j][d] -= step
                moved[1][j][d] += step
                low, high = (slow_ucl(vectors, 0, 0.5) for vectors in moved)
                assert features.grad[j, d].item() == pytest.approx((high - low) / (2 * step), rel=1e-3, abs=1e-5)


class TestPasses:
    def test_both_predictions_are_one_doubled_pass_of_equal_inputs(self, build):
        net, batch = ByLabel(), batch_of(*LABELS)
        vectors = torch.arange(BATCH * 2.0).view(BATCH, 2)
        build(label_drop=0.0).loss(net, Batch(batch.x_0, batch.labels, vectors), draws())
        [(x_t, t, labels, augment, middle)] = net.calls
        for both in (x_t, t, augment):
            assert torch.equal(both[:BATCH], both[BATCH:])
        assert torch.equal(augment[:BATCH], vectors)
        assert torch.equal(labels[:BATCH], batch.labels)
        assert labels[BATCH:].tolist() == [NULL] * BATCH
        assert middle

    def test_a_dropped_batch_has_no_alignment_and_keeps_the_contrast_of_a_second_pass(self, build):
        net = ByLabel()
        loss = build(label_drop=1.0).loss(net, batch_of(*LABELS), draws())
        assert set(loss.terms) == {"mse", "ucl"}
        [(_, _, labels, _, _)] = net.calls
        assert labels.tolist() == [NULL] * 2 * BATCH

    def test_with_alignment_alone_a_dropped_batch_is_one_plain_pass(self, build):
        net = ByLabel()
        loss = build(label_drop=1.0, a_ucl=0.0).loss(net, batch_of(*LABELS), draws())
        assert set(loss.terms) == {"mse"}
        [(_, _, labels, _, middle)] = net.calls
        assert labels.tolist() == [NULL] * BATCH
        assert not middle

    @pytest.mark.parametrize("unit", ["batch", "sample"])
    def test_with_both_off_it_is_cfg_bit_for_bit_in_one_plain_pass(self, unit, build, make_network, make_problem):
        batch, drop = batch_of(*LABELS), {"label_drop": 0.5, "label_drop_unit": unit}
        methods = build(a_ucl=0.0, a_al=0.0, **drop), CFG(LabelDropSettings(**drop), make_problem(COUNTS, SHAPE))
        for position in range(0, 80, 8):
            nets = make_network(SHAPE, 3), make_network(SHAPE, 3)
            losses = [method.loss(net, batch, draws(position)).total for method, net in zip(methods, nets, strict=True)]
            for loss in losses:
                loss.backward()
            assert torch.equal(*losses)
            assert all(torch.equal(p.grad, q.grad) for p, q in zip(nets[0].parameters(), nets[1].parameters(), strict=True))
            counted = ByLabel()
            methods[0].loss(counted, batch, draws(position))
            [(x_t, _, _, _, middle)] = counted.calls
            assert (len(x_t), middle) == (BATCH, False)

    def test_the_two_passes_have_dropout_masks_of_their_own(self, build, make_network):
        """Without labels that differ and without dropout, both predictions are the same."""
        values = {}
        for dropout in (0.0, 0.5):
            net = make_network(SHAPE, 3, dropout=dropout).train()
            with torch.no_grad():
                net.label_embedding.weight.zero_()
            values[dropout] = build(label_drop=0.0).loss(net, batch_of(*LABELS), draws()).terms["al"].item()
        assert values[0.0] < 1e-12
        assert values[0.5] > 1e-5


class TestGradients:
    def gradients(self, build, **settings):
        net = ByLabel()
        build(label_drop=0.0, **settings).loss(net, batch_of(*[0, 1] * 4), draws()).total.backward()
        return net

    def test_alignment_flows_through_both_predictions_with_the_size_of_the_formula(self, build):
        """d/dh_y of mean(t / T (h_y - h_null)^2), and the opposite of the sum for h_null: no side is detached."""
        base, both = (self.gradients(build, a_ucl=0.0, a_al=a_al).number.grad for a_al in (0.0, 0.5))
        time = draws().integers("t", 1000).double() / 1000
        number = torch.linspace(-1, 2, 4).double()
        expected = [0.5 * 2 * (time * (torch.arange(BATCH) % 2 == y)).sum() * (number[y] - number[NULL]) / BATCH for y in (0, 1)]
        expected = torch.tensor([*expected, 0.0, -sum(expected)])
        assert (both - base).tolist() == pytest.approx(expected.tolist(), rel=1e-4)

    def test_the_contrast_reaches_the_features_of_the_unconditional_pass_only(self, build):
        net = self.gradients(build)
        assert (net.features.grad[:BATCH] == 0).all()
        assert (net.features.grad[BATCH:].flatten(1).abs().sum(1) > 1e-6).all()

    def test_through_the_network_it_reaches_the_way_down_but_not_the_way_up_nor_a_label(self, build, make_network):
        found = []
        for a_ucl in (0.0, 1.0):
            net = make_network(SHAPE, 3)
            build(a_ucl=a_ucl, label_drop=0.0).loss(net, batch_of(*LABELS), draws()).total.backward()
            found.append({name: p.grad for name, p in net.named_parameters()})
        moved = {name for name, p in found[0].items() if (p - found[1][name]).abs().max() > 1e-5}
        assert {"unet.conv_in.weight", "unet.mid_block.resnets.1.conv2.weight"} <= moved
        assert not [name for name in moved if name.startswith(("unet.up_blocks", "unet.conv_out", "unet.conv_norm_out", "label"))]


def test_a_batch_of_one_trains_as_with_alignment_alone(build, make_network):
    values = []
    for a_ucl in (0.0, 1.0):
        net = make_network(SHAPE, 3)
        loss = build(a_ucl=a_ucl, label_drop=0.0).loss(net, batch_of(1), draws(batch=1))
        loss.total.backward()
        values.append((loss.total, [p.grad for p in net.parameters()]))
    assert torch.equal(values[0][0], values[1][0])
    assert all(torch.allclose(p, q, atol=1e-7) for p, q in zip(values[0][1], values[1][1], strict=True))


def test_under_bf16_only_the_network_computes_in_it(build):
    """Rounded features give exactly what the same features give in float32."""
    net, method = ByLabel(torch.bfloat16), build(label_drop=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method.loss(net, batch_of(*LABELS), draws())
    rounded = ByLabel()
    rounded.features.data = net.features.data.bfloat16().float()
    expected = method.loss(rounded, batch_of(*LABELS), draws())
    assert loss.total.dtype == torch.float32
    assert torch.equal(loss.total, expected.total)


class TestResampling:
    @pytest.mark.parametrize(("counts", "factor", "law"), [
        ((20, 9, 4), 0.1, [1, 0.1 ** 0.5, 0.1]), ((4, 20, 9), 0.1, [0.1, 1, 0.1 ** 0.5]), ((5, 1), 0.3, [1, 0.3]),
        ((7, 9, 7, 7), 0.001, [0.1, 1, 0.01, 0.001]), ((5, 1, 1), 1.0, [1, 1, 1])])
    def test_its_law_goes_by_the_rank_of_the_class(self, counts, factor, law, build):
        assert build(counts, brs=factor).class_weights().tolist() == pytest.approx(law, rel=1e-6)

    @pytest.mark.parametrize(("lowest", "power"), [(0.01, 1 / 2), (0.001, 1 / 3)])
    def test_on_the_exponential_profile_0_1_is_sampling_by_a_power_of_the_counts(self, lowest, power, build):
        """The square root at factor 100, the cube root at factor 1000."""
        counts = [round(1e6 * lowest ** (c / 9)) for c in range(10)]
        expected = (np.array(counts) / 1e6) ** power
        assert build(counts, brs=0.1).class_weights().tolist() == pytest.approx(expected.tolist(), rel=1e-3)

    def test_classes_are_drawn_by_it_in_training(self, make_config, make_dataset):
        dataset = make_dataset((60, 6, 20))
        config = make_config({"method.name": "ccua", "method.brs": 0.1})
        trainer = Trainer(config, dataset, build_method(config, dataset, torch.device("cpu")), torch.device("cpu"))
        labels = dataset.train.labels[trainer.images.order.at(0, 4000)]
        shares = np.array([1, 0.1, 0.1 ** 0.5])
        assert stats.chisquare(np.bincount(labels), 4000 * shares / shares.sum()).pvalue > 1e-3

    def test_without_it_every_image_is_seen_once_a_round(self, build, make_images):
        order = DataOrder(make_images(COUNTS).labels, 0, build().class_weights())
        assert sorted(order.at(0, sum(COUNTS))) == list(range(sum(COUNTS)))


def test_its_variant_is_the_script_for_tiny_imagenet():
    settings = CCUASettings(**METHODS["ccua"].variants["released-code"])
    assert (settings.a_ucl, settings.a_al, settings.temperature, settings.ucl_time_weight, settings.brs) == (1, 1, 0.1, True, 0.1)
    assert CCUASettings().brs == 0
