"""The process `flow` against its definition, its samplers against exact solutions, and methods under it, one sample at a time.

Definition (Liu et al. 2209.03003, Lipman et al. 2210.02747, with s = 0 the image and s = 1 noise): x_s = (1 - s) x_0 + s noise,
and the network predicts dx_s / ds = noise - x_0 from x_s and 1000 s.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from small import BATCH, SHAPE, draws
from torch import nn

from ltgen_bench.core.errors import UserError
from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.diffusion.ddpm_process import DDPMProcess
from ltgen_bench.diffusion.flow_process import FlowProcess
from ltgen_bench.diffusion.guidance import Guidance, guided
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import Batch
from ltgen_bench.methods.cbdm import CBDM, CBDMSettings
from ltgen_bench.methods.cfg import CFG
from ltgen_bench.methods.label_drop import LabelDropSettings
from ltgen_bench.sampling.samplers import SAMPLERS, check_sampler, samplers_of

FLOW = FlowProcess()
FITTING = [name for name in METHODS if METHODS[name].needs_process is None]


def some(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestPath:
    def test_x_t_and_target_are_those_of_the_definition(self):
        x_0, own = some(0, 64, *SHAPE).clamp(-1, 1), draws(batch=64)
        x_t, t, target = FLOW.noised(x_0, own)
        s, noise = draws(batch=64).uniform("t").double().view(-1, 1, 1, 1), draws(batch=64).normal("noise", *SHAPE).double()
        assert torch.allclose(x_t.double(), (1 - s) * x_0 + s * noise, atol=1e-6)
        assert torch.equal(target, noise.float() - x_0)
        assert torch.allclose(t.double() / 1000, s.view(-1), atol=1e-6)
        assert (x_t.dtype, t.dtype, target.dtype) == (torch.float32,) * 3

    def test_the_target_is_the_derivative_of_the_path(self):
        x_0, noise, h = some(0, 5, *SHAPE).double(), some(1, 5, *SHAPE).double(), 1.0
        t = torch.tensor([1.0, 200.0, 500.0, 800.0, 999.0], dtype=torch.float64)
        slope = (FLOW.add_noise(x_0, t + h, noise) - FLOW.add_noise(x_0, t - h, noise)) / (2 * h / 1000)
        assert torch.allclose(slope, FLOW.target(x_0, noise), atol=1e-9)

    def test_it_goes_from_the_image_to_noise_and_time_is_uniform(self):
        x_0, noise = some(0, 2, *SHAPE), some(1, 2, *SHAPE)
        assert torch.equal(FLOW.add_noise(x_0, torch.zeros(2), noise), x_0)
        assert torch.equal(FLOW.add_noise(x_0, torch.full((2,), 1000.0), noise), noise)
        times = FLOW.times(draws(batch=20_000))
        assert 0 <= times.min() < times.max() < 1000
        assert stats.kstest(FLOW.fraction(times).numpy(), "uniform").pvalue > 1e-3

    def test_it_is_the_path_of_the_schedulers_of_diffusers(self):
        from diffusers import FlowMatchEulerDiscreteScheduler

        scheduler, x_0, noise = FlowMatchEulerDiscreteScheduler(), some(0, 3, *SHAPE), some(1, 3, *SHAPE)
        t = scheduler.timesteps[[0, 400, 998]]
        assert torch.allclose(FLOW.add_noise(x_0, t, noise), scheduler.scale_noise(x_0, t, noise), atol=1e-6)
        scheduler.set_timesteps(1)
        one_step = scheduler.step(FLOW.target(x_0, noise), scheduler.timesteps[0], noise).prev_sample
        assert torch.allclose(one_step, x_0, atol=1e-6)

    @pytest.mark.parametrize("t", [5.0, 300.0, 990.0])
    def test_the_divergence_is_that_of_the_reverse_steps(self, t):
        """Of the reverse SDE dx = (f x - g^2 score) ds + g dw with the marginals of the path, f = -1 / (1 - s)."""
        s, x, one, other = t / 1000, 0.7, 0.3, -0.4
        f, g2 = -1 / (1 - s), 2 * s / (1 - s)
        steps = [torch.distributions.Normal(torch.tensor(x - (f * x + g2 * (x + (1 - s) * v) / s) / 1000).double(),
                                            math.sqrt(g2 / 1000)) for v in (one, other)]
        expected = torch.distributions.kl_divergence(*steps).item()
        found = FLOW.reverse_divergence(torch.tensor([t])).item() * (one - other) ** 2
        assert found == pytest.approx(expected, rel=1e-4)


class TestDDPM:
    """The bits of before there were processes."""

    def test_draws_and_order_of_operations_are_as_they_were(self):
        x_0, process = some(0, BATCH, *SHAPE), DDPMProcess()
        bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), dim=0)
        t, noise = draws().integers("t", 1000), draws().normal("noise", *SHAPE)
        signal, spread = bars.sqrt().float()[t].view(-1, 1, 1, 1), (1 - bars).sqrt().float()[t].view(-1, 1, 1, 1)
        for found, expected in zip(process.noised(x_0, draws()), (signal * x_0 + spread * noise, t, noise), strict=True):
            assert torch.equal(found, expected)
            assert found.dtype == expected.dtype
        assert torch.equal(process.fraction(3.0 * t), 3.0 * t / 1000)


def exact_velocity(mean, deviation):
    """E[noise - x_0 | x_s = x] where x_0 is normal: from the joint covariance of x_s with noise - x_0."""
    def velocity(x, s):
        variance = (1 - s) ** 2 * deviation ** 2 + s ** 2
        return -mean + (s - (1 - s) * deviation ** 2) / variance * (x - (1 - s) * mean)
    return velocity


def solved(name, steps, velocity, x):
    """What a sampler makes of `x` at s = 1, and how often it asked for the velocity."""
    scheduler, asked = SAMPLERS[name].make(steps), 0
    for t in scheduler.timesteps:
        asked += 1
        x = scheduler.step(velocity(x, t.item() / 1000), t, x).prev_sample
    return x, asked


class TestSamplers:
    MEAN, DEVIATION = 0.3, 0.5
    START = torch.linspace(-3, 3, 25)

    def error(self, name, steps):
        """The ODE keeps the quantile: x_s = (1 - s) mean + sigma_s x_1, with sigma_1 = 1 and sigma_0 the deviation."""
        found, asked = solved(name, steps, exact_velocity(self.MEAN, self.DEVIATION), self.START)
        assert asked == steps
        s = 0.001 if name == "heun" and steps % 2 == 0 else 0.0  # where an even number of evaluations ends
        spread = math.sqrt((1 - s) ** 2 * self.DEVIATION ** 2 + s ** 2)
        return (found - ((1 - s) * self.MEAN + spread * self.START)).abs().max().item()

    @pytest.mark.parametrize(("name", "counts", "order"), [("euler", (21, 41, 81), 1), ("heun", (21, 41, 81), 2),
                                                           ("heun", (20, 40, 80), 2)])
    def test_they_converge_to_the_exact_solution_with_their_order(self, name, counts, order):
        errors = [self.error(name, steps) for steps in counts]
        orders = np.log2(np.array(errors[:-1]) / errors[1:])
        assert np.all(np.abs(orders - order) < 0.35), (errors, orders)
        assert errors[-1] < (0.05 if order == 1 else 1e-3)

    @pytest.mark.parametrize("name", ["euler", "heun"])
    @pytest.mark.parametrize("steps", [1, 2, 3, 7, 10])
    def test_steps_are_evaluations_whatever_their_number(self, name, steps):
        assert math.isfinite(self.error(name, steps))

    def test_an_euler_step_is_that_of_the_definition(self):
        scheduler, x = SAMPLERS["euler"].make(4), self.START
        sigmas = [*np.linspace(1, 0.001, 4), 0.0]
        for place, t in enumerate(scheduler.timesteps):
            v = some(place, 25)
            expected = x + (sigmas[place + 1] - sigmas[place]) * v
            x = scheduler.step(v, t, x).prev_sample
            assert t.item() == pytest.approx(1000 * sigmas[place])
            assert torch.allclose(x, expected, atol=1e-5)

    def test_a_heun_step_is_that_of_the_definition(self):
        """x' = x + h v(x), x + h (v(x) + v(x')) / 2; the last one is an Euler step."""
        scheduler, x, v = SAMPLERS["heun"].make(5), self.START, [some(place, 25) for place in range(5)]
        sigmas = [*np.linspace(1, 0.001, 3), 0.0]
        starts = []
        for place, t in enumerate(scheduler.timesteps):
            starts.append(x)
            x = scheduler.step(v[place], t, x).prev_sample
        first = self.START + (sigmas[1] - sigmas[0]) * (v[0] + v[1]) / 2
        second = first + (sigmas[2] - sigmas[1]) * (v[2] + v[3]) / 2
        assert torch.allclose(starts[1], self.START + (sigmas[1] - sigmas[0]) * v[0], atol=1e-5)
        assert torch.allclose(starts[2], first, atol=1e-5)
        assert torch.allclose(starts[4], second, atol=1e-4)
        assert torch.allclose(x, second + (sigmas[3] - sigmas[2]) * v[4], atol=1e-4)

    def test_a_sampler_of_another_process_is_refused_with_those_that_fit(self):
        assert samplers_of("flow") == ["heun", "euler"]
        with pytest.raises(UserError, match=r"sampler of process ddpm.*flow"):
            check_sampler("ddim", "flow")
        with pytest.raises(UserError, match="ddpm or ddim or dpm-solver"):
            check_sampler("heun", "ddpm")


def test_guidance_leads_where_the_exact_guided_flow_leads():
    """Two normal classes of one width about -1 and 1, and their mixture as "no label": v + omega (v_y - v_null) by quadrature."""
    omega, deviation = 1.5, 0.2

    def posterior(x, s, means):
        variance = (1 - s) ** 2 * deviation ** 2 + s ** 2
        weights = torch.softmax(torch.stack([-(x - (1 - s) * m) ** 2 / (2 * variance) for m in means]), 0)
        return sum(w * exact_velocity(m, deviation)(x, s) for w, m in zip(weights, means, strict=True))

    class Exact(nn.Module):
        def forward(self, x_t, t, labels):
            s = t.view(-1, 1, 1, 1) / 1000
            found = [posterior(x_t, s, means) for means in ([-1.0], [1.0], [-1.0, 1.0])]
            return torch.stack(found)[labels, torch.arange(len(labels))]

    denoiser = guided(Exact(), Guidance(omega), 2)
    start, labels = some(0, 6, 1, 1, 1), torch.tensor([0, 1, 0, 1, 0, 1])
    drawn, _ = solved("heun", 201, lambda x, s: denoiser(x, torch.full((6,), 1000 * s), labels), start)
    x, n = start.double(), 4000
    for step in range(n):  # the midpoint rule, in float64
        s, h = 1 - step / n, 1 / n
        def v(x, s):
            own = torch.where((labels == 0).view(-1, 1, 1, 1), posterior(x, s, [-1.0]), posterior(x, s, [1.0]))
            return own + omega * (own - posterior(x, s, [-1.0, 1.0]))
        x = x - h * v(x - h / 2 * v(x, s), s - h / 2)
    assert torch.allclose(drawn.double(), x, atol=5e-3)
    assert (drawn.view(-1).sign() == labels * 2 - 1).all()


def slow_flow(net, batch, drop, counts, own, tau=0.0, gamma=0.0):
    """CBDM's loss under flow (cfg's where tau is 0), as sums over samples."""
    s, noise = own.uniform("t").double(), own.normal("noise", *SHAPE).double()
    dropped = [own.coin("label-drop", drop)] * len(s)
    auxiliary = own.categorical("auxiliary-labels", torch.tensor(counts, dtype=torch.float32))
    mse = pull = pull_auxiliary = 0.0
    for i in range(len(s)):
        x_0 = batch.x_0[i].double()
        x_t, t = ((1 - s[i]) * x_0 + s[i] * noise[i])[None].float(), (1000 * s[i:i + 1]).float()
        h = net(x_t, t, torch.tensor([len(counts) if dropped[i] else int(batch.labels[i])]))[0].double()
        mse += (h - (noise[i] - x_0)).square().mean().item()
        if tau and not dropped[i]:
            apart = tau * s[i].item() * (h - net(x_t, t, auxiliary[i:i + 1])[0].double()).square().mean().item()
            pull, pull_auxiliary = pull + apart, pull_auxiliary + gamma * apart
    return {name: value / len(s) for name, value in (("mse", mse), ("pull", pull), ("pull_auxiliary", pull_auxiliary))}


@pytest.mark.parametrize(("method", "settings", "more"), [
    (CFG, LabelDropSettings(label_drop=0.4), {}),
    (CBDM, CBDMSettings(tau=1.0, gamma=0.25, label_drop=0.4), {"tau": 1.0, "gamma": 0.25}),
    (CBDM, CBDMSettings(tau=2.5, gamma=0.7, label_drop=0.4), {"tau": 2.5, "gamma": 0.7})], ids=["cfg", "cbdm", "cbdm-2.5"])
def test_cfg_and_cbdm_have_the_loss_of_the_slow_version(method, settings, more, make_network, make_problem, batch):
    problem, net, dropped = make_problem((20, 9, 4), SHAPE, FLOW), make_network(SHAPE, 3), set()
    for position in range(0, 64, 8):
        with torch.no_grad():
            loss = method(settings, problem).loss(net, batch, draws(position))
            expected = slow_flow(net, batch, 0.4, (20, 9, 4), draws(position), **more)
        assert loss.total.item() == pytest.approx(sum(expected.values()), rel=1e-5)
        for name, term in loss.terms.items():
            assert term.item() == pytest.approx(expected[name], rel=1e-5, abs=1e-9)
        dropped.add(len(loss.terms) == 1)
    assert dropped == ({True, False} if method is CBDM else {True})


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("name", FITTING)
def test_a_network_that_predicts_the_target_has_no_error(name, process, make_problem, make_network, batch):
    """Of every method that runs under both: what it regresses is the target, and all labels' predictions agree."""
    kind, own = PROCESSES[process](), draws(8)
    x_t, t, target = kind.noised(batch.x_0, own)
    net = make_network(SHAPE, 3)

    class Perfect(nn.Module):
        def forward(self, noisy, times, labels, augment=None, *, middle=False):
            assert torch.equal(noisy[:BATCH], x_t)
            assert torch.equal(times[:BATCH], t)
            told = target.repeat(len(noisy) // BATCH, 1, 1, 1)
            return (told, net(noisy, times, labels, middle=True)[1]) if middle else told

    method = METHODS[name](METHODS[name].Settings(), make_problem((20, 9, 4), SHAPE, kind))
    method.adapt_network(net)
    loss = method.loss(Perfect(), batch, own)
    errors = {term: value.item() for term, value in loss.terms.items() if term not in ("contrast", "ucl", "overlap")}
    assert errors
    assert set(errors.values()) == {0.0}


def test_every_other_method_says_why_not():
    assert set(FITTING) == {"ddpm", "cfg", "cbdm", "ccua", "coral", "resample", "reweight", "diffrop-style", "igd-ml-style"}
    for name in set(METHODS) - set(FITTING):
        process, reason = METHODS[name].needs_process
        assert process == "ddpm"
        assert len(reason) > 20


def test_the_schedule_of_ddpm_is_refused_under_flow(make_problem):
    assert make_problem((2, 1), SHAPE).schedule.T == 1000
    with pytest.raises(UserError, match="needs_process"):
        _ = make_problem((2, 1), SHAPE, FLOW).schedule


def test_a_batch_is_noised_by_the_process_of_the_problem(make_problem):
    method, images = CFG(LabelDropSettings(), make_problem((20, 9, 4), SHAPE, FLOW)), some(0, BATCH, *SHAPE)
    found = method.noised(Batch(images, torch.zeros(BATCH, dtype=torch.int64)), draws())
    assert all(torch.equal(*pair) for pair in zip(found, FLOW.noised(images, draws()), strict=True))
