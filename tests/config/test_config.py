"""Recipes: strict reading, all faults at once, saving and reading again, and the digests of the three stages."""

import hashlib
import json
import tomllib

import pytest
from brief import brief

from ltgen_bench.config.recipe_files import parse_setting, read_toml, recipe_path, set_dotted
from ltgen_bench.config.schema import DataConfig, NetworkConfig, RunConfig
from ltgen_bench.core.errors import UserError


def faults(values, **overrides):
    """The problems of `values`, as the user reads them."""
    with pytest.raises(UserError) as caught:
        RunConfig.from_values(values, overrides=overrides.pop("overrides", None), where="mine.toml")
    count = len(caught.value.problems)
    assert str(caught.value).startswith(f"mine.toml has {count} problem{'s' if count > 1 else ''}\n")
    return list(caught.value.problems)


EVERYTHING = {
    "source": "a paper", "seed": 3,
    "data": {"name": "cifar10-lt", "imbalance_factor": 50.0, "profile": "step", "split_seed": 1},
    "network": {"preset": "cpu", "channels": [32, 64], "blocks": 2, "attention": [1], "dropout": 0.2},
    "method": {"name": "cbdm", "tau": 0.5, "auxiliary_labels": "uniform"},
    "train": {"budget_images": 1000, "batch_size": 10, "learning_rate": 0.001, "warmup_images": 5,
              "ema_halflife_images": 7, "ema_rampup": 0.1, "clip_norm": 2.0, "precision": "float32", "compile": "no"},
    "sample": {"sampler": "ddim", "steps": 50, "omega": 1.5, "images_per_class": 10, "batch_size": 20, "seed": 4,
               "precision": "bf16"},
    "evaluate": {"extractors": ["classifier", "inception"], "metrics": ["fid"], "reference": "test", "k": 3,
                 "downstream": False, "downstream_steps": 100},
    "reported": [{"metric": "fid", "value": 5.81, "source": "table 1"}],
}


class TestReading:
    def test_the_default_run_is_cbdm_on_digits(self):
        config = RunConfig.from_values({})
        assert (config.method.name, config.data.name, config.seed) == ("cbdm", "digits-lt", 0)

    @pytest.mark.parametrize("values", [{}, EVERYTHING])
    def test_a_saved_recipe_reads_back_as_the_same_run(self, values, tmp_path):
        config = RunConfig.from_values(values)
        (tmp_path / "saved.toml").write_text(config.to_toml())
        again = RunConfig.from_recipe(tmp_path / "saved.toml")
        assert again == config
        assert again.to_toml() == config.to_toml()
        assert again.method.settings == config.method.settings

    def test_a_saved_recipe_says_the_defaults_too(self):
        saved = tomllib.loads(RunConfig.from_values({}).to_toml())
        assert saved["train"]["clip_norm"] == 1.0
        assert saved["sample"]["omega"] == 0.0

    def test_overrides_win_over_the_file_and_top_level_ones_over_both(self, tmp_path):
        (tmp_path / "a.toml").write_text("seed = 1\n[train]\nbatch_size = 3\n[method]\nname = 'cfg'\n")
        config = RunConfig.from_recipe(tmp_path / "a.toml", overrides={"train.batch_size": 5, "method.tau": 2}, seed=9)
        assert (config.seed, config.train.batch_size, config.method.settings) == (9, 5, {"tau": 2})

    def test_an_override_of_nothing_takes_the_value_away(self):
        config = RunConfig.from_values({"data": {"imbalance_factor": 7.0}}, overrides={"data.imbalance_factor": None})
        assert config.data.imbalance_factor is None

    def test_the_given_values_are_not_changed(self):
        values = {"train": {"batch_size": 3}}
        RunConfig.from_values(values, overrides={"train.batch_size": 5})
        assert values == {"train": {"batch_size": 3}}

    def test_a_configuration_cannot_be_changed(self):
        with pytest.raises(ValueError, match="frozen"):
            RunConfig().seed = 2

    def test_a_missing_recipe_names_the_file_and_the_command_that_lists_recipes(self, tmp_path):
        with pytest.raises(UserError, match=r"recipe .*nothing\.toml.*ltgen-bench list recipes"):
            read_toml(tmp_path / "nothing.toml")

    def test_broken_toml_names_file_and_line(self, tmp_path):
        (tmp_path / "broken.toml").write_text("seed = 1\nbatch = = 2\n")
        with pytest.raises(UserError, match=r"valid TOML: .*line 2"):
            read_toml(tmp_path / "broken.toml")

    @pytest.mark.parametrize(("name", "text", "form"), [
        ("run.json", '{"seed": 1}', "JSON"), ("run.toml", '{"seed": 1}', "JSON"), ("run.json", '{"seed": 1,}', "JSON"),
        ("run.yaml", "seed 1", "YAML"),
        ("run.toml", "# mine\n\ntrain:\n  batch_size: 4\n", "YAML"), ("run.toml", "---\na: 1", "YAML")])
    def test_json_and_yaml_are_called_so(self, tmp_path, name, text, form):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=rf"{name} is {form}; a recipe is TOML.*--dry-run"):
            read_toml(tmp_path / name)

    def test_a_file_that_is_no_text_is_said_to_be_unreadable(self, tmp_path):
        (tmp_path / "picture.toml").write_bytes(b"\xff\xfe\x00\x81")
        with pytest.raises(UserError, match=r"picture\.toml could not be read"):
            read_toml(tmp_path / "picture.toml")
        with pytest.raises(UserError, match="could not be read"):
            read_toml(tmp_path)

    def test_shipped_recipes_stand_by_data_set_and_method(self):
        assert recipe_path("digits-lt", "cbdm").parts[-3:] == ("baselines", "digits-lt", "cbdm.toml")


