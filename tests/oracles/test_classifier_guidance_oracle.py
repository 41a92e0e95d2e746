"""Classifier guidance against slow, literal versions, and against ddpm where it guides nothing."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.guidance import Guidance
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import Batch
from ltgen_bench.methods.classifier_guidance import ClassifierGuidance, ClassifierGuidanceSettings
from ltgen_bench.methods.noisy_classifier import NoisyClassifier, log_probability_gradient
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.training.checkpoint import checkpoints, load_checkpoint
from ltgen_bench.training.cost import flops_per_image
from ltgen_bench.training.loop import train, untrained_method

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)
NAME = "classifier-guidance"


@pytest.fixture
def classifier():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        return NoisyClassifier(SHAPE, 3, width=8, blocks=1).eval()


@pytest.fixture
def noisy():
    """(x_t, t, labels) of six images."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(6, *SHAPE, generator=generator), torch.tensor([0, 3, 90, 400, 800, 999]), torch.tensor([0, 1, 2, 2, 1, 0])


class Double(nn.Module):
    def forward(self, values):
        return values.double()


class TestGradient:
    def test_it_is_what_finite_differences_give(self, classifier, noisy):
        x_t, t, labels = noisy
        exact = copy.deepcopy(classifier).double()
        exact.time = nn.Sequential(classifier.time[0], Double(), exact.time[1])  # sines are made in float32

        def log_probability(x):
            logits = exact(x, t).detach()
            return torch.stack([logits[i, y] - logits[i].exp().sum().log() for i, y in enumerate(labels)])

        gradient = log_probability_gradient(classifier, x_t, t, labels).double()
        for place in range(0, 64, 5):
            step = torch.zeros(64, dtype=torch.float64)
            step[place] = 1e-5
            step = step.view(1, *SHAPE)
            slope = (log_probability(x_t.double() + step) - log_probability(x_t.double() - step)) / 2e-5
            assert torch.allclose(gradient.flatten(1)[:, place], slope, atol=1e-5, rtol=1e-3)
        assert gradient.abs().max() > 1e-3

    def test_of_a_gaussian_mixture_it_is_the_known_one(self, noisy):
        """Logits -||x - mu_k||^2 / 2 give d log p(y | x) / dx = mu_y - sum_k p(k | x) mu_k."""
        x_t, t, labels = noisy
        means = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))

        class Mixture(nn.Module):
            def forward(self, x, t):
                return -(x[:, None] - means).flatten(2).square().sum(2) / 2

        posterior = Mixture()(x_t, t).softmax(1)
        known = means[labels] - torch.einsum("bk,kchw->bchw", posterior, means)
        assert torch.allclose(log_probability_gradient(Mixture(), x_t, t, labels), known, atol=1e-5)

    def test_a_sampler_may_ask_in_inference_mode_and_in_bf16(self, classifier, noisy):
        plain = log_probability_gradient(classifier, *noisy)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            inside = log_probability_gradient(classifier, *(tensor.clone() for tensor in noisy))
        assert inside.dtype == torch.float32
        assert torch.equal(inside, plain)
        assert all(parameter.grad is None for parameter in classifier.parameters())

    def test_it_does_not_depend_on_the_other_images(self, classifier, noisy):
        together = log_probability_gradient(classifier, *noisy)
        alone = torch.cat([log_probability_gradient(classifier, *(tensor[i:i + 1] for tensor in noisy)) for i in range(6)])
        assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("omega", [0.3, 2.0])
def test_the_guided_noise_is_that_of_algorithm_2(omega, classifier, noisy, make_problem, make_network):
    x_t, t, labels = noisy
    net = make_network(SHAPE, 3).eval()
    method = ClassifierGuidance(ClassifierGuidanceSettings(), make_problem((20, 9, 4), SHAPE))
    method.classifier = classifier
    with torch.inference_mode():
        found = method.denoiser(net, Guidance(omega))(x_t.clone(), t, labels)
    assert found.dtype == torch.float32
    for i in range(len(t)):
        x = x_t[i:i + 1].clone().requires_grad_()
        logits = classifier(x, t[i:i + 1])[0]
        (logits[labels[i]] - torch.logsumexp(logits, 0)).backward()
        alphas_bar = math.prod(1 - (1e-4 + s * (0.02 - 1e-4) / 999) for s in range(int(t[i]) + 1))
        with torch.no_grad():
            expected = net(x_t[i:i + 1], t[i:i + 1], labels[i:i + 1]) - omega * math.sqrt(1 - alphas_bar) * x.grad
        assert torch.allclose(found[i:i + 1], expected, atol=1e-5)


