"""CM against a slow version with two plain networks, one sample at a time; its coefficients, its reserve, its gradients."""

import copy
import inspect

import numpy as np
import pytest
import torch
from small import BATCH, COUNTS, SHAPE, draws
from torch import nn
from torch.nn.functional import conv2d

from ltgen_bench.config.schema import NetworkConfig
from ltgen_bench.data.longtail import class_counts
from ltgen_bench.diffusion.ddpm_process import DDPMProcess
from ltgen_bench.diffusion.guidance import Guidance
from ltgen_bench.diffusion.low_rank import LowRankReserve, add_reserve, merged, without_reserve
from ltgen_bench.diffusion.network import build_network
from ltgen_bench.methods.base import Batch
from ltgen_bench.methods.cfg import CFG
from ltgen_bench.methods.cm import CM, CMSettings
from ltgen_bench.methods.label_drop import LabelDropSettings
from ltgen_bench.methods.oc import OC, OCSettings
from ltgen_bench.methods.oriented import oriented_noise

RELEASED = {"w_div": 0.2, "transfer": "t2h"}


@pytest.fixture
def with_reserve(make_network):
    """`with_reserve(filled=True)`: the smallest network with a reserve, which takes part where it is filled."""

    def make(*, filled, dropout=0.0, ratio=0.1):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = add_reserve(make_network(SHAPE, 3, dropout=dropout), ratio)
            for module in net.modules():
                if isinstance(module, LowRankReserve) and filled:
                    nn.init.normal_(module.B, std=0.3)
        return net

    return make


def plain(net, make_network, *, full):
    """A network without reserves, with W or W + B A by hand from the state of `net`."""
    state, own = net.state_dict(), make_network(SHAPE, 3)
    weights = {}
    for name in own.state_dict():
        stem, _, leaf = name.rpartition(".")
        if name in state:
            weights[name] = state[name]
            continue
        weights[name] = state[f"{stem}.conv.{leaf}"]
        if leaf == "weight" and full:
            a, b = state[f"{stem}.A"].numpy(), state[f"{stem}.B"].numpy()
            weights[name] = weights[name] + torch.from_numpy((b @ a).reshape(weights[name].shape))
    own.load_state_dict(weights)
    return own


def slow_cm(nets, batch, settings, problem, step):
    """The three terms as sums over samples, with the two plain networks."""
    t, noise = step.integers("t", 1000), step.normal("noise", *SHAPE)
    x_t = DDPMProcess().add_noise(batch.x_0, t, noise)
    target = oriented_noise(batch, x_t, t, noise, settings, problem, step)  # which the tests of OC hold to its formula
    if settings.label_drop_unit == "batch":
        gone = [step.coin("label-drop", settings.label_drop)] * BATCH
    else:
        gone = [u < settings.label_drop for u in step.uniform("label-drop").tolist()]
    n, classes = problem.class_counts, len(problem.class_counts)
    mse = consistency = diversity = 0.0
    for i in range(BATCH):
        y = int(batch.labels[i])
        label = torch.tensor([3 if gone[i] else y])
        h, h_general = (net(x_t[i:i + 1], t[i:i + 1], label)[0].double() for net in nets)
        d = (h - h_general).square().mean().item()
        mse += (h - target[i]).square().mean().item() / BATCH
        consistency += settings.weight * settings.w_con * classes * n[y] / sum(n) * d / BATCH
        diversity -= settings.weight * settings.w_div * classes / (n[y] * sum(1 / m for m in n)) * d / BATCH
    return {"mse": mse, "consistency": consistency, "diversity": diversity}


@pytest.mark.parametrize("values", [
    {}, RELEASED, {"weight": 0.5, "w_con": 0.0}, {"w_div": 0.0, "label_drop_unit": "sample"},
    {"transfer": "full", "label_drop_unit": "sample"}], ids=str)
