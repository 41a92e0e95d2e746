"""One contract for everything registered: a new method, data set or sampler is tested by existing."""

import copy
import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ltgen_bench.config import DataConfig
from ltgen_bench.data import DATASETS, LongTailDataset
from ltgen_bench.data.raw import RawData
from ltgen_bench.diffusion.draws import Draws
from ltgen_bench.diffusion.guidance import Guidance
from ltgen_bench.diffusion.samplers import SAMPLERS
from ltgen_bench.diffusion.sampling import solve
from ltgen_bench.errors import UserError
from ltgen_bench.methods import METHODS
from ltgen_bench.methods.base import Batch, Loss, Method, Settings
from ltgen_bench.progress import SILENT
from ltgen_bench.training.loop import train

SHAPE = (1, 8, 8)


@pytest.fixture(params=list(METHODS))
def kind(request):
    return METHODS[request.param]


@pytest.fixture
def built(kind, make_problem, make_network):
    """`built(counts)`: the method at its defaults, and the network that it wants."""
    def build(counts=(20, 9, 4)):
        method = kind(kind.Settings(), make_problem(counts, SHAPE))
        net = make_network(SHAPE, len(counts), augment_dim=method.augment_dim)
        return method, method.adapt_network(net)

    return build


def batch_of(labels):
    x_0 = torch.rand(len(labels), *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(x_0, torch.tensor(labels))


def draws(size, position=0):
    return Draws(0, position, size, torch.device("cpu"))


class TestMethods:
    def test_it_says_what_it_is(self, kind):
        assert issubclass(kind, Method)
        assert METHODS.check(kind.name) == kind.name
        assert METHODS[kind.name] is kind
        assert all(isinstance(text, str) and text for text in (kind.summary, kind.source, kind.extra_forwards))
        assert "\n" not in kind.summary
        assert kind.__doc__ and kind.loss.__doc__  # noqa: PT018

    def test_its_settings_are_strict_frozen_and_have_defaults(self, kind):
        assert issubclass(kind.Settings, Settings)
        settings = kind.Settings()
        with pytest.raises(ValidationError, match="Extra inputs"):
            kind.Settings(no_such_setting=1)
        for name, field in kind.Settings.model_fields.items():
            assert field.description, f"{name} has no description"
            with pytest.raises(ValidationError):
                setattr(settings, name, getattr(settings, name))
            with pytest.raises(ValidationError):
                kind.Settings(**{name: object()})

    @pytest.mark.parametrize("precision", ["float32", "bf16"])
    def test_its_loss_is_a_finite_float32_number_with_detached_terms(self, built, precision):
        method, net = built()
        for position in range(0, 48, 8):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = method.loss(net, batch_of([0, 1, 2, 0, 0, 1, 0, 0]), draws(8, position))
            assert isinstance(loss, Loss)
            assert loss.total.shape == ()
            assert loss.total.dtype == torch.float32
            assert loss.total.isfinite()
            assert loss.total.requires_grad
            assert loss.terms
            assert all(term.isfinite() and not term.requires_grad for term in loss.terms.values())

    def test_the_terms_add_up_to_the_loss(self, built):
        method, net = built()
        loss = method.loss(net, batch_of([0, 1, 2, 0]), draws(4))
        assert sum(loss.terms.values()).item() == pytest.approx(loss.total.item(), rel=1e-6)

    def test_one_step_changes_the_network_but_not_the_null_label(self, built):
        method, net = built()
        before = copy.deepcopy(net.state_dict())
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        method.loss(net, batch_of([0, 1, 2, 0]), draws(4)).total.backward()
        optimizer.step()
        changed = [name for name, value in net.state_dict().items() if not torch.equal(value, before[name])]
        assert len(changed) > len(before) / 2
        assert torch.equal(net.label_embedding.weight[3], torch.zeros_like(net.label_embedding.weight[3]))

    def test_the_same_draws_give_the_same_loss_and_others_another(self, built):
        method, net = built()
        batch = batch_of([0, 1, 2, 0])
        first, again, other = (method.loss(net, batch, draws(4, position)).total for position in (0, 0, 4))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_every_random_number_comes_from_the_draws(self, built):
        method, net = built()
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        method.loss(net.eval(), batch_of([0, 1, 2, 0]), draws(4))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002

    @pytest.mark.parametrize(("counts", "labels"), [
        ((5, 1), [0, 1, 0]), (tuple(range(100, 0, -1)), [0, 99, 50, 3]), ((3, 1, 1), [2]), ((7, 7), [0])])
    def test_two_or_a_hundred_classes_a_class_of_one_image_and_a_batch_of_one(self, built, counts, labels):
        method, net = built(counts)
        for position in range(0, 40, 4):
            loss = method.loss(net, batch_of(labels), draws(len(labels), position)).total
            assert loss.isfinite()
        loss.backward()

    def test_its_denoiser_gives_eps_for_every_label(self, built):
        method, net = built()
        omegas = (0.0, 1.5) if method.has_null_label else (0.0,)
        for omega in omegas:
            eps = method.denoiser(net, Guidance(omega))(torch.zeros(3, *SHAPE), torch.tensor([0, 500, 999]),
                                                        torch.tensor([0, 1, 2]))
            assert eps.shape == (3, *SHAPE)
            assert eps.dtype == torch.float32

    def test_with_a_null_label_training_shows_it_and_without_it_never(self, kind, built):
        method, net = built()
        seen = set()
        net.register_forward_pre_hook(lambda module, args: seen.update(args[2].tolist()))
        for position in range(0, 4 * 60, 4):
            with torch.no_grad():
                method.loss(net, batch_of([0, 1, 2, 0]), draws(4, position))
        assert seen == ({0, 1, 2, 3} if kind.has_null_label else {0, 1, 2})

    def test_the_loop_trains_it_and_the_loss_falls(self, kind, make_config, tiny_dataset, tmp_path):
        config = make_config({"method.name": kind.name, "train.budget_images": 960, "train.batch_size": 16})
        trained = train(config, tiny_dataset, tmp_path)
        losses = [line["loss"] for line in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())]
        assert trained.images_seen == 960
        assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:10])