def test_guidance_leads_uphill(classifier, noisy, make_problem):
    """A step against the change of the noise makes the label more probable."""
    x_t, t, labels = noisy
    method = ClassifierGuidance(ClassifierGuidanceSettings(), make_problem((20, 9, 4), SHAPE))
    method.classifier = classifier

    class Nothing(nn.Module):
        def forward(self, x, t, labels):
            return torch.zeros_like(x)

    eps = method.denoiser(Nothing(), Guidance(1.0))(x_t, t, labels)
    with torch.no_grad():
        before, after = (classifier(x, t).log_softmax(1).gather(1, labels[:, None]) for x in (x_t, x_t - 0.1 * eps.sign()))
    assert (after > before).all()


class Fixed(nn.Module):
    """Logits that are given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.seen = []

    def forward(self, x_t, t):
        self.seen.append((x_t, t))
        return self.logits.expand(len(x_t), -1) if self.logits.ndim == 1 else self.logits


class TestClassifierLoss:
    @pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
    def test_it_is_the_cross_entropy_with_tau_log_p_added(self, tau, make_problem):
        counts = (20, 9, 4)
        labels = torch.tensor([0, 1, 2, 0, 2])
        logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
        method = ClassifierGuidance(ClassifierGuidanceSettings(tau=tau), make_problem(counts, SHAPE))
        loss = method.classifier_loss(Fixed(logits), Batch(torch.zeros(5, *SHAPE), labels), Draws(0, 0, 5, CPU))
        direct = 0.0
        for i, y in enumerate(labels.tolist()):
            weighed = [math.exp(logits[i, c].item()) * (counts[c] / 33) ** tau for c in range(3)]
            direct -= math.log(weighed[y] / sum(weighed)) / 5
        assert loss.total.item() == pytest.approx(direct, rel=1e-5)
        assert loss.terms["cross_entropy"].item() == loss.total.item()
        assert not loss.terms["cross_entropy"].requires_grad

    @pytest.mark.parametrize(("tau", "best"), [(1.0, [1 / 3] * 3), (0.0, [20 / 33, 9 / 33, 4 / 33])])
    def test_where_images_say_nothing_the_best_it_can_say_is_the_prior_that_tau_leaves(self, tau, best, make_problem):
        labels = torch.tensor([0] * 20 + [1] * 9 + [2] * 4)
        method = ClassifierGuidance(ClassifierGuidanceSettings(tau=tau), make_problem((20, 9, 4), SHAPE))
        fixed = Fixed(torch.tensor(best).log())
        method.classifier_loss(fixed, Batch(torch.zeros(33, *SHAPE), labels), Draws(0, 0, 33, CPU)).total.backward()
        assert torch.allclose(fixed.logits.grad, torch.zeros(3), atol=1e-6)
        other = Fixed(torch.tensor([0.5, 0.3, 0.2]).log())
        method.classifier_loss(other, Batch(torch.zeros(33, *SHAPE), labels), Draws(0, 0, 33, CPU)).total.backward()
        assert other.logits.grad.abs().max() > 0.01

    def test_it_sees_the_networks_own_forward_process(self, make_problem):
        images = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(2))
        problem, draws = make_problem((20, 9, 4), SHAPE), Draws(7, 0, 4, CPU)
        fixed = Fixed(torch.zeros(3))
        ClassifierGuidance(ClassifierGuidanceSettings(), problem).classifier_loss(
            fixed, Batch(images, torch.tensor([0, 1, 2, 0])), draws)
        [(x_t, t)] = fixed.seen
        assert torch.equal(t, draws.integers("t", 1000))
        bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[t].view(-1, 1, 1, 1)
        expected = bars.sqrt() * images + (1 - bars).sqrt() * draws.normal("noise", *SHAPE)
        assert torch.allclose(x_t.double(), expected, atol=1e-5)


class TestClassifier:
    @pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 12, 16), (1, 5, 5)])
    def test_it_takes_images_of_any_size(self, shape):
        with torch.random.fork_rng(devices=[]):
            net = NoisyClassifier(shape, 7, width=8, blocks=2)
        logits = net(torch.zeros(2, *shape), torch.tensor([0, 999]))
        assert logits.shape == (2, 7)
        assert not any(True for _ in net.buffers()), "the average of weights knows no running statistics"

    def test_it_knows_how_noisy_its_image_is(self, classifier, noisy):
        x_t, t, _ = noisy
        assert (classifier(x_t, t) - classifier(x_t, t.flip(0))).abs().max() > 1e-3


def whole(make_config, dataset, folder, method, **more):
    config = make_config({"method.name": method, "train.budget_images": 96, "network.dropout": 0.1, **more})
    return config, train(config, dataset, folder, RunContext())


class TestInTheLoop:
    def test_without_guidance_it_is_ddpm_bit_for_bit(self, make_config, tiny_dataset, tmp_path, noisy):
        _, plain = whole(make_config, tiny_dataset, tmp_path / "ddpm", "ddpm")
        _, own = whole(make_config, tiny_dataset, tmp_path / "own", NAME)
        first, second = (load_checkpoint(checkpoints(tmp_path / place)[0])[0] for place in ("ddpm", "own"))
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[name]) for name, value in first.items())
        with torch.inference_mode():
            predictions = [trained.method.denoiser(trained.net, Guidance(0.0))(*noisy) for trained in (plain, own)]
            guided = own.method.denoiser(own.net, Guidance(1.0))(*noisy)
        assert torch.equal(*predictions)
        assert not torch.allclose(guided, predictions[1], atol=1e-4)

    def test_the_classifier_learns_the_classes_of_noisy_images(self, make_config, tiny_dataset, tmp_path):
        _, trained = whole(make_config, tiny_dataset, tmp_path, NAME,
                           **{"method.classifier_share": 10.0, "method.classifier_batch": 16, "method.classifier_width": 16})
        method = trained.method
        images, labels = (torch.from_numpy(part) for part in (tiny_dataset.test.images, tiny_dataset.test.labels))
        draws = Draws(1, 0, len(labels), CPU)
        t = torch.full((len(labels),), 150)
        x_t = method.problem.schedule.add_noise(images.float() / 127.5 - 1, t, draws.normal("noise", *SHAPE))
        with torch.no_grad():
            right = (method.classifier(x_t, t).argmax(1) == labels).float()
        assert [right[labels == c].mean() > 0.8 for c in range(3)] == [True] * 3, "rare classes too"
        assert not method.classifier.training
        assert not any(parameter.requires_grad for parameter in method.classifier.parameters())

    def test_the_classifier_counts_by_its_share_in_what_training_costs(self, make_config, tiny_dataset):
        flops = {share: flops_per_image(make_config({"method.name": NAME, "method.classifier_share": share}), tiny_dataset, CPU)
                 for share in (0.5, 1.5)}
        plain = flops_per_image(make_config(), tiny_dataset, CPU)
        assert flops[0.5] - plain == pytest.approx((flops[1.5] - plain) / 3)
        _, untrained = untrained_method(make_config({"method.name": NAME}), tiny_dataset, CPU)
        [(share, fitting)] = untrained.requests
        assert share == 0.5
        weights = sum(p.numel() for p in fitting.net.parameters() if p.ndim == 2)
        assert flops[0.5] - plain > 0.5 * 3 * 2 * weights, "at least its linear layers, forward and twice backward"

    def test_another_strength_is_the_same_training(self, make_config):
        digests = {make_config({"method.name": NAME, "sample.omega": omega}).train_digest("data") for omega in (0.0, 1.0)}
        assert len(digests) == 1

    def test_it_can_be_guided_though_it_learns_no_null_label(self, make_config, tiny_dataset, tmp_path):
        config = make_config({"method.name": NAME, "sample.omega": 1.0, "sample.images_per_class": 2})
        assert make_plan(config, tiny_dataset, tmp_path, RunContext()).config.sample.omega == 1.0
        assert ClassifierGuidance.guidable()
        assert not ClassifierGuidance.has_null_label
        assert not METHODS["ddpm"].guidable()
        assert METHODS["cfg"].guidable()

    def test_one_class_counts_for_the_prior_of_the_others(self, make_problem):
        problem = make_problem((9, 1), SHAPE)
        adjustment = ClassifierGuidance(ClassifierGuidanceSettings(tau=2.0), problem).adjustment
        assert torch.allclose(adjustment, torch.tensor([2 * math.log(0.9), 2 * math.log(0.1)]))
        scaled = replace(problem, class_counts=[900, 100])
        assert torch.allclose(ClassifierGuidance(ClassifierGuidanceSettings(tau=2.0), scaled).adjustment, adjustment)