def test_the_loss_is_that_of_the_slow_version(values, with_reserve, make_network, batch, problem):
    settings = CMSettings(label_drop=0.4, **values)
    net = with_reserve(filled=True)
    nets = plain(net, make_network, full=True), plain(net, make_network, full=False)
    for position in (0, 8, 32):
        with torch.no_grad():
            loss = CM(settings, problem).loss(net, batch, draws(position))
            expected = slow_cm(nets, batch, settings, problem, draws(position))
        assert loss.total.item() == pytest.approx(sum(expected.values()), rel=1e-5)
        assert {name: term.item() for name, term in loss.terms.items()} == pytest.approx(expected, rel=1e-5)
        assert settings.w_con == 0 or expected["consistency"] > 1e-3


class TestCoefficients:
    """C (w_con p_y - w_div q_y) for the long-tailed sets, as the released code weighs d."""

    @pytest.mark.parametrize(("n_max", "classes", "factor", "head", "tail", "change", "mean"), [
        (5000, 10, 100.0, 4.02, -0.76, 7, 2.50), (5000, 10, 1000.0, 5.36, -1.05, 6, 3.66),
        (500, 100, 100.0, 4.60, -0.83, 68, 2.34)])
    def test_they_are_those_of_the_released_form(self, n_max, classes, factor, head, tail, change, mean, make_problem):
        counts = class_counts(n_max, classes, factor)
        consistency, diversity = CM(CMSettings(**RELEASED), make_problem(counts)).coefficients.double()
        net = consistency - diversity
        assert net[0].item() == pytest.approx(head, abs=0.005)
        assert net[-1].item() == pytest.approx(tail, abs=0.005)
        assert (net < 0).nonzero()[0].item() == change
        assert (net[change:] < 0).all()
        assert np.average(net, weights=counts) == pytest.approx(mean, abs=0.005)

    def test_the_papers_form_is_c_times_n_over_the_sum_and_its_inverse(self, make_problem):
        """Counts 6, 3, 1: p = .6, .3, .1, and 1/n sum to 1.5. The mean of either over classes is 1."""
        consistency, diversity = CM(CMSettings(), make_problem((6, 3, 1))).coefficients
        assert consistency.tolist() == pytest.approx([1.8, 0.9, 0.3])
        assert diversity.tolist() == pytest.approx([1 / 3, 2 / 3, 2.0])

    def test_for_balanced_data_the_papers_form_is_zero_and_the_released_one_is_not(self, with_reserve, batch, make_problem):
        net, even = with_reserve(filled=True), make_problem((7, 7, 7), SHAPE)
        paper = CM(CMSettings(), even).loss(net, batch, draws())
        assert paper.total.item() == pytest.approx(paper.terms["mse"].item(), rel=1e-6)
        released = CM(CMSettings(**RELEASED), even).loss(net, batch, draws())
        left = (released.total - released.terms["mse"]).item()
        assert left == pytest.approx(0.8 * released.terms["consistency"].item(), rel=1e-4)


