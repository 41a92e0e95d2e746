"""Shipped recipes are valid and complete, and a command finds the one it means."""

import numpy as np
import pytest

from ltgen_bench.config.recipe_files import recipe_path
from ltgen_bench.config.schema import RunConfig, TrainConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.catalog import DATASETS
from ltgen_bench.experiments.recipes import image_size, resolve_recipe, shipped_recipes
from ltgen_bench.methods import METHODS, method_settings
from ltgen_bench.sampling.samplers import SAMPLERS


@pytest.mark.parametrize("path", shipped_recipes(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_recipe_is_what_its_place_says(path):
    config = RunConfig.from_recipe(path)
    assert config.data.name == path.parent.name
    plain = config.train.augment == TrainConfig().augment
    assert path.stem == (config.method.name if plain else f"{config.method.name}-{config.train.augment}")
    assert config.source, "it says where its values come from"
    method_settings(config.method)
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
        assert len({(c.train.budget_images, c.train.batch_size, c.network, c.sample.images_per_class, c.sample.sampler,
                     c.sample.steps) for c in configs}) == 1


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