class TestFaults:
    def test_all_faults_of_a_file_come_at_once_with_place_value_and_what_is_allowed(self):
        found = faults({
            "sede": 1,
            "train": {"budget_images": "many", "batch_size": 0, "learning_rate": -1.0, "presicion": "bf16"},
            "sample": {"precision": "float16", "steps": 1001, "omega": float("nan")},
            "network": {"dropout": 1.0}, "data": {"name": 5}, "evaluate": {"downstream": 1},
        })
        assert brief(found) == sorted([
            "sede: unknown", "train.budget_images: 'many'", "train.batch_size: 0", "train.learning_rate: -1.0",
            "train.presicion: unknown", "sample.precision: 'float16'", "sample.steps: 1001", "sample.omega: nan",
            "network.dropout: 1.0", "data.name: 5", "evaluate.downstream: 1"])
        said = "\n".join(found)
        for words in ("Did you mean 'seed'?", "Did you mean 'precision'?", "'float32' or 'bf16'", "at most 1000"):
            assert words in said

    @pytest.mark.parametrize("given", ["foo", True, [3], -1, 0.0])
    def test_a_bad_imbalance_factor_is_one_clear_sentence(self, given):
        (fault,) = faults({"data": {"imbalance_factor": given}})
        assert brief([fault]) == [f"data.imbalance_factor: {given!r}"]
        assert "'natural'" in fault

    @pytest.mark.parametrize(("given", "meant"), [(0.5, "2"), (0.01, "100"), (0.02, "50")])
    def test_a_factor_below_1_is_told_as_its_inverse(self, given, meant):
        (fault,) = faults({"data": {"imbalance_factor": given}})
        assert f"Did you mean {meant}," in fault

    @pytest.mark.parametrize(("given", "kept"), [(1, 1.0), (100, 100.0), ("natural", "natural")])
    def test_a_good_imbalance_factor_is_taken(self, given, kept):
        assert RunConfig.from_values({"data": {"imbalance_factor": given}}).data.imbalance_factor == kept

    def test_each_bad_entry_of_a_list_is_one_problem_and_the_list_itself_is_none(self):
        assert brief(faults({"network": {"channels": ["x", 1.5]}})) == ["network.channels.0: 'x'", "network.channels.1: 1.5"]
        assert brief(faults({"network": {"channels": ["x"]}})) == ["network.channels.0: 'x'"]

    def test_an_empty_list_is_too_short(self):
        assert brief(faults({"evaluate": {"extractors": []}})) == ["evaluate.extractors: []"]

    def test_a_single_value_where_a_table_or_a_list_belongs(self):
        assert brief(faults({"network": 3})) == ["network: 3"]
        assert brief(faults({"network": {"channels": 3}})) == ["network.channels: 3"]

    def test_faults_inside_a_list_of_tables_name_the_settings_of_that_table(self):
        found = faults({"reported": [{"metric": "fid", "value": "x", "sauce": "a"}]})
        assert brief(found) == ["reported.0.sauce: unknown", "reported.0.source:", "reported.0.value: 'x'"]
        assert "Did you mean 'source'? Known: metric, value, source." in "\n".join(found)

    def test_whole_numbers_are_taken_where_a_number_belongs_and_not_the_other_way(self):
        assert RunConfig.from_values({"train": {"learning_rate": 1}}).train.learning_rate == 1.0
        assert brief(faults({"train": {"batch_size": 3.0}})) == ["train.batch_size: 3.0"]

    def test_an_override_below_a_single_value_is_refused(self):
        with pytest.raises(UserError, match=r"--set seed\.x: 'seed'"):
            RunConfig.from_values({"seed": 1}, overrides={"seed.x": 2})

    def test_parts_built_in_code_are_as_strict(self):
        with pytest.raises(ValueError, match="equal to 1"):
            DataConfig(imbalance_factor=0.5)
        with pytest.raises(ValueError, match="Extra inputs"):
            NetworkConfig(width=3)