class TestItIsItsBase:
    def test_the_variant_is_the_released_form(self):
        assert dict(CM.variants["released-code"]) == RELEASED

    @pytest.mark.parametrize("values", [{"weight": 0.0}, {"w_con": 0.0, "w_div": 0.0}], ids=str)
    def test_without_its_terms_it_is_cfg_of_the_full_weights(self, values, with_reserve, make_network, batch, problem):
        net = with_reserve(filled=True)
        for position in range(0, 40, 8):
            own = CM(CMSettings(label_drop=0.5, **values), problem).loss(net, batch, draws(position))
            base = CFG(LabelDropSettings(label_drop=0.5), problem).loss(net, batch, draws(position))
            assert torch.equal(own.total, base.total)
            assert own.total.item() == pytest.approx(
                CFG(LabelDropSettings(label_drop=0.5), problem).loss(plain(net, make_network, full=True), batch,
                                                                     draws(position)).total.item(), rel=1e-5)

    @pytest.mark.parametrize("dropout", [0.0, 0.5])
    def test_an_empty_reserve_without_its_terms_is_cfg_bit_for_bit_with_the_same_dropout(self, dropout, with_reserve,
                                                                                         make_network, batch, problem):
        losses = []
        for method, net in ((CM(CMSettings(weight=0.0), problem), with_reserve(filled=False, dropout=dropout)),
                            (CFG(LabelDropSettings(), problem), make_network(SHAPE, 3, dropout=dropout))):
            torch.manual_seed(1)
            losses.append(method.loss(net.train(), batch, draws()).total)
        assert torch.equal(*losses)

    def test_on_ocs_target_without_its_terms_it_is_oc(self, with_reserve, batch, problem):
        net, different = with_reserve(filled=True), 0
        for position in range(0, 80, 8):
            own = CM(CMSettings(weight=0.0, transfer="t2h"), problem).loss(net, batch, draws(position)).total
            assert torch.equal(own, OC(OCSettings(), problem).loss(net, batch, draws(position)).total)
            different += own != CFG(LabelDropSettings(), problem).loss(net, batch, draws(position)).total
        assert different > 3

    def test_without_dropout_an_empty_reserve_gives_no_distance_and_no_gradient(self, with_reserve, batch, problem):
        """d_i = 0, and everything learns what CFG teaches it; B too, since the error of h reaches it."""
        grads = []
        for method in (CM(CMSettings(), problem), CFG(LabelDropSettings(), problem)):
            net = with_reserve(filled=False)
            loss = method.loss(net, batch, draws())
            loss.total.backward()
            grads.append({name: p.grad for name, p in net.named_parameters()})
            assert loss.terms.get("consistency", 0) == loss.terms.get("diversity", 0) == 0
        assert all(torch.equal(grads[0][name], grads[1][name]) for name in grads[0])
        reserve = {name: grad for name, grad in grads[0].items() if name.endswith((".A", ".B"))}
        assert all((grad != 0).any() == name.endswith(".B") for name, grad in reserve.items())

    def test_with_dropout_the_passes_have_masks_of_their_own(self, with_reserve, batch, problem):
        loss = CM(CMSettings(), problem).loss(with_reserve(filled=False, dropout=0.5).train(), batch, draws())
        assert loss.terms["consistency"] > 1e-4


class Toy(nn.Module):
    """One convolution with a reserve, in float64; it notes what it was given and whether the reserve took part."""

    def __init__(self):
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        conv = nn.Conv2d(1, 1, 3, padding=1)
        self.layer = LowRankReserve(conv, 0.1).double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(generator=rng)
        self.calls = []

    def forward(self, x_t, t, labels, augment=None):
        self.calls.append((self.layer.active, x_t, t, labels, augment))
        return self.layer(x_t.double())


