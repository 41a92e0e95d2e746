"""Shipped recipes are valid and complete, and a command finds the one it means."""

import numpy as np
import pytest

from ltgen_bench.config.recipe_files import recipe_path
from ltgen_bench.config.schema import ProcessConfig, RunConfig, TrainConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.catalog import DATASETS
from ltgen_bench.experiments.recipes import check_names, image_size, resolve_recipe, shipped_recipes
from ltgen_bench.methods import METHODS, method_settings
from ltgen_bench.sampling.samplers import SAMPLERS, check_sampler


@pytest.mark.parametrize("path", shipped_recipes(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_recipe_is_what_its_place_says(path):
    config = RunConfig.from_recipe(path)
    assert config.data.name == path.parent.name
    parts = [config.method.name, *([] if config.train.augment == TrainConfig().augment else [config.train.augment]),
             *([] if config.process == ProcessConfig() else [config.process.name])]
    assert path.stem == "-".join(parts)
    assert config.source, "it says where its values come from"
    method_settings(config.method)
    check_sampler(config.sample.sampler, config.process.name)
    SAMPLERS[config.sample.sampler].make(config.sample.steps)
    assert config.sample.omega == 0 or METHODS[config.method.name].guidable()
    assert all(number.source for number in config.reported)


def test_every_method_has_a_recipe_that_fits_every_data_set():
    there = {(path.parent.name, path.stem) for path in shipped_recipes()}
    wanted = {(DATASETS[data].recipes, method) for data in DATASETS for method in METHODS}
    assert wanted <= there


def test_the_methods_of_one_data_set_share_budget_network_and_count():
    for data in ("digits-lt", "cifar10-lt", "cifar10-photos-lt"):
        configs = [RunConfig.from_recipe(path) for path in shipped_recipes() if path.parent.name == data]
        assert len({(c.train, c.network, c.sample.images_per_class) for c in configs}) == 1
        for process in {c.process.name for c in configs}:
            assert len({(c.sample.sampler, c.sample.steps) for c in configs if c.process.name == process}) == 1


def test_the_photographs_are_judged_by_50_000_images_exactly_balanced_on_inception_and_differ_by_what_is_ours_alone():
    for method in METHODS:
        photos, cifar = (RunConfig.from_recipe(recipe_path(data, method)) for data in ("cifar10-photos-lt", "cifar10-lt"))
        assert (photos.sample.images_per_class, photos.sample.labels) == (5000, "balanced")
        assert photos.evaluate.extractors[0] == "inception"
        assert photos.train.budget_images == 1_024_000
        assert (photos.method, photos.network, photos.sample.omega) == (cifar.method, cifar.network, cifar.sample.omega)
        assert photos.reported == (), "what papers print for CIFAR-10 is not said of images that were saved once more"


def test_no_option_means_cbdm_on_digits():
    config = resolve_recipe(recipe=None, method=None, dataset=None, overrides={})
    assert (config.method.name, config.data.name) == ("cbdm", "digits-lt")


def test_options_are_laid_over_the_recipe():
    config = resolve_recipe(recipe=None, method="cfg", dataset="cifar100-lt", overrides={"sample.omega": 2.5, "seed": 7})
    assert (config.sample.omega, config.seed, config.train.budget_images) == (2.5, 7, 12_800_000)


class TestProcess:
    def resolved(self, method="cbdm", dataset="digits-lt", **overrides):
        return resolve_recipe(recipe=None, method=method, dataset=dataset, overrides={"process.name": "flow", **overrides})

    @pytest.mark.parametrize("method", ["cfg", "cbdm"])
    def test_method_and_process_together_have_a_recipe(self, method):
        config = self.resolved(method)
        assert config == RunConfig.from_recipe(recipe_path("digits-lt", f"{method}-flow"))
        plain = RunConfig.from_recipe(recipe_path("digits-lt", method))
        assert (config.method, config.train, config.network) == (plain.method, plain.train, plain.network)

    @pytest.mark.parametrize(("method", "dataset"), [("ddpm", "digits-lt"), ("coral", "cifar10-lt"), ("cbdm", "cifar100-lt")])
    def test_a_recipe_of_ddpm_is_drawn_by_the_usual_sampler_of_the_process(self, method, dataset):
        config, own = self.resolved(method, dataset), RunConfig.from_recipe(recipe_path(dataset, method))
        assert (config.sample.sampler, config.sample.steps) == ("heun", SAMPLERS["heun"].usual_steps)
        assert config.sample == own.sample.model_copy(update={"sampler": "heun", "steps": config.sample.steps})
        assert (config.method, config.train) == (own.method, own.train)
        assert config.reported == (), "what papers print is of DDPM"

    def test_what_the_user_says_of_sampling_holds(self):
        config = self.resolved("ddpm", **{"sample.sampler": "euler", "sample.steps": 7})
        assert (config.sample.sampler, config.sample.steps) == ("euler", 7)
        assert self.resolved("ddpm", **{"sample.sampler": "euler"}).sample.steps == SAMPLERS["euler"].usual_steps
        assert self.resolved("ddpm", **{"sample.steps": 9}).sample.steps == 9
        assert self.resolved("cfg", **{"sample.sampler": "euler"}).sample.steps == 25, "its recipe is of the process"

    def test_the_small_network_is_drawn_by_it_too(self):
        config = self.resolved("cbdm", "cifar10-lt", **{"network.preset": "cpu"})
        assert (config.sample.sampler, config.sample.share) == ("heun", 1.0)

    @pytest.mark.parametrize(("overrides", "words"), [
        ({"process.name": "flwo"}, "unknown process 'flwo'. Did you mean 'flow'"),
        ({"sample.sampler": "ddim"}, "sampler of process ddpm.* take heun or euler"),
        ({"method.name": "oc"}, "oc needs process ddpm: its target .* another image"),
        ({"method.name": "cm"}, "cm needs process ddpm: "),
        ({"method.name": "classifier-guidance"}, "classifier-guidance needs process ddpm: "),
        ({"method.name": "cbdm-finetune"}, "cbdm-finetune needs process ddpm: ")])
    def test_what_does_not_fit_is_refused_before_any_work(self, overrides, words):
        with pytest.raises(UserError, match=words):
            check_names(self.resolved("cfg", **overrides))

    def test_its_digest_is_another_and_that_of_ddpm_is_as_it_was(self):
        flow, plain = self.resolved("cfg"), RunConfig.from_recipe(recipe_path("digits-lt", "cfg"))
        assert flow.train_digest("0" * 16) != plain.train_digest("0" * 16)
        stated = plain.model_copy(update={"process": ProcessConfig(name="ddpm")})
        assert stated.train_digest("0" * 16) == plain.train_digest("0" * 16)
        values = plain.model_dump(mode="json", exclude={"process"})
        assert RunConfig.from_values(values).train_digest("0" * 16) == plain.train_digest("0" * 16)


def test_another_method_on_a_recipe_of_ones_own_drops_the_settings_of_the_first(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('[method]\nname = "cbdm"\ntau = 3.0\n[train]\nbatch_size = 7\n')
    config = resolve_recipe(recipe=path, method="ddpm", dataset=None, overrides={})
    assert config.method.settings == {}
    assert config.train.batch_size == 7


@pytest.mark.parametrize(("size", "preset"), [(8, "digits"), (16, "digits"), (32, "ddpm"), (64, "ddpm")])
def test_images_of_ones_own_take_the_recipe_of_their_size(tmp_path, size, preset):
    path = tmp_path / "own.npz"
    np.savez(path, images=np.zeros((8, size, size, 3), np.uint8), labels=np.arange(8) % 2)
    assert image_size(f"npz:{path}") == size
    config = resolve_recipe(recipe=None, method="cbdm", dataset=f"npz:{path}", overrides={})
    assert config.network.preset == preset
    assert config.data.name == f"npz:{path}"
    assert config.reported == (), "what papers print for CIFAR-10 is not said of other images"


def test_an_empty_folder_is_refused_in_words(tmp_path):
    with pytest.raises(UserError, match="has no readable training image"):
        resolve_recipe(recipe=None, method="cbdm", dataset=f"folder:{tmp_path}", overrides={})


@pytest.mark.parametrize("damage", [lambda data: data[:200], lambda data: b"", lambda data: b"\x93NUMPY" + data[6:]])
def test_a_broken_file_of_arrays_is_refused_in_words(tmp_path, damage):
    path = tmp_path / "own.npz"
    np.savez(path, images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0, 0, 1, 1]))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"own\.npz"):
        resolve_recipe(recipe=None, method="cbdm", dataset=f"npz:{path}", overrides={})


def test_a_recipe_whose_tables_are_none_is_refused_in_words(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('method = "cbdm"\ndata = "digits-lt"\n')
    with pytest.raises(UserError, match=r"own\.toml has 1 problem"):
        resolve_recipe(recipe=path, method="cfg", dataset=None, overrides={})
