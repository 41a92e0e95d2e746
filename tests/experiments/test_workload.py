"""What is drawn where a recipe leaves it open, what takes long, and what a preset expects: known before anything is trained."""

import numpy as np
import pytest
from click.testing import CliRunner

from ltgen_bench.cli import cli
from ltgen_bench.config.recipe_files import recipe_path
from ltgen_bench.config.schema import EvaluateConfig, ProcessConfig, RunConfig, SampleConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.presets import planned_departures
from ltgen_bench.experiments.command_lines import as_command
from ltgen_bench.experiments.plan import make_plan
from ltgen_bench.experiments.recipes import check_names, named_recipe, resolve_recipe, resolved_run
from ltgen_bench.experiments.workload import expected_sample, long_stages, workload, worth_training
from ltgen_bench.methods import METHODS, add_method_file
from ltgen_bench.runtime.context import RunContext


@pytest.fixture
def photos(tmp_path):
    """npz:FILE with images of 32 x 32 in two classes."""
    path = tmp_path / "photos.npz"
    np.savez(path, images=np.zeros((8, 32, 32, 3), np.uint8), labels=np.arange(8) % 2)
    return f"npz:{path}"


class TestTheSmallNetwork:
    def of(self, photos, **overrides):
        given = {"network.preset": "cpu", "train.budget_images": 20_000, **overrides}
        return resolve_recipe(recipe=None, method="cbdm", dataset=photos, overrides=given)

    def test_it_is_sampled_fast_and_as_often_as_the_budget_is_worth(self, photos):
        config = self.of(photos)
        assert (config.sample.sampler, config.sample.steps) == ("dpm-solver++", 25)
        # 20,000 images forward and backward are 60,000 passes, and 25 guided steps 50
        assert worth_training(config, 10).sample.images_per_class == 120
        assert worth_training(config, 1000).sample.images_per_class == 10, "the least"
        long = self.of(photos, **{"train.budget_images": 10_000_000})
        assert worth_training(long, 10).sample.images_per_class == 5000, "never more than the recipe has"

    @pytest.mark.parametrize("method", ["ddpm", "cfg", "oc"])
    def test_every_method_and_sampler_draws_as_many(self, photos, method):
        config = resolve_recipe(recipe=None, method=method, dataset=photos, overrides={
            "network.preset": "cpu", "train.budget_images": 20_000, "sample.steps": 10, "sample.omega": 0.0})
        assert worth_training(config, 10).sample.images_per_class == 120

    def test_what_the_user_says_holds(self, photos):
        config = self.of(photos, **{"sample.sampler": "ddim", "sample.steps": 100, "sample.images_per_class": 70})
        assert (config.sample.sampler, config.sample.steps) == ("ddim", 100)
        assert worth_training(config, 10).sample.images_per_class == 70
        assert self.of(photos, **{"sample.sampler": "ddpm"}).sample.steps == 1000
        assert self.of(photos, **{"sample.steps": 10}).sample.steps == 10

    def test_other_networks_and_recipes_of_ones_own_are_as_they_were(self, photos, tmp_path):
        large = resolve_recipe(recipe=None, method="cbdm", dataset=photos, overrides={})
        assert (large.sample.steps, large.sample.images_per_class, large.sample.share) == (1000, 5000, None)
        (tmp_path / "own.toml").write_text(large.to_toml())
        own = resolve_recipe(recipe=tmp_path / "own.toml", method=None, dataset=None, overrides={"network.preset": "cpu"})
        assert (own.sample.steps, own.sample.share) == (1000, None)

    @pytest.mark.parametrize("overrides", [{}, {"sample.sampler": "ddim", "sample.steps": 25}, {"sample.sampler": "ddpm"},
                                           {"sample.images_per_class": 5000}])
    def test_a_plan_is_in_numbers_and_its_command_means_it(self, photos, make_dataset, tmp_path, read_back, overrides):
        data = make_dataset((4, 3), (3, 32, 32))
        plan = make_plan(self.of(photos, **overrides), data, tmp_path, RunContext())
        assert plan.config.sample.share is None
        again = make_plan(read_back(as_command(plan.config)), data, tmp_path, RunContext())
        assert again.sample_digest == plan.sample_digest


class TestLongStages:
    def test_the_default_run_has_none(self):
        from ltgen_bench.data.load import load_dataset

        config = resolve_recipe(recipe=None, method=None, dataset=None, overrides={})
        assert long_stages(config, load_dataset(config.data)) == []

    def test_sampling_that_takes_longer_than_training_is_told_with_what_shortens_it(self, make_dataset):
        data = make_dataset((30, 6), (3, 32, 32))
        config = RunConfig.from_recipe(recipe_path("cifar10-lt", "cbdm"), overrides={
            "network.preset": "cpu", "train.budget_images": 20_000, "evaluate.extractors": ["inception"],
            "evaluate.downstream": False})
        sampling, evaluation = long_stages(config, data)
        load = workload(config, data)
        # 10,000 images in 1,000 guided steps, against 20,000 forward and backward
        assert load.sample / load.train == pytest.approx(10_000 * 2000 / 60_000)
        assert "sampling takes about 330 times as long" in sampling
        assert "--images-per-class 600, or --sampler dpm-solver++ --steps 25" in sampling
        flow = config.model_copy(update={"process": ProcessConfig(name="flow"), "sample": config.sample.model_copy(
            update={"sampler": "euler"})})
        assert "or --sampler heun --steps 25" in long_stages(flow, data)[0], "one that draws from a flow"
        assert "images through inception" in evaluation
        assert "--images-per-class" in evaluation

    def test_the_largest_part_of_an_evaluation_names_its_option(self, make_dataset):
        config = RunConfig.from_recipe(recipe_path("cifar10-lt", "cbdm"), overrides={
            "network.preset": "cpu", "train.budget_images": 2_000, "sample.steps": 2, "sample.images_per_class": 5,
            "sample.sampler": "dpm-solver++", "evaluate.extractors": ["classifier"], "evaluate.downstream_steps": 50_000})
        (sentence,) = long_stages(config, make_dataset((30, 6), (3, 32, 32)))
        assert "150,000 steps of downstream classifiers" in sentence
        assert "--set evaluate.downstream_steps=N" in sentence