class TestPasses:
    @pytest.fixture
    def toy(self, batch, problem):
        """(network, loss) of a method with the given settings."""

        def run(position=0, **values):
            net = Toy()
            augmented = Batch(batch.x_0, batch.labels, torch.ones(BATCH, 9))
            return net, CM(CMSettings(**values), problem).loss(net, augmented, draws(position))

        return run

    def test_both_see_the_same_input_and_only_the_first_the_reserve(self, toy):
        net, _ = toy(label_drop=0.0)
        (first, *given), (second, *again) = net.calls
        assert (first, second) == (True, False)
        assert all(torch.equal(one, other) for one, other in zip(given, again, strict=True))
        assert net.layer.active

    def test_a_dropped_label_is_told_to_neither_and_still_weighs(self, toy, batch):
        net, loss = toy(label_drop=1.0)
        assert [labels.tolist() for *_, labels, _ in net.calls] == [[3] * BATCH] * 2
        _, kept = toy(label_drop=0.0)  # the toy does not look at labels
        assert torch.equal(loss.total, kept.total)

    @pytest.mark.parametrize("values", [{}, RELEASED, {"w_con": 0.0}, {"w_div": 0.0}], ids=str)
    def test_both_passes_are_differentiated_and_the_target_is_not(self, values, toy, batch, problem):
        """The gradients of W, A and B are those of the formula in which nothing is detached but the target."""
        settings = CMSettings(**values)
        net, loss = toy(**values)
        loss.total.backward()
        w, bias, a, b = (p.detach().clone().requires_grad_() for p in (
            net.layer.conv.weight, net.layer.conv.bias, net.layer.A, net.layer.B))
        step = draws()
        t, noise = step.integers("t", 1000), step.normal("noise", *SHAPE)
        x_t = DDPMProcess().add_noise(batch.x_0, t, noise)
        target = oriented_noise(batch, x_t, t, noise, settings, problem, step).detach()
        h = conv2d(x_t.double(), w + (b @ a).reshape(1, 1, 3, 3), bias, padding=1)
        h_general = conv2d(x_t.double(), w, bias, padding=1)
        counts = torch.tensor(COUNTS).double()
        p, q = counts / counts.sum(), (1 / counts) / (1 / counts).sum()
        coefficients = 3 * (settings.w_con * p - settings.w_div * q)[batch.labels]
        total = (h - target).square().mean() + (coefficients * (h - h_general).square().mean((1, 2, 3))).mean()
        grads = torch.autograd.grad(total, (w, bias, a, b))
        for grad, parameter in zip(grads, (net.layer.conv.weight, net.layer.conv.bias, net.layer.A, net.layer.B), strict=True):
            assert torch.allclose(grad, parameter.grad, rtol=1e-5, atol=1e-9)

    def test_a_compiled_network_has_one_graph_for_each_pass(self, batch, problem, monkeypatch):
        for name in ("forward", "full_weight"):  # without the type checks of the tests, which cannot be compiled
            monkeypatch.setattr(LowRankReserve, name, inspect.unwrap(getattr(LowRankReserve, name)))
        graphs, net = [], Toy()

        def backend(graph, inputs):
            graphs.append(graph)
            return graph.forward

        compiled, method = torch.compile(net, backend=backend, fullgraph=True), CM(CMSettings(), problem)
        for position in (0, 8, 16):
            net.calls.clear()
            own = method.loss(compiled, batch, draws(position))
            net.calls.clear()
            slow = method.loss(net, batch, draws(position))
            assert slow.terms["consistency"] > 0.1
            assert torch.equal(own.total, slow.total)
        assert len(graphs) == 2


