"""CBDM and CFG against a slow version that takes one sample at a time, and the paths that gradients may take.

The slow version is written from methods.md sections 2 and 3, with plain Python numbers where that is possible.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from small import BATCH, SHAPE, ByLabel, draws

from ltgen_bench.methods.base import Batch
from ltgen_bench.methods.cbdm import CBDM, CBDMSettings
from ltgen_bench.methods.cfg import CFG
from ltgen_bench.methods.label_drop import LabelDropSettings, drop_labels


def settings_grid():
    for unit in ("batch", "sample"):
        for law in ("train-frequency", "square-root", "uniform"):
            for tau, gamma in ((1.0, 0.25), (2.0, 0.7)):
                yield CBDMSettings(label_drop_unit=unit, auxiliary_labels=law, tau=tau, gamma=gamma, label_drop=0.3)


def slow_cbdm(net, batch, settings, problem, draws):
    """L of methods.md section 3 as sums over samples and pixels; the draws are those of the same names."""
    t, noise = draws.integers("t", 1000), draws.normal("noise", *SHAPE)
    if settings.label_drop_unit == "batch":
        dropped = [draws.coin("label-drop", settings.label_drop)] * len(t)
    else:
        dropped = [u < settings.label_drop for u in draws.uniform("label-drop").tolist()]
    power = {"train-frequency": 1.0, "square-root": 0.5, "uniform": 0.0}[settings.auxiliary_labels]
    auxiliary = draws.categorical("auxiliary-labels", torch.tensor(problem.class_counts, dtype=torch.float32) ** power)
    bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    mse = pull = pull_auxiliary = 0.0
    for i in range(len(t)):
        bar = bars[int(t[i])]
        x_t = (np.sqrt(bar) * batch.x_0[i] + np.sqrt(1 - bar) * noise[i])[None].float()
        label = 3 if dropped[i] else int(batch.labels[i])
        h = net(x_t, t[i:i + 1], torch.tensor([label]))[0].double()
        h_aux = net(x_t, t[i:i + 1], auxiliary[i:i + 1])[0].double()
        weight = 0.0 if dropped[i] else settings.tau * int(t[i]) / 1000
        mse += (h - noise[i]).square().mean().item()
        pull += weight * (h - h_aux).square().mean().item()
        pull_auxiliary += settings.gamma * weight * (h - h_aux).square().mean().item()
    return {name: value / len(t) for name, value in (("mse", mse), ("pull", pull), ("pull_auxiliary", pull_auxiliary))}


@pytest.mark.parametrize("settings", list(settings_grid()), ids=lambda s: f"{s.label_drop_unit}-{s.auxiliary_labels}-{s.tau:g}")
def test_the_loss_is_that_of_the_slow_version(settings, make_network, batch, problem):
    net = make_network(SHAPE, 3)
    seen = set()
    for position in (0, 8, 32):
        with torch.no_grad():
            loss = CBDM(settings, problem).loss(net, batch, draws(position))
            expected = slow_cbdm(net, batch, settings, problem, draws(position))
        assert loss.total.item() == pytest.approx(sum(expected.values()), rel=1e-5)
        for name, term in loss.terms.items():
            assert term.item() == pytest.approx(expected[name], rel=1e-5, abs=1e-9)
        seen.add(frozenset(loss.terms))
    everything = frozenset({"mse", "pull", "pull_auxiliary"})
    assert seen == ({everything, frozenset({"mse"})} if settings.label_drop_unit == "batch" else {everything})


def test_tau_0_is_cfg(make_network, batch, problem):
    net = make_network(SHAPE, 3)
    for unit in ("batch", "sample"):
        for position in range(0, 80, 8):
            drop = {"label_drop": 0.5, "label_drop_unit": unit}
            cbdm = CBDM(CBDMSettings(tau=0.0, **drop), problem).loss(net, batch, draws(position))
            cfg = CFG(LabelDropSettings(**drop), problem).loss(net, batch, draws(position))
            assert cbdm.total.item() == pytest.approx(cfg.total.item(), rel=1e-6)


def test_tau_0_is_cfg_bit_for_bit_where_the_batch_size_does_not_matter(batch, problem):
    for position in range(0, 80, 8):
        nets = ByLabel(), ByLabel()
        losses = (CBDM(CBDMSettings(tau=0.0), problem).loss(nets[0], batch, draws(position)),
                  CFG(LabelDropSettings(), problem).loss(nets[1], batch, draws(position)))
        for loss in losses:
            loss.total.backward()
        assert torch.equal(losses[0].total, losses[1].total)
        assert torch.equal(nets[0].number.grad, nets[1].number.grad)


def test_without_dropout_and_with_y_prime_equal_to_y_the_penalty_is_zero(make_network, make_problem):
    """All training images are of class 1, so y' can only be 1."""
    images = Batch(torch.zeros(BATCH, *SHAPE), torch.ones(BATCH, dtype=torch.int64))
    settings = CBDMSettings(tau=5.0, label_drop=0.0)
    loss = CBDM(settings, make_problem((0, 30, 0), SHAPE)).loss(make_network(SHAPE, 3), images, draws())
    assert loss.terms["pull"] < 1e-12
    assert loss.terms["pull_auxiliary"] < 1e-12
    assert loss.terms["mse"] > 0.1