class TestPresets:
    COUNTS = (30, 20, 10)

    def test_what_departs_is_known_before_anything_is_drawn(self):
        rule = EvaluateConfig(preset="cbdm-paper", extractors=("inception",), images=50_000, edge="<",
                              metrics=("fid", "is", "prd_f8", "prd_f1_8", "precision", "recall"))
        sample = SampleConfig(sampler="dpm-solver++", steps=20, images_per_class=100)
        found = planned_departures(rule, sample, "cbdm", "digits-lt", self.COUNTS)
        assert any(sentence.startswith("300 images where cbdm-paper asks") for sentence in found)
        assert any(sentence.startswith("labels exactly balanced where cbdm-paper asks") for sentence in found)
        assert any("dpm-solver++ 20 where cbdm-paper uses" in sentence for sentence in found)
        as_asked = SampleConfig(sampler="ddpm", steps=1000, images_per_class=16_667, labels="uniform")
        assert planned_departures(rule, as_asked, "cbdm", "digits-lt", self.COUNTS) == [
            "samples uint8 where cbdm-paper scores float32"]
        assert planned_departures(EvaluateConfig(), sample, "cbdm", "digits-lt", self.COUNTS) == []

    @pytest.mark.parametrize(("method", "omega"), [("cbdm", 1.5), ("ddpm", 0.0)])
    def test_preset_sampling_takes_number_labels_sampler_steps_and_omega(self, tiny_run, make_dataset, tmp_path, method, omega):
        config = tiny_run(**{"evaluate.preset": "oc-paper", "sample.as_preset": True, "method.name": method})
        plan = make_plan(resolved_run(config, "one is needed"), make_dataset(self.COUNTS), tmp_path, RunContext())
        sample = plan.config.sample
        assert (sample.sampler, sample.steps, sample.labels, sample.omega) == ("ddim", 100, "uniform", omega)
        assert sample.images_per_class == 16_667, "a third of 50,000"
        assert not sample.as_preset
        assert sample == expected_sample(plan.config, "tiny", self.COUNTS)

    def test_a_preset_that_expects_a_sampler_of_ddpm_is_no_sampling_of_a_flow(self, tiny_run, make_dataset, tmp_path):
        config = tiny_run(**{"evaluate.preset": "oc-paper", "sample.as_preset": True, "process.name": "flow",
                             "sample.sampler": "heun"})
        with pytest.raises(UserError, match=r"ddim is a sampler of process ddpm.* take heun or euler"):
            make_plan(resolved_run(config, "one is needed"), make_dataset(self.COUNTS), tmp_path, RunContext())

    def test_it_needs_a_preset(self, tiny_run):
        with pytest.raises(UserError, match="--preset"):
            check_names(tiny_run(**{"sample.as_preset": True}))

    def refused(self, *arguments):
        return str(CliRunner().invoke(cli, ["run", "--preset-sampling", *arguments]).exception)

    def test_a_value_that_the_preset_states_is_refused_beside_it(self):
        assert "sample.steps" in self.refused("--preset", "oc-paper", "--steps", "20")
        assert "sample.omega" in self.refused("--preset", "oc-paper", "--set", "sample.omega=1")
        assert "name one with --preset" in self.refused()


class TestNamesOfRecipes:
    def test_a_recipe_is_known_by_the_name_that_is_listed(self, read_back):
        config = read_back("ltgen-bench run --recipe digits-lt/cfg")
        assert (config.method.name, config.data.name) == ("cfg", "digits-lt")
        assert read_back("ltgen-bench run --recipe cifar100-lt/cbdm-ada.toml").train.augment == "ada"

    def test_a_file_goes_before_and_an_unknown_name_has_its_near_match(self, tmp_path, monkeypatch):
        from pathlib import Path

        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError, match=r"digits-lt/cfgg\. Did you mean 'digits-lt/cfg'\?"):
            named_recipe(Path("digits-lt/cfgg"))
        (tmp_path / "digits-lt").mkdir()
        (tmp_path / "digits-lt" / "cfg.toml").write_text("seed = 5\n")
        assert resolve_recipe(recipe=Path("digits-lt/cfg.toml"), method=None, dataset=None, overrides={}).seed == 5


METHOD = '''
from ltgen_bench.methods.ddpm import DDPM


class Mine(DDPM):
    """L = mine."""

    name = "mine-{null}"
    has_null_label = {null}
'''


@pytest.mark.parametrize(("null", "omega", "stem"), [("True", 1.0, "cfg"), ("False", 0.0, "ddpm")])
def test_a_method_of_ones_own_takes_the_recipe_of_its_kind(tmp_path, monkeypatch, null, omega, stem):
    from ltgen_bench.cli.run_notes import recipe_note

    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    (tmp_path / "mine.py").write_text(METHOD.format(null=null))
    name = add_method_file(tmp_path / "mine.py")
    config = resolve_recipe(recipe=None, method=name, dataset="digits-lt", overrides={})
    assert config.sample.omega == omega
    assert config.method.settings == {}
    (note,) = recipe_note(config)
    assert f"digits-lt/{stem}.toml" in note
    assert f"omega {omega:g}" in note
    assert recipe_note(resolve_recipe(recipe=None, method="cbdm", dataset="digits-lt", overrides={})) == []