class TestReserve:
    def test_it_stands_in_the_3_x_3_convolutions_of_the_up_path_of_ddpms_network_and_nowhere_else(self):
        """4 levels of 3 blocks of 2, and 3 up-samplings; (c_in, c_out) of each by hand."""
        net = build_network(NetworkConfig(), (3, 32, 32), 10, seed=0)
        before = {name for name, _ in net.named_parameters()}
        numbers = net.parameter_count
        add_reserve(net, 0.1)
        first = [512, 512, 512, 512, 512, 512, 512, 512, 384]
        pairs = [*((c_in, 256) for c_in in first), *[(256, 256)] * 9, (384, 128), (256, 128), (256, 128), *[(128, 128)] * 3,
                 *[(256, 256)] * 3]
        found = {name: m for name, m in net.named_modules() if isinstance(m, LowRankReserve)}
        assert len(found) == len(pairs) == 27
        assert sorted((m.conv.in_channels, m.conv.out_channels) for m in found.values()) == sorted(pairs)
        assert all(m.conv.kernel_size == (3, 3) and name.startswith("unet.up_blocks.") for name, m in found.items())
        ranks = {256: 25, 128: 12}
        for m in found.values():
            rank = ranks[m.conv.out_channels]
            assert m.A.shape == (3 * rank, 3 * m.conv.in_channels)
            assert m.B.shape == (3 * m.conv.out_channels, 3 * rank)
        assert net.parameter_count - numbers == sum(9 * ranks[c_out] * (c_in + c_out) for c_in, c_out in pairs)
        moved = {f"{name}.{leaf}": f"{name}.conv.{leaf}" for name in found for leaf in ("weight", "bias")}
        added = {f"{name}.{leaf}" for name in found for leaf in ("A", "B")}
        assert {name for name, _ in net.named_parameters()} == {moved.get(name, name) for name in before} | added

    @pytest.mark.parametrize(("c_in", "c_out", "ratio", "rank"), [
        (8, 16, 0.1, 1), (64, 32, 0.1, 3), (39, 200, 0.1, 3), (6, 6, 1.0, 6)])
    def test_its_rank_is_the_floor_of_the_ratio_and_at_least_1(self, c_in, c_out, ratio, rank):
        assert LowRankReserve(nn.Conv2d(c_in, c_out, 3), ratio).A.shape == (3 * rank, 3 * c_in)

    def test_it_starts_empty_and_its_a_is_kaiming_normal(self):
        """The variance is 2 / (1 + 5) / (3 c_in)."""
        torch.manual_seed(0)
        reserve = LowRankReserve(nn.Conv2d(256, 256, 3), 0.5)
        assert (reserve.B == 0).all()
        assert reserve.A.std().item() == pytest.approx((1 / 3 / 768) ** 0.5, rel=0.01)
        assert abs(reserve.A.mean().item()) < 3 * reserve.A.std().item() / reserve.A.numel() ** 0.5

    def test_an_error_inside_leaves_it_switched_on(self, with_reserve):
        reserves = [m for m in with_reserve(filled=True).modules() if isinstance(m, LowRankReserve)]
        within = []

        def fail():
            with without_reserve(nn.ModuleList(reserves)):
                within.extend(m.active for m in reserves)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert within == [False] * len(reserves)
        assert all(m.active for m in reserves)

    def test_a_copy_has_a_reserve_of_its_own_and_takes_the_state_of_the_first(self, with_reserve):
        net, other = with_reserve(filled=True), with_reserve(filled=False)
        copied = copy.deepcopy(net)
        inputs = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.tensor([5, 900]), torch.tensor([0, 3])
        before = net(*inputs)
        with without_reserve(net):
            assert not torch.allclose(net(*inputs), before, rtol=1e-2)
            assert torch.equal(copied(*inputs), before)
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(*inputs), before)

    def test_the_sampler_gets_plain_convolutions_with_the_same_output(self, with_reserve, make_network, problem):
        net = with_reserve(filled=True).to(memory_format=torch.channels_last)
        noise = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
        inputs = noise, torch.tensor([0, 5, 900]), torch.tensor([0, 1, 2])
        with torch.no_grad():
            whole = merged(net)
            assert torch.allclose(whole(*inputs), net(*inputs), rtol=1e-5, atol=1e-6)
            assert torch.allclose(whole(*inputs), plain(net, make_network, full=True)(*inputs), rtol=1e-4, atol=1e-5)
            h, null = net(*inputs), net(inputs[0], inputs[1], torch.tensor([3, 3, 3]))
            eps = CM(CMSettings(), problem).denoiser(net, Guidance(1.5))(*inputs)
        assert torch.allclose(eps, h + 1.5 * (h - null), rtol=1e-4, atol=1e-5)
        assert {name: p.shape for name, p in whole.named_parameters()} == {
            name: p.shape for name, p in make_network(SHAPE, 3).named_parameters()}
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in whole.parameters() if p.dim() == 4)
        assert any(isinstance(m, LowRankReserve) for m in net.modules()), "the network itself stays as it is"

    def test_what_the_sampler_got_does_not_change_when_training_goes_on(self, with_reserve, problem):
        net = with_reserve(filled=True)
        inputs = torch.zeros(1, *SHAPE), torch.tensor([5]), torch.tensor([0])
        with torch.no_grad():
            denoiser = CM(CMSettings(), problem).denoiser(net, Guidance(0.0))
            before = denoiser(*inputs)
            for parameter in net.parameters():
                parameter.add_(0.1)
            assert torch.equal(denoiser(*inputs), before)
