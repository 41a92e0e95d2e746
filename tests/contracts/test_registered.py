"""One contract for everything registered: a new method, data set or sampler is tested by existing."""

import numpy as np
import pytest
import torch

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import DATASETS, LongTailDataset
from ltgen_bench.data.raw import RawData
from ltgen_bench.diffusion import PROCESSES
from ltgen_bench.experiments.check.contract import REQUIREMENTS, examine, title
from ltgen_bench.experiments.check.trial import Trial
from ltgen_bench.methods import METHODS
from ltgen_bench.sampling.samplers import SAMPLERS
from ltgen_bench.sampling.solve import solve

SHAPE = (1, 8, 8)
# of methods: settings that let a trial be short, and the requirements that they may refuse
TRIED_WITH: dict[str, dict[str, object]] = {}
REFUSALS: set[tuple[str, str]] = set()


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=title)
def test_a_method_keeps_the_contract(requirement, name, tmp_path):
    """What `ltgen-bench method check` tries on a user's method, on each of ours. A refusal must be one that is listed here."""
    found = examine(requirement, Trial(name, tmp_path, TRIED_WITH.get(name, {})))
    assert found.state == ("note" if (name, found.name) in REFUSALS else "ok"), f"{name}: {found.figure}"


@pytest.mark.parametrize("name", list(SAMPLERS))
class TestSamplers:
    def test_it_says_what_it_is(self, name):
        assert SAMPLERS[name].summary
        assert SAMPLERS[name].source

    def test_it_visits_as_many_falling_times_as_asked(self, name):
        for steps in (10, 50, 100):
            times = SAMPLERS[name].make(steps).timesteps.tolist()
            assert len(times) == steps
            assert times == sorted(times, reverse=True)
            assert 0 <= times[-1] < times[0] <= (999 if SAMPLERS[name].process == "ddpm" else 1000)

    def test_two_schedulers_share_nothing(self, name):
        first, second = SAMPLERS[name].make(10), SAMPLERS[name].make(10)
        assert first is not second
        x = torch.zeros(1, *SHAPE)
        first.step(x, first.timesteps[0], x)
        assert torch.equal(second.timesteps, SAMPLERS[name].make(10).timesteps)

    def test_the_exact_prediction_for_one_image_leads_to_that_image(self, name, make_config):
        """For data that are a single image the prediction is known; every sampler must end at the image."""
        process, one = PROCESSES[SAMPLERS[name].process](), torch.ones(2, 1, 1, 1)
        image = torch.linspace(-0.9, 0.9, 64).view(1, *SHAPE)

        def denoiser(x_t, t, labels):
            signal, spread = process.add_noise(one, t, 0 * one), process.add_noise(0 * one, t, one)
            return process.target(image.expand(2, *SHAPE), (x_t - signal * image) / spread)

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
