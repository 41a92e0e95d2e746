"""Every step of every sampler against its formula, and guidance."""

import math

import pytest
import torch
from torch import nn

from ltgen_bench.core.errors import UserError
from ltgen_bench.diffusion.guidance import Guidance, guided
from ltgen_bench.sampling.samplers import SAMPLERS

BETAS = [1e-4 + (0.02 - 1e-4) * t / 999 for t in range(1000)]
BARS = torch.cumprod(1 - torch.tensor(BETAS, dtype=torch.float64), 0).tolist()


def bar(t):
    """alphas_bar_t, and 1 before the first step."""
    return BARS[t] if t >= 0 else 1.0


def ddpm_step(x_t, eps, t, previous, noise):
    """Ho et al.: the mean of the posterior from the unclipped x_0, variance beta_t, no noise at t = 0."""
    alpha = bar(t) / bar(previous)
    x_0 = (x_t - math.sqrt(1 - bar(t)) * eps) / math.sqrt(bar(t))
    mean = (math.sqrt(bar(previous)) * (1 - alpha) / (1 - bar(t)) * x_0
            + math.sqrt(alpha) * (1 - bar(previous)) / (1 - bar(t)) * x_t)
    return mean + (math.sqrt(1 - alpha) * noise if t > 0 else 0)


def ddim_step(x_t, eps, t, stride):
    """The released code of OC: x_p from x_t with p = max(t - stride, 0)."""
    p = max(t - stride, 0)
    return math.sqrt(bar(p) / bar(t)) * x_t + (math.sqrt(1 - bar(p)) - math.sqrt(bar(p) * (1 - bar(t)) / bar(t))) * eps


def walk(sampler, steps, step):
    """Compare every step of `sampler` with `step(x, eps, t, generator)`, from the sampler's own position."""
    scheduler = SAMPLERS[sampler].make(steps)
    own, twin = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    extra = {"generator": [own]} if SAMPLERS[sampler].stochastic else {}
    source = torch.Generator().manual_seed(0)
    x_t = torch.randn(1, 1, 4, 4, generator=source)
    visited = []
    for t in scheduler.timesteps:
        eps = torch.randn(1, 1, 4, 4, generator=source)
        expected = step(x_t.double(), eps.double(), int(t), twin)
        x_t = scheduler.step(eps, t, x_t, **extra).prev_sample
        assert torch.allclose(x_t.double(), expected, rtol=1e-4, atol=2e-4), f"step {int(t)}"
        assert x_t.dtype == torch.float32
        visited.append(int(t))
    return visited


@pytest.mark.parametrize("steps", [1000, 100, 10])
def test_every_ddpm_step_is_that_of_the_paper(steps):
    stride = 1000 // steps

    def step(x_t, eps, t, generator):
        noise = torch.randn(1, 1, 4, 4, generator=generator).double() if t > 0 else None
        return ddpm_step(x_t, eps, t, t - stride if t >= stride else -1, noise)

    assert walk("ddpm", steps, step) == list(range(1000 - stride, -1, -stride))


def test_with_all_steps_the_variance_of_ddpm_is_beta():
    """methods.md section 1: `fixedlarge` is beta_t for t >= 1."""
    for t in (1, 2, 500, 999):
        assert 1 - bar(t) / bar(t - 1) == pytest.approx(BETAS[t], rel=1e-9)


@pytest.mark.parametrize("steps", [1000, 100, 50, 20])
def test_every_ddim_step_is_that_of_the_released_code(steps):
    stride = 1000 // steps
    visited = walk("ddim", steps, lambda x_t, eps, t, _: ddim_step(x_t, eps, t, stride))
    assert visited == list(range(1000 - stride, -1, -stride))


def test_the_last_ddim_step_is_the_identity():
    scheduler = SAMPLERS["ddim"].make(10)
    x = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(scheduler.step(torch.ones_like(x), torch.tensor(0), x).prev_sample, x, atol=1e-6)


def spread(sampler, steps, deviation):
    """Standard deviation of the samples of Gaussian data under the exact eps: all is linear, so one number follows it."""
    scheduler = SAMPLERS[sampler].make(steps)
    x = torch.ones(1, 1, 1, 1)
    for t in scheduler.timesteps:
        eps = math.sqrt(1 - bar(int(t))) / (bar(int(t)) * deviation**2 + 1 - bar(int(t))) * x
        x = scheduler.step(eps, t, x).prev_sample
    return abs(x.item())


@pytest.mark.parametrize("deviation", [0.1, 0.2, 0.4, 0.6, 0.8])
@pytest.mark.parametrize(("steps", "bound"), [(20, 0.015), (25, 0.01), (40, 0.004), (50, 0.004), (100, 0.004), (1000, 0.004)])
def test_dpm_solver_keeps_the_spread_of_gaussian_data(steps, bound, deviation):
    assert spread("dpm-solver++", steps, deviation) == pytest.approx(deviation, rel=bound)