def test_with_dropout_the_two_predictions_have_masks_of_their_own(make_network, make_problem):
    images = Batch(torch.zeros(BATCH, *SHAPE), torch.ones(BATCH, dtype=torch.int64))
    net = make_network(SHAPE, 3, dropout=0.5).train()
    loss = CBDM(CBDMSettings(label_drop=0.0), make_problem((0, 30, 0), SHAPE)).loss(net, images, draws())
    assert loss.terms["pull"] > 1e-4


class TestGradients:
    """Labels 0 and 1 are in the batch, y' is always 2: the parameters of the two branches are apart."""

    def gradients(self, term, make_problem, **more):
        """The gradient of one weight of the three: the others' share is taken away by a difference of settings."""
        images = Batch(torch.zeros(BATCH, *SHAPE), torch.arange(BATCH) % 2)
        problem = make_problem((0, 0, 30), SHAPE)
        found = {}
        for name, values in {"mse": {"tau": 0.0}, "both": {"tau": 1.0, "gamma": 0.5}, "pull": {"tau": 1.0, "gamma": 0.0}}.items():
            net = ByLabel()
            CBDM(CBDMSettings(label_drop=0.0, **values, **more), problem).loss(net, images, draws()).total.backward()
            found[name] = net.number.grad
        return {"mse": found["mse"], "pull": found["pull"] - found["mse"],
                "pull_auxiliary": found["both"] - found["pull"]}[term]

    def test_the_squared_error_reaches_the_true_labels_branch_only(self, make_problem):
        gradient = self.gradients("mse", make_problem)
        assert (gradient[:2] != 0).all()
        assert (gradient[2:] == 0).all()

    def test_pull_flows_only_through_the_true_labels_branch(self, make_problem):
        gradient = self.gradients("pull", make_problem)
        assert (gradient[:2].abs() > 1e-3).all()
        assert (gradient[2:] == 0).all()

    def test_pull_auxiliary_flows_only_through_the_second_labels_branch(self, make_problem):
        gradient = self.gradients("pull_auxiliary", make_problem)
        assert gradient[2].abs() > 1e-3
        assert (gradient[[0, 1, 3]].abs() < 1e-7).all()

    def test_their_size_is_that_of_the_formula(self, make_problem):
        """d/dh_y mean(w (h_y - h')^2) by hand: sum over the samples of y of 2 w (h_y - h_2) / B."""
        weight = draws().integers("t", 1000).double() / 1000
        number = torch.linspace(-1, 2, 4).double()
        for y in (0, 1):
            expected = 2 * (weight * (torch.arange(BATCH) % 2 == y)).sum() * (number[y] - number[2]) / BATCH
            assert self.gradients("pull", make_problem)[y].item() == pytest.approx(expected.item(), rel=1e-4)
        labels = torch.arange(BATCH) % 2
        expected = 0.5 * 2 * (weight * (number[2] - number[labels])).sum() / BATCH
        assert self.gradients("pull_auxiliary", make_problem)[2].item() == pytest.approx(expected.item(), rel=1e-4)


