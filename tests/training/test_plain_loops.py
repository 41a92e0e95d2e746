"""Fast and plain loops are the same mathematics: losses, weights and images agree, in bf16 within a bound."""

import math

import numpy as np
import pytest
import torch
from benchmarks.plain_references import (
    EMA_DECAY,
    LOSSES,
    PlainLoop,
    first_noise,
    loss_of,
    plain_cbdm,
    plain_ddpm,
    plain_prdc,
    plain_sampling,
    wake,
)

from ltgen_bench.diffusion.draws import Draws, image_seed
from ltgen_bench.diffusion.guidance import Guidance, guided
from ltgen_bench.experiments.speed.sampler_rates import drawing, sampled_network, sampling_of
from ltgen_bench.experiments.speed.training_rates import COUNTS, SHAPE, loop_config
from ltgen_bench.methods.base import Batch
from ltgen_bench.sampling.solve import solve
from ltgen_bench.training.cost import DecidedDraws, flops_per_image, probing

CPU = torch.device("cpu")
STEPS = 50
BF16 = 0.02  # the bound for a loss in bf16, relative; its unit of rounding is 0.004


@pytest.fixture(scope="module")
def data(make_dataset):
    return make_dataset(shape=(3, 8, 8), flip=True)


def both(method, data, steps=STEPS, **overrides):
    """(our losses and the plain ones of as many steps without dropout, our loop, the plain one)."""
    batch = 4
    plain_half_life = round(batch * math.log(2) / -math.log(EMA_DECAY))
    small = {"network.preset": "digits", "network.channels": [8, 16], "network.dropout": 0.0, "train.compile": "no",
             "train.ema_halflife_images": plain_half_life, "train.ema_rampup": 0.0, "train.precision": "float32", **overrides}
    config = loop_config(method, "digits", batch, **small)
    ours, plain = probing(config, data, CPU, batch), PlainLoop(config, data, CPU)
    for loop in (ours, plain):
        wake(loop.net)
    return np.array([(loss_of(ours), loss_of(plain)) for _ in range(steps)]).T, ours, plain


@pytest.fixture(scope="module", params=list(LOSSES))
def in_float32(request, data):
    return both(request.param, data)


class TestTraining:
    def test_the_losses_of_fifty_steps_agree_in_float32(self, in_float32):
        (ours, plain), *_ = in_float32
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=0)
        assert np.ptp(plain) > 0.1, "losses that go somewhere"

    def test_so_do_the_weights_and_their_average(self, in_float32):
        """Measured as a whole: Adam gives a gradient that is zero but for rounding a sign of its own in each loop."""
        _, ours, plain = in_float32
        weights, average = ours.net.state_dict(), ours.ema.net.state_dict()
        assert apart(weights, plain.net.state_dict()) < 1e-3
        assert apart(average, plain.average) < 1e-5
        assert apart(weights, plain.average) > 5e-3, "fifty steps that are hardly averaged yet"

    @pytest.mark.parametrize("method", list(LOSSES))
    def test_in_bf16_they_stay_within_the_bound(self, method, data):
        (ours, plain), loop, _ = both(method, data, 20, **{"train.precision": "bf16"})
        assert loop.precision == "bf16"
        assert 1e-6 < (np.abs(ours - plain) / plain).max() < BF16

    @pytest.mark.parametrize("method", list(LOSSES))
    def test_both_do_the_same_operations(self, method, data):
        """Counted on the plain loop as on ours, by both sides of the coin of the label."""
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        config = loop_config(method, "digits", 2, **{"network.channels": [8, 16]})
        plain = PlainLoop(config, data, CPU)
        counts = {}
        for dropped in (True, False):
            plain.draws = lambda *given, dropped=dropped: DecidedDraws(*given, decided={"label-drop": dropped})
            with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
                plain.step()
            counts[dropped] = counter.get_total_flops() / 2
        assert 0.1 * counts[True] + 0.9 * counts[False] == pytest.approx(flops_per_image(config, data, CPU), rel=1e-6)


def apart(first, second):
    """The distance of two sets of weights, relative to the length of the second."""
    difference = sum(float((first[name] - value).double().square().sum()) for name, value in second.items())
    return math.sqrt(difference / sum(float(value.double().square().sum()) for value in second.values()))