class TestSettings:
    @pytest.mark.parametrize(("text", "key", "value"), [
        ("method.tau=0.5", "method.tau", 0.5), ("seed=3", "seed", 3), ("a = true", "a", True),
        ("network.channels=[32, 64]", "network.channels", [32, 64]), ("data.name=folder:/x y", "data.name", "folder:/x y"),
        ("sample.sampler=ddim", "sample.sampler", "ddim"), ('a="quoted"', "a", "quoted"), ("a=", "a", ""),
        ("a=b=c", "a", "b=c"), ("train.budget_images=14_400_000", "train.budget_images", 14_400_000),
        ("sample.sampler=dpm-solver++", "sample.sampler", "dpm-solver++"),
    ])
    def test_a_setting_is_read_as_toml_and_as_text_where_it_is_none(self, text, key, value):
        parsed = parse_setting(text)
        assert parsed == (key, value)
        assert type(parsed[1]) is type(value)

    @pytest.mark.parametrize("text", ["method.tau", "=3", " =3"])
    def test_a_setting_without_key_or_value_shows_the_form(self, text):
        with pytest.raises(UserError, match=r"KEY=VALUE, for example --set method\.tau=0\.5"):
            parse_setting(text)

    def test_dotted_keys_make_the_tables_on_their_way(self):
        values = {}
        set_dotted(values, "a.b.c", 1)
        set_dotted(values, "a.b.d", 2)
        set_dotted(values, "a.b.c", None)
        assert values == {"a": {"b": {"d": 2}}}


def digests(fingerprint="0123456789abcdef", **overrides):
    config = RunConfig.from_values({}, overrides={key.replace("__", "."): value for key, value in overrides.items()})
    train = config.train_digest(fingerprint)
    sample = config.sample_digest(train)
    return train, sample, config.score_digest(sample)


def which_change(**overrides):
    """The stages whose digest differs from that of the default run."""
    pairs = zip(("train", "sample", "score"), digests(), digests(**overrides), strict=True)
    return [stage for stage, before, after in pairs if before != after]


class TestDigests:
    def test_the_digests_of_the_default_run_stay_what_they_were(self):
        # a change here orphans every finished run: it must be meant
        assert digests() == ("8455b006", "bf630fc9", "fbb81476")

    def test_the_digest_is_sha_256_over_the_settings_that_differ_from_their_defaults(self):
        text = ('{"schema":1,"value":{"data":"0123456789abcdef","method":{"name":"cbdm","tau":0.5},'
                '"network":{},"train":{"batch_size":10}}}')
        assert digests(method__tau=0.5, train__batch_size=10)[0] == hashlib.sha256(text.encode()).hexdigest()[:8]

    def test_a_default_that_is_written_out_changes_nothing(self):
        assert which_change(train__batch_size=64, sample__omega=0.0, evaluate__k=5, network__preset="ddpm") == []
        assert json.loads(RunConfig().model_dump_json())["train"]["batch_size"] == 64

    @pytest.mark.parametrize("override", [
        {"train__batch_size": 10}, {"network__dropout": 0.3}, {"method__tau": 0.5}, {"method__name": "cfg"},
        {"fingerprint": "f" * 16}])
    def test_what_training_depends_on_changes_all_three(self, override):
        assert which_change(**override) == ["train", "sample", "score"]

    @pytest.mark.parametrize("override", [{"sample__omega": 1.0}, {"sample__steps": 50}, {"sample__seed": 1},
                                          {"sample__batch_size": 9}])
    def test_what_sampling_depends_on_does_not_retrain(self, override):
        assert which_change(**override) == ["sample", "score"]

    @pytest.mark.parametrize("override", [{"evaluate__k": 3}, {"evaluate__reference": "test"}])
    def test_what_measuring_depends_on_does_not_resample(self, override):
        assert which_change(**override) == ["score"]

    def test_the_seed_stands_beside_the_train_digest_and_inside_the_sample_digest(self):
        assert which_change(seed=1) == ["sample", "score"]

    def test_words_about_a_recipe_and_the_name_of_the_data_change_nothing(self):
        assert which_change(source="elsewhere", data__name="folder:/x") == []


FORMER = {"evaluate": {"protocol": "cbdm-paper", "k": 3}}


class TestFilesWithThePresetUnderItsFormerKey:
    """Recipes, records and run folders from before `evaluate.preset` call it `evaluate.protocol`."""

    def test_a_recipe_is_read_and_a_preset_asked_for_takes_its_place(self):
        assert RunConfig.from_values(FORMER).evaluate.preset == "cbdm-paper"
        assert RunConfig.from_values(FORMER, overrides={"evaluate.preset": "oc-paper"}).evaluate.preset == "oc-paper"
        assert "preset = \"cbdm-paper\"" in RunConfig.from_values(FORMER).to_toml()

    def test_a_record_is_read(self):
        assert RunConfig.model_validate_json(json.dumps(FORMER)).evaluate.preset == "cbdm-paper"

    def test_its_score_folder_is_found_again(self):
        assert RunConfig.from_values({"evaluate": {"preset": "cbdm-paper", "k": 3}}).score_digest("x") == "bf354b1c"

    def test_both_keys_are_refused(self):
        assert faults({"evaluate": {"preset": "oc-paper", "protocol": "cbdm-paper"}})[0].startswith("evaluate.protocol: unknown")