class TestLabelDrop:
    def test_a_dropped_batch_has_one_forward_pass_no_penalty_and_null_labels(self, batch, problem):
        net = ByLabel()
        loss = CBDM(CBDMSettings(label_drop=1.0), problem).loss(net, batch, draws())
        assert set(loss.terms) == {"mse"}
        [labels] = net.calls
        assert labels.tolist() == [3] * BATCH

    def test_otherwise_both_predictions_are_one_doubled_forward_pass(self, batch, problem):
        net = ByLabel()
        CBDM(CBDMSettings(label_drop=0.0), problem).loss(net, batch, draws())
        [labels] = net.calls
        assert torch.equal(labels[:BATCH], batch.labels)
        assert (labels[BATCH:] < 3).all()

    def test_the_coin_of_a_batch_falls_as_often_as_asked_and_for_all(self, batch):
        settings = LabelDropSettings(label_drop=0.1)
        fell = 0
        for step in range(2000):
            labels, dropped = drop_labels(batch.labels, 3, settings, draws(8 * step))
            assert torch.equal(labels, torch.full_like(labels, 3) if dropped else batch.labels)
            fell += dropped
        assert stats.binomtest(fell, 2000, 0.1).pvalue > 1e-3

    def test_the_coins_of_samples_fall_as_often_and_apart(self, batch):
        settings = LabelDropSettings(label_drop=0.1, label_drop_unit="sample")
        masks = []
        for step in range(500):
            labels, mask = drop_labels(batch.labels, 3, settings, draws(8 * step))
            assert torch.equal(labels == 3, mask)
            assert torch.equal(labels[~mask], batch.labels[~mask])
            masks.append(mask)
        masks = torch.stack(masks)
        assert stats.binomtest(int(masks.sum()), masks.numel(), 0.1).pvalue > 1e-3
        assert 0 < masks.float().mean(1).std() < 0.2  # a batch is hardly ever dropped whole

    @pytest.mark.parametrize("method", [CFG, CBDM])
    def test_both_methods_drop_the_same_batches_at_the_same_seed(self, method, batch, problem):
        dropped = []
        for step in range(100):
            net = ByLabel()
            method(method.Settings(label_drop=0.3), problem).loss(net, batch, draws(8 * step))
            dropped.append(bool((net.calls[0][:BATCH] == 3).all()))
        assert dropped == [draws(8 * step).coin("label-drop", 0.3) for step in range(100)]
        assert 10 < sum(dropped) < 50


@pytest.mark.parametrize(("law", "shares"), [
    ("train-frequency", [20 / 33, 9 / 33, 4 / 33]), ("uniform", [1 / 3] * 3),
    ("square-root", np.sqrt([20, 9, 4]) / np.sqrt([20, 9, 4]).sum())])
def test_the_second_label_follows_its_law_and_not_the_first(law, shares, problem):
    labels = torch.arange(2000) % 3
    images = Batch(torch.zeros(2000, 1, 1, 1), labels)
    tall = CBDM(CBDMSettings(auxiliary_labels=law, label_drop=0.0), replace(problem, image_shape=(1, 1, 1)))
    drawn = []
    for step in range(5):
        net = ByLabel()
        tall.loss(net, images, draws(2000 * step, 2000))
        drawn.append(net.calls[0][2000:])
    counts = np.bincount(torch.cat(drawn), minlength=3)
    assert stats.chisquare(counts, np.array(shares) * 10_000).pvalue > 1e-3
    table = np.array([np.bincount(torch.cat(drawn)[labels.repeat(5) == y], minlength=3) for y in range(3)])
    assert stats.chi2_contingency(table).pvalue > 1e-3  # independent of y


@pytest.mark.parametrize(("law", "weights"), [
    ("train-frequency", (5000.0, 2997.0, 1796.0, 50.0, 1.0)), ("uniform", (1.0,) * 5),
    ("square-root", tuple(np.float32(np.sqrt([5000, 2997, 1796, 50, 1]))))])
def test_the_weights_of_y_prime_are_float32(law, weights, make_problem):
    """Drawn from float64 on a GPU, y' would be other labels under the same digest."""
    found = CBDM(CBDMSettings(auxiliary_labels=law), make_problem((5000, 2997, 1796, 50, 1), SHAPE)).auxiliary_weights()
    assert found.dtype == torch.float32
    assert tuple(found.tolist()) == weights