class TestLosses:
    """The plain losses against numbers worked out one by one, on a network whose prediction is known."""

    BATCH = Batch(torch.linspace(-1, 1, 2 * 12).view(2, 3, 2, 2), torch.tensor([1, 0]))
    COUNTS = torch.tensor([30.0, 10.0])

    class Net(torch.nn.Module):
        def forward(self, x_t, t, labels):
            return x_t * 0.5 + labels.view(-1, 1, 1, 1)

    def expected(self, draws, dropped):
        """By loops over images and pixels, in float64."""
        t = draws.integers("t", 1000).tolist()
        noise = draws.normal("noise", 3, 2, 2).double().numpy()
        others = draws.categorical("auxiliary-labels", self.COUNTS).tolist()
        total = 0.0
        for image in range(2):
            alpha_bar = math.prod(1 - (1e-4 + (0.02 - 1e-4) * s / 999) for s in range(t[image] + 1))
            for x_0, eps in zip(self.BATCH.x_0[image].flatten().tolist(), noise[image].ravel(), strict=True):
                x_t = math.sqrt(alpha_bar) * x_0 + math.sqrt(1 - alpha_bar) * eps
                label = 2 if dropped else int(self.BATCH.labels[image])
                total += (0.5 * x_t + label - eps) ** 2
                if not dropped:
                    total += 1.25 * t[image] / 1000 * (label - others[image]) ** 2
        return total / 24

    @pytest.mark.parametrize("dropped", [True, False])
    def test_cbdm(self, dropped):
        draws = DecidedDraws(5, 0, 2, CPU, decided={"label-drop": dropped})
        assert draws.categorical("auxiliary-labels", self.COUNTS).tolist() != self.BATCH.labels.tolist()
        found = plain_cbdm(self.Net(), self.BATCH, draws, self.COUNTS)
        assert float(found) == pytest.approx(self.expected(draws, dropped), rel=1e-5)

    def test_ddpm(self):
        draws = Draws(5, 0, 2, CPU)
        t, noise = draws.integers("t", 1000), draws.normal("noise", 3, 2, 2)
        found = plain_ddpm(self.Net(), self.BATCH, draws, self.COUNTS)
        bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[t].view(-1, 1, 1, 1)
        x_t = bars.sqrt() * self.BATCH.x_0 + (1 - bars).sqrt() * noise
        wrong = x_t / 2 + self.BATCH.labels.view(-1, 1, 1, 1) - noise
        assert float(found) == pytest.approx(float(wrong.square().mean()), rel=1e-5)


class TestSampling:
    @pytest.mark.parametrize("omega", [0.0, 1.5])
    def test_ours_draws_what_the_plain_sampler_draws(self, omega):
        net = sampled_network("digits", CPU)
        wake(net)
        sampling = sampling_of(omega, "float32", 2, 4)
        plain = plain_sampling(net, *first_noise(sampling, CPU), len(COUNTS), omega, 4)
        denoiser = guided(net, Guidance(omega), net.null_label)
        seeds = [image_seed(sampling.config.seed, number) for number in range(2)]
        for dtype, bound in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                ours = solve(denoiser, torch.tensor([0, 1]), seeds, SHAPE, sampling.config, CPU)
            assert float((ours - plain).abs().max() / plain.abs().max()) < bound

    @pytest.mark.parametrize(("omega", "ours", "plain"), [(1.5, [8, 8], [4, 4, 4, 4]), (0.0, [4, 4], [4, 4])])
    def test_guidance_is_one_doubled_batch_or_two_calls_and_is_left_out_at_zero(self, omega, ours, plain):
        net = sampled_network("digits", CPU)
        seen = []
        net.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
        sampling = sampling_of(omega, "float32", 4, 2)
        drawing(net, sampling, CPU)()
        assert seen == ours
        seen.clear()
        plain_sampling(net, *first_noise(sampling, CPU), len(COUNTS), omega, 2)
        assert seen == plain


def by_loops(generated, real, k):
    """prdc's four numbers, point by point; a ball is open."""
    def reach(points):
        return [sorted(np.linalg.norm(points - point, axis=1))[k] for point in points]

    around_real, around_generated = reach(real), reach(generated)
    distance = np.array([[np.linalg.norm(g - r) for g in generated] for r in real])
    inside = [[distance[i, j] < around_real[i] for j in range(len(generated))] for i in range(len(real))]
    return (np.mean([any(inside[i][j] for i in range(len(real))) for j in range(len(generated))]),
            np.mean([any(distance[i, j] < around_generated[j] for j in range(len(generated))) for i in range(len(real))]),
            np.sum(inside) / k / len(generated),
            np.mean([min(distance[i]) < around_real[i] for i in range(len(real))]))


def test_the_plain_metrics_are_prdcs_definition():
    rng = np.random.default_rng(0)
    generated, real = rng.standard_normal((40, 6)) + 0.3, rng.standard_normal((50, 6))
    assert plain_prdc(generated, real, 3) == pytest.approx(by_loops(generated, real, 3))