@pytest.mark.parametrize("steps", [2, 20, 25, 38, 39, 40, 50, 100, 333, 999, 1000])
def test_dpm_solver_asks_the_network_at_distinct_times_and_at_their_noise_levels(steps):
    scheduler = SAMPLERS["dpm-solver++"].make(steps)
    times = scheduler.timesteps.tolist()
    assert len(times) == steps
    assert times == sorted(set(times), reverse=True)
    assert (times[0], times[-1]) == (999, 0)
    levels = torch.tensor([math.sqrt((1 - bar(t)) / bar(t)) for t in times])
    assert torch.allclose(scheduler.sigmas[:-1], levels, rtol=0 if steps > 38 else 0.25, atol=1e-4)


def test_up_to_38_steps_dpm_solver_keeps_its_even_steps():
    sigmas = SAMPLERS["dpm-solver++"].make(38).sigmas[:-1].log()
    assert torch.allclose(sigmas.diff(), sigmas.diff().mean(), atol=1e-5)


@pytest.mark.parametrize(("steps", "error"), [(20, 0.0505), (25, 0.0311)])
def test_within_the_modes_of_a_mixture_dpm_solver_errs_more(steps, error):
    """Three modes of deviation 0.1 at -0.9, 0 and 0.9 under the exact eps: the figures stated beside the sampler."""
    scheduler, modes = SAMPLERS["dpm-solver++"].make(steps), torch.tensor([-0.9, 0.0, 0.9], dtype=torch.float64)
    x = torch.special.ndtri((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000)
    for t in scheduler.timesteps:
        away, variance = x[:, None] - math.sqrt(bar(int(t))) * modes, bar(int(t)) * 0.01 + 1 - bar(int(t))
        weights = (-away.square() / (2 * variance)).softmax(1)
        x = scheduler.step(math.sqrt(1 - bar(int(t))) * (weights * away).sum(1) / variance, t, x).prev_sample
    away = (x[:, None] - modes).gather(1, (x[:, None] - modes).abs().argmin(1, keepdim=True))
    assert away.std().item() / 0.1 - 1 == pytest.approx(error, abs=0.002)


def test_ddim_loses_more_than_dpm_solver_at_the_same_cost():
    assert abs(spread("ddim", 25, 0.5) - 0.5) > 3 * abs(spread("dpm-solver++", 25, 0.5) - 0.5)
    assert spread("ddim", 1000, 0.5) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(("sampler", "steps"), [("ddpm", 999), ("ddpm", 1), ("ddim", 30), ("ddim", 1)])
def test_a_number_of_steps_that_does_not_divide_1000_is_refused(sampler, steps):
    with pytest.raises(UserError, match=rf"sample\.steps: {sampler} takes every .* divide 1000; {steps} does not"):
        SAMPLERS[sampler].make(steps)


def test_dpm_solver_has_1000_times():
    with pytest.raises(UserError, match="at most 1000"):
        SAMPLERS["dpm-solver++"].make(1001)


def test_dpm_solver_needs_two_steps():
    with pytest.raises(UserError, match=r"sample\.steps: dpm-solver\+\+ .*at least 2"):
        SAMPLERS["dpm-solver++"].make(1)
    assert len(SAMPLERS["dpm-solver++"].make(2).timesteps) == 2


class Spy(nn.Module):
    """eps = label, wherever the label is; it notes every call."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x_t, t, labels):
        self.calls.append((x_t.clone(), t.clone(), labels.clone()))
        return (labels.float() + 1).view(-1, 1, 1, 1).expand_as(x_t)


class TestGuidance:
    x_t = torch.arange(3 * 4.0).view(3, 1, 2, 2)
    t = torch.tensor([5, 6, 7])
    labels = torch.tensor([0, 1, 2])

    @pytest.mark.parametrize("omega", [0.5, 1.0, 1.6, 4.0])
    def test_eps_is_cond_plus_omega_times_the_difference(self, omega):
        eps = guided(Spy(), Guidance(omega), 9)(self.x_t, self.t, self.labels)
        cond, null = self.labels.float() + 1, 10.0
        assert torch.allclose(eps[:, 0, 0, 0], cond + omega * (cond - null))

    def test_both_predictions_are_one_doubled_forward_pass(self):
        spy = Spy()
        guided(spy, Guidance(1.0), 9)(self.x_t, self.t, self.labels)
        [(x_t, t, labels)] = spy.calls
        assert torch.equal(x_t, torch.cat([self.x_t, self.x_t]))
        assert t.tolist() == [5, 6, 7, 5, 6, 7]
        assert labels.tolist() == [0, 1, 2, 9, 9, 9]

    def test_omega_zero_is_one_plain_forward_pass(self):
        spy = Spy()
        eps = guided(spy, Guidance(0.0), 9)(self.x_t, self.t, self.labels)
        [(x_t, _, labels)] = spy.calls
        assert torch.equal(x_t, self.x_t)
        assert torch.equal(labels, self.labels)
        assert torch.equal(eps, Spy()(self.x_t, self.t, self.labels))