@pytest.mark.parametrize("name", list(SAMPLERS))
class TestSamplers:
    def test_it_says_what_it_is(self, name):
        assert SAMPLERS[name].summary
        assert SAMPLERS[name].source

    def test_it_visits_as_many_falling_times_as_asked(self, name):
        for steps in (10, 50, 100):
            times = [int(t) for t in SAMPLERS[name].make(steps).timesteps]
            assert len(times) == steps
            assert times == sorted(times, reverse=True)
            assert 0 <= times[-1] < times[0] < 1000

    def test_two_schedulers_share_nothing(self, name):
        first, second = SAMPLERS[name].make(10), SAMPLERS[name].make(10)
        assert first is not second
        x = torch.zeros(1, *SHAPE)
        first.step(x, first.timesteps[0], x)
        assert torch.equal(second.timesteps, SAMPLERS[name].make(10).timesteps)

    def test_the_exact_noise_of_one_image_leads_to_that_image(self, name, make_config):
        """For data that are a single image, eps is known; every sampler must end at the image."""
        bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float()
        image = torch.linspace(-0.9, 0.9, 64).view(1, *SHAPE)

        def denoiser(x_t, t, labels):
            bar = bars[t].view(-1, 1, 1, 1)
            return (x_t - bar.sqrt() * image) / (1 - bar).sqrt()

        config = make_config({"sample.sampler": name, "sample.steps": 50}).sample
        x_0 = solve(denoiser, torch.tensor([0, 0]), [1, 2], SHAPE, config, torch.device("cpu"))
        assert (x_0 - image).abs().max() < 0.06  # ddim stops at noise level 0, which is 0.01

    def test_the_same_seeds_give_the_same_images_and_others_others(self, name, make_config):
        config = make_config({"sample.sampler": name, "sample.steps": 10}).sample
        runs = [solve(lambda x, t, y: 0.5 * x, torch.tensor([0, 0]), seeds, SHAPE, config, torch.device("cpu"))
                for seeds in ([1, 2], [1, 2], [3, 2])]
        assert torch.equal(runs[0], runs[1])
        assert not torch.equal(runs[0][0], runs[2][0])
        assert torch.equal(runs[0][1], runs[2][1])


@pytest.mark.parametrize("name", list(DATASETS))
class TestDatasets:
    def test_it_says_where_it_comes_from(self, name):
        entry = DATASETS[name]
        assert all((entry.summary, entry.source, entry.licence, entry.recipes, entry.content, entry.verify))
        assert "\n" not in entry.summary
        assert entry.imbalance_factor is None or (entry.imbalance_factor >= 1 and name == f"{entry.content}-lt")
        assert entry.num_classes == (len(entry.class_names) or entry.num_classes) >= 2
        assert len(set(entry.class_names)) == len(entry.class_names)
        assert entry.image_shape[0] in (1, 3)
        assert all(kind in ("md5", "sha256") and digest for kind, _, digest in (c.partition(":") for _, c in entry.checksums))

    def test_what_it_loads_is_bytes_in_channels_first_with_every_class(self, name, tmp_path, monkeypatch):
        entry = DATASETS[name]
        generated = put_on_disk(entry.content, tmp_path, monkeypatch)
        raw = entry.load(DataConfig(name=name), tmp_path, SILENT)
        assert isinstance(raw, RawData)
        for part in (raw.train, raw.test):
            assert part.images.dtype == np.uint8
            assert part.images.shape[1:] == entry.image_shape
            assert part.labels.dtype == np.int64
            assert set(part.labels.tolist()) == set(range(len(raw.class_names)))
        if generated:  # stand-ins have classes of their own
            assert raw.checksum.partition(":")[0] in ("md5", "sha256")
        else:
            assert raw.class_names == entry.class_names
        dataset = LongTailDataset(name, raw.train, raw.train, raw.test, raw.class_names, entry.flip)
        assert dataset.image_shape == raw.train.images.shape[1:]
        assert len(dataset.fingerprint) == 16
        assert entry.verify(DataConfig(name=name), tmp_path, SILENT, False)

    def test_it_refuses_columns_which_only_the_hub_has(self, name, tmp_path):
        with pytest.raises(UserError, match=f"{name} takes no --columns; it is for hub:NAME"):
            DATASETS[name].load(DataConfig(name=name, columns=("image", "label")), tmp_path, SILENT)


def put_on_disk(content, data_root, monkeypatch):
    """A generated stand-in of what lies elsewhere below `data_root`; whether there is one."""
    import standins
    from torchvision import datasets

    kinds = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "mnist": "MNIST", "fashion-mnist": "FashionMNIST", "svhn": "SVHN"}
    if content in kinds:
        kind = getattr(datasets, kinds[content])
        standins.write_published(kind, data_root)
        standins.adopt(kind, data_root, monkeypatch)
    elif content in standins.LARGE:
        standins.write_large(content, data_root)
    return content in kinds or content in standins.LARGE
