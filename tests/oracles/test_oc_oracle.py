"""OC against a slow version that takes one pair of images at a time, its draws against their probabilities, and its base."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import BATCH, COUNTS, SHAPE, ByLabel, as_batch, draws

from ltgen_bench.diffusion.ddpm_process import DDPMProcess
from ltgen_bench.methods import variant_values
from ltgen_bench.methods.base import Batch
from ltgen_bench.methods.cfg import CFG
from ltgen_bench.methods.label_drop import LabelDropSettings
from ltgen_bench.methods.oc import OC, OCSettings
from ltgen_bench.methods.oriented import log_likelihoods, oriented_noise, pick

BARS = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
SIGMA = np.sqrt(1 / BARS - 1)
MODES = ("t2h", "h2t", "full")


def noisy(batch, t, position=0):
    """(x_t, t, noise) at one t for all, or at the given ones."""
    t = torch.as_tensor(t).expand(len(batch.labels))
    noise = draws(position, len(t)).normal("noise", *batch.x_0.shape[1:])
    return DDPMProcess().add_noise(batch.x_0, t, noise), t, noise


def slow_posterior(batch, x_t, t):
    """softmax_j -||x_t,i / sqrt(abar) - x_0,j||^2 / (2 sigma^2), one pair after the other."""
    x_0, x_t = batch.x_0.double().numpy(), x_t.double().numpy()
    rows = []
    for i in range(len(x_t)):
        c = x_t[i] / np.sqrt(BARS[t[i]])
        scores = np.array([-((c - x_0[j]) ** 2).sum() / (2 * SIGMA[t[i]] ** 2) for j in range(len(x_0))])
        weights = np.exp(scores - scores.max())
        rows.append(weights / weights.sum())
    return np.array(rows)


def passes(mode, n_drawn, n_own):
    return {"t2h": n_drawn >= n_own, "h2t": n_drawn <= n_own, "full": True}[mode]


def slow_target(batch, x_t, t, settings, counts, uniform):
    """(eps', the image of each), where `uniform` falls into the weights laid end to end, in plain numbers."""
    posterior, target, sources = slow_posterior(batch, x_t, t), [], []
    labels = batch.labels.tolist()
    for i in range(len(t)):
        weights = [w * (counts[labels[i]] * counts[y]) ** settings.tr_tau for w, y in zip(posterior[i], labels, strict=True)]
        left, j = float(uniform[i]) * sum(weights), 0
        while left >= weights[j]:
            left -= weights[j]
            j += 1
        within = int(t[i]) < settings.cut_time or (settings.transfer == "full" and not settings.cut_full)
        if not (passes(settings.transfer, counts[labels[j]], counts[labels[i]]) and within):
            j = i
        bar = BARS[t[i]]
        target.append((x_t[i].double() - np.sqrt(bar) * batch.x_0[j].double()) / np.sqrt(1 - bar))
        sources.append(j)
    return torch.stack(target), sources


def settings_grid():
    for mode in MODES:
        for more in ({}, {"cut_time": 700}, {"cut_time": 700, "cut_full": False}, {"tr_tau": 1.0},
                     {"tr_tau": -0.5, "label_drop_unit": "sample"}):
            yield OCSettings(transfer=mode, label_drop=0.3, **more)


@pytest.mark.parametrize("settings", list(settings_grid()), ids=lambda s: f"{s.transfer}-{s.cut_time}-{s.cut_full}-{s.tr_tau:g}")
def test_the_loss_is_that_of_the_slow_version(settings, make_network, batch, problem):
    net = make_network(SHAPE, 3)
    exchanged, dropped = 0, set()
    for position in (8, 24, 40, 56):
        step = draws(position)
        t, noise = step.integers("t", 1000), step.normal("noise", *SHAPE)
        x_t = DDPMProcess().add_noise(batch.x_0, t, noise)
        target, sources = slow_target(batch, x_t, t, settings, COUNTS, step.uniform("transfer"))
        if settings.label_drop_unit == "batch":
            gone = [step.coin("label-drop", 0.3)] * BATCH
        else:
            gone = [u < 0.3 for u in step.uniform("label-drop").tolist()]
        slow = 0.0
        with torch.no_grad():
            loss = OC(settings, problem).loss(net, batch, step)
            for i in range(BATCH):
                label = 3 if gone[i] else int(batch.labels[i])
                h = net(x_t[i:i + 1], t[i:i + 1], torch.tensor([label]))[0].double()
                slow += (h - target[i]).square().mean().item() / BATCH
        assert loss.total.item() == pytest.approx(slow, rel=1e-5)
        assert loss.terms["mse"].item() == loss.total.item()
        exchanged += sum(i != j for i, j in enumerate(sources))
        dropped |= set(gone)
    assert exchanged > 3
    assert dropped == {False, True}


class TestItIsItsBase:
    def losses(self, settings, batch, problem, position, net):
        drop = LabelDropSettings(label_drop=settings.label_drop)
        return [method.loss(net, batch, draws(position, len(batch.labels))).total
                for method in (OC(settings, problem), CFG(drop, problem))]

    @pytest.mark.parametrize("values", [{"transfer": "off"}, {"cut_time": 0}, {"transfer": "full", "cut_time": 0}], ids=str)
    def test_without_exchange_it_is_cfg_bit_for_bit(self, values, batch, problem, make_network):
        net = make_network(SHAPE, 3)
        for position in range(0, 40, 8):
            own, base = self.losses(OCSettings(label_drop=0.5, **values), batch, problem, position, net)
            assert torch.equal(own, base)

    @pytest.mark.parametrize("mode", MODES)
    def test_a_batch_of_one_image_is_cfg_bit_for_bit(self, mode, batch, problem, make_network):
        one, net = Batch(batch.x_0[:1], batch.labels[:1]), make_network(SHAPE, 3)
        for position in range(8):
            own, base = self.losses(OCSettings(transfer=mode), one, problem, position, net)
            assert torch.equal(own, base)

    @pytest.mark.parametrize("mode", MODES)
    def test_below_t_300_nothing_is_exchanged_at_32_pixels(self, mode, make_images, make_problem):
        large = as_batch(make_images((16, 10, 6), (3, 32, 32)))
        for position in range(10):
            step = draws(position * 32, 32)
            x_t, t, noise = noisy(large, step.integers("t", 300), position)
            target = oriented_noise(large, x_t, t, noise, OCSettings(transfer=mode), make_problem(COUNTS), step)
            assert torch.equal(target, noise)

    def test_from_cut_time_on_the_target_is_the_drawn_noise(self, batch, problem):
        changed = {False: 0, True: 0}
        for position in range(40):
            x_t, t, noise = noisy(batch, [500, 699, 700, 999] * 2, position)
            target = oriented_noise(batch, x_t, t, noise, OCSettings(transfer="full", cut_time=700), problem, draws(position))
            for below, moved in zip(t < 700, (target != noise).flatten(1).any(1), strict=True):
                changed[bool(below)] += int(moved)
        assert changed[False] == 0
        assert changed[True] > 20


    def test_the_variant_of_the_released_code_leaves_full_alone_and_cuts_the_others(self, batch, problem):
        released = variant_values("oc", "released-code")
        for mode in MODES:
            cut, whole = (OCSettings(transfer=mode, cut_time=time, **released) for time in (0, 1000))
            same = True
            for position in range(10):
                noised = noisy(batch, [800] * 8, position)
                same &= torch.equal(*(oriented_noise(batch, *noised, s, problem, draws(position)) for s in (cut, whole)))
            assert same == (mode == "full")


def sources_of(target, x_t, t, batch):
    """Which image each eps' leads to, found by going there."""
    bars = torch.from_numpy(BARS)[t].view(-1, 1, 1, 1)
    there = (x_t.double() - (1 - bars).sqrt() * target.double()) / bars.sqrt()
    distance = (there.unsqueeze(1) - batch.x_0.double()).flatten(2).norm(dim=2)
    assert (distance.min(1).values < 1e-3).all()
    return distance.argmin(1)


@pytest.fixture(scope="module")
def tail(make_images):
    """64 images of 5 classes, as a batch of a long-tailed set is; the bars of the classes faint, so that they mix early."""
    images = make_images((30, 16, 9, 6, 3), SHAPE)
    return Batch(torch.from_numpy(images.images).float() / 255 - 0.5, torch.from_numpy(images.labels))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("t", [150, 400, 999])
def test_images_are_exchanged_as_often_as_their_probabilities_say(mode, t, tail, make_problem):
    """P(accepted, other than i), and P(of a strictly larger class): sums of the posterior against counts of the draws."""
    counts = [500, 240, 110, 60, 20]
    problem, rounds = make_problem(counts, SHAPE), 30
    x_t, times, noise = noisy(tail, t)
    posterior, labels = slow_posterior(tail, x_t, times), tail.labels.tolist()
    expected = np.zeros((2, 64))
    for i in range(64):
        for j in range(64):
            if j != i and passes(mode, counts[labels[j]], counts[labels[i]]):
                expected[0, i] += posterior[i, j]
                expected[1, i] += posterior[i, j] * (counts[labels[j]] > counts[labels[i]])
    found = np.zeros(2)
    for position in range(rounds):
        target = oriented_noise(tail, x_t, times, noise, OCSettings(transfer=mode), problem, draws(position, 64))
        j = sources_of(target, x_t, times, tail).tolist()
        for i in range(64):
            assert passes(mode, counts[labels[j[i]]], counts[labels[i]])
            found += [j[i] != i, counts[labels[j[i]]] > counts[labels[i]]]
    assert expected[0].mean() > {150: 0.02, 400: 0.3, 999: 0.5}[t]
    deviation = np.sqrt(rounds * (expected * (1 - expected)).sum(1))
    assert (np.abs(found - rounds * expected.sum(1)) <= 4 * deviation + 1e-9).all()


def test_equal_counts_pass_both_gates(tail, make_problem):
    x_t, t, noise = noisy(tail, 999)
    for mode in ("t2h", "h2t"):
        target = oriented_noise(tail, x_t, t, noise, OCSettings(transfer=mode), make_problem((7,) * 5, SHAPE), draws(0, 64))
        full = oriented_noise(tail, x_t, t, noise, OCSettings(transfer="full"), make_problem((7,) * 5, SHAPE), draws(0, 64))
        assert torch.equal(target, full)


def test_the_mean_of_the_targets_in_full_is_the_best_prediction_for_the_images_of_the_batch(batch, problem):
    """E[eps | x_t] when x_0 is one of the batch at random: (x_t - sqrt(abar) E[x_0 | x_t]) / sqrt(1 - abar)."""
    x_t, t, noise = noisy(batch, [300, 500, 650, 999] * 2)
    rounds, settings = 400, OCSettings(transfer="full")
    targets = torch.stack([oriented_noise(batch, x_t, t, noise, settings, problem, draws(p)) for p in range(rounds)])
    posterior = torch.from_numpy(slow_posterior(batch, x_t, t))
    mean = torch.einsum("ij,jchw->ichw", posterior, batch.x_0.double())
    bars = torch.from_numpy(BARS)[t].view(-1, 1, 1, 1)
    best = (x_t.double() - bars.sqrt() * mean) / (1 - bars).sqrt()
    error = targets.double().std(0) / rounds ** 0.5
    assert ((targets.double().mean(0) - best).abs() <= 5 * error + 1e-5).all()
    assert (error > 1e-3).any(), "some targets did change"


def test_tr_tau_weighs_images_by_the_frequency_of_their_class(make_problem):
    """Of images that cannot be told apart, each is drawn in proportion to its class's frequency to that power."""
    counts, labels = [500, 100, 20], torch.tensor([0, 0, 1, 1, 1, 2])
    same = Batch(torch.linspace(0, 1e-2, 6).view(6, 1, 1, 1).expand(6, *SHAPE).clone(), labels)
    x_t, t, noise = noisy(same, 999)
    for power in (1.0, -0.5):
        found = np.zeros(6)
        for position in range(150):
            settings = OCSettings(transfer="full", tr_tau=power)
            target = oriented_noise(same, x_t, t, noise, settings, make_problem(counts, SHAPE), draws(position, 6))
            moved = (noise - target).double().mean((1, 2, 3)) * SIGMA[999]  # x_0,j - x_0,i
            found += np.bincount((torch.arange(6) + moved / 2e-3).round().long(), minlength=6)
        share = np.array([counts[y] for y in labels], dtype=float) ** power
        share /= share.sum()
        assert np.abs(found / found.sum() - share).max() < 4 * np.sqrt(0.25 / 900)


class TestPick:
    def test_it_is_the_cell_in_which_the_number_falls(self):
        weights = torch.tensor([[1.0, 2.0, 1.0]] * 5)
        assert pick(weights, torch.tensor([0.0, 0.2, 0.26, 0.74, 0.76])).tolist() == [0, 0, 1, 1, 2]

    def test_nothing_of_weight_zero_is_ever_taken(self):
        weights = torch.tensor([[0.0, 0.0, 3.0, 0.0, 1.0, 0.0]] * 2, dtype=torch.float64)
        assert pick(weights, torch.tensor([0.0, 1 - 2 ** -24])).tolist() == [2, 4]


class TestAccuracy:
    def test_near_copies_are_told_apart_at_t_0_as_exactly_as_float64_does(self):
        """Their scores differ by about 1 and are near 1e7: float32 sums would lose the difference."""
        base = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
        near = Batch(base.repeat(6, 1, 1, 1) + 0.01 * torch.eye(6, 3072).view(6, 3, 32, 32), torch.zeros(6, dtype=torch.int64))
        x_t, t, _ = noisy(near, [0, 0, 1, 2, 3, 10])
        fast = log_likelihoods(near.x_0, x_t, t, DDPMProcess()).softmax(1).numpy()
        slow = slow_posterior(near, x_t, t)
        assert np.abs(fast - slow).max() < 1e-6
        assert 0.01 < np.median(slow) < 0.9, "it is no certain draw"

    def test_autocast_changes_no_target(self, tail, make_problem):
        x_t, t, noise = noisy(tail, 500)
        problem, settings = make_problem((500, 240, 110, 60, 20), SHAPE), OCSettings(transfer="full")
        plain = oriented_noise(tail, x_t, t, noise, settings, problem, draws(0, 64))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under = oriented_noise(tail, x_t, t, noise, settings, problem, draws(0, 64))
        assert under.dtype == torch.float32
        assert torch.equal(plain, under)

    def test_no_tensor_has_all_pairs_times_all_pixels(self, make_images, make_problem):
        """64 pairs squared of 3072 pixels would be 100 MB in float64; matrices and images of the batch are below 2."""
        from torch.utils._python_dispatch import TorchDispatchMode

        class Largest(TorchDispatchMode):
            size = 0

            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                out = func(*args, **(kwargs or {}))
                if isinstance(out, torch.Tensor):
                    self.size = max(self.size, out.numel())
                return out

        large = as_batch(make_images((32, 20, 12), (3, 32, 32)))
        x_t, t, noise = noisy(large, 800)
        with Largest() as largest:
            oriented_noise(large, x_t, t, noise, OCSettings(), make_problem(COUNTS), draws(0, 64))
        assert largest.size == 64 * 3072


class TestGradients:
    def test_the_selection_has_no_gradient(self, batch, problem):
        learnt = replace(batch, x_0=batch.x_0.clone().requires_grad_())
        x_t, t, noise = noisy(learnt, 999)
        assert x_t.requires_grad
        assert not oriented_noise(learnt, x_t, t, noise, OCSettings(), problem, draws()).requires_grad

    def test_the_error_reaches_the_own_label_alone_and_as_for_a_constant_target(self, batch, problem):
        """Some targets are images of other labels, whose numbers have no gradient from there."""
        settings = OCSettings(transfer="full", label_drop=0.0)
        net, step = ByLabel(), draws(16)
        OC(settings, problem).loss(net, batch, step).total.backward()
        t, noise = step.integers("t", 1000), step.normal("noise", *SHAPE)
        x_t = DDPMProcess().add_noise(batch.x_0, t, noise)
        target, sources = slow_target(batch, x_t, t, settings, COUNTS, step.uniform("transfer"))
        assert any(batch.labels[j] != batch.labels[i] for i, j in enumerate(sources))
        number = torch.linspace(-1, 2, 4).double()
        for y in range(4):
            own = batch.labels == y
            by_hand = 2 * (number[y] - target[own]).mean((1, 2, 3)).sum() / BATCH if own.any() else torch.tensor(0.0)
            assert net.number.grad[y].item() == pytest.approx(by_hand.item(), rel=1e-4, abs=1e-7)

    @pytest.mark.parametrize("mode", MODES)
    def test_a_dropped_label_is_not_told_and_still_gates(self, mode, tail, make_problem):
        net, problem = ByLabel(6), make_problem((500, 240, 110, 60, 20), SHAPE)
        step = draws(64, 64)
        loss = OC(OCSettings(transfer=mode, label_drop=1.0), problem).loss(net, tail, step)
        assert net.calls[0].tolist() == [5] * 64
        t, noise = step.integers("t", 1000), step.normal("noise", *SHAPE)
        x_t = DDPMProcess().add_noise(tail.x_0, t, noise)
        target = oriented_noise(tail, x_t, t, noise, OCSettings(transfer=mode), problem, step)
        assert loss.total.item() == pytest.approx((2.0 - target).square().mean().item(), rel=1e-5)


def test_a_rare_class_is_led_to_frequent_ones_by_t2h_and_a_frequent_one_to_rare_ones_by_h2t(tail, make_problem):
    problem = make_problem((500, 240, 110, 60, 20), SHAPE)
    x_t, t, noise = noisy(tail, 999)
    moved = {}
    for mode in ("t2h", "h2t"):
        target = oriented_noise(tail, x_t, t, noise, OCSettings(transfer=mode), problem, draws(0, 64))
        step = tail.labels[sources_of(target, x_t, t, tail)] - tail.labels  # the larger the label, the rarer
        moved[mode] = (int(step.min()), int(step.max()))
    assert moved["t2h"][0] < 0 == moved["t2h"][1]
    assert moved["h2t"][0] == 0 < moved["h2t"][1]
