"""Which part of a user's own data serves as test, by its name or by the user's choice, in every form of data."""

import numpy as np
import pytest
from standins import write_image, write_lists

from ltgen_bench.config.schema import DataConfig, RunConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import load_dataset
from ltgen_bench.data.catalog import find_source
from ltgen_bench.data.describe import describe, reference_words
from ltgen_bench.data.parts import NONE, TRAIN, choose_parts
from ltgen_bench.data.source_kinds import option_words
from ltgen_bench.experiments.recipes import recipe_family


def write_part(folder, value, count=4, classes=("ant", "bee")):
    for label, name in enumerate(classes):
        for number in range(count):
            write_image(folder / name / f"{number}.png", (6, 4), value + 100 * label + number)


@pytest.fixture
def trained(tmp_path):
    """A folder with a training part alone, of 8 images of 0 to 7 and 100 to 107."""
    write_part(tmp_path / "photos" / "train", 0, 8)
    return tmp_path / "photos"


def load(form, place, told=None, **options):
    return load_dataset(DataConfig(name=f"{form}:{place}", **options), **({} if told is None else {"progress": told}))


def values_of(images):
    return sorted(images.images[:, 0, 0, 0].tolist())


class TestNames:
    @pytest.mark.parametrize(("present", "test"), [
        (["train", "test", "val"], "test"), (["train", "VAL"], "VAL"), (["Train", "Test"], "Test"),
        (["train", "dev", "extra"], "dev"),
        (["training", "validation"], "validation"), (["train", "valid"], "valid"), (["train", "extra"], TRAIN)])
    def test_test_goes_before_validation_and_that_before_a_quarter(self, present, test):
        found = choose_parts(present, None, "it")
        assert found.test == test
        assert set(found.unread) == set(present) - {found.train, test}

    @pytest.mark.parametrize("asked", ["extra", "EXTRA", TRAIN, NONE])
    def test_the_users_choice_goes_before_all(self, asked):
        found = choose_parts(["train", "test", "extra"], asked, "it")
        assert found.test == {"EXTRA": "extra"}.get(asked, asked)

    def test_what_is_not_there_and_what_could_be_two_are_refused_with_the_choice(self):
        with pytest.raises(UserError, match=r"'vaal'.* Did you mean 'val'\?"):
            choose_parts(["train", "val"], "vaal", "it")
        with pytest.raises(UserError, match=r"--test-part val.* --test-part valid"):
            choose_parts(["train", "val", "valid"], None, "it")


class TestFolder:
    @pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Val", "Test"])
    def test_a_validation_part_serves_as_test_and_this_is_said(self, trained, told, name):
        write_part(trained / name, 50)
        dataset = load("folder", trained, told)
        assert values_of(dataset.test) == [50, 51, 52, 53, 150, 151, 152, 153]
        assert len(dataset.train) == 16
        assert dataset.test_part == name
        assert (f"'{name}'" in " ".join(told.messages)) == (name != "Test")
        assert name in reference_words(describe(dataset))["test"] or name == "Test"

    def test_the_choice_takes_another_a_quarter_or_none(self, trained, told):
        write_part(trained / "test", 50, 2)
        write_part(trained / "extra", 70, 3)
        found = {asked: load("folder", trained, test_part=asked) for asked in (None, "extra", "train", "none")}
        assert {asked: (len(own.train), len(own.test)) for asked, own in found.items()} == {
            None: (16, 4), "extra": (16, 6), "train": (12, 4), "none": (16, 0)}
        assert len({own.fingerprint for own in found.values()}) == 4
        again = load("folder", trained, told, test_part="extra")  # each choice is kept for itself
        assert not told.stages
        assert again.fingerprint == found["extra"].fingerprint

    def test_a_part_without_labels_names_the_choice(self, trained):
        write_part(trained / "val", 50)
        write_image(trained / "test" / "0001.png", (6, 4))
        with pytest.raises(UserError, match="--test-part val"):
            load("folder", trained)
        write_image(trained / "test" / "unknown" / "0001.png", (6, 4))
        with pytest.raises(UserError, match=r"train lacks: unknown.*--test-part val"):
            load("folder", trained)
        assert len(load("folder", trained, test_part="val").test) == 8

    def test_other_names_of_the_training_part_are_read(self, trained):
        (trained / "train").rename(trained / "Train")
        write_part(trained / "VALID", 50)
        assert len(load("folder", trained).test) == 8
        assert recipe_family(f"folder:{trained}") == "digits-lt"

    def test_classes_of_one_image_run_without_a_test_part(self, trained):
        write_part(trained / "train", 0, 1, ["cow"])
        with pytest.raises(UserError, match="--test-part none"):
            load("folder", trained)
        dataset = load("folder", trained, test_part="none")
        assert dataset.class_counts == [8, 8, 1]
        assert "test" not in describe(dataset)["references"]

    def test_an_index_list_takes_the_folders_part(self, trained, tmp_path):
        write_part(trained / "val", 50)
        train = [(f"train/{name}/{number}.png", label) for label, name in enumerate(("ant", "bee")) for number in range(5)]
        write_lists(tmp_path, train, train, ("train.txt", "unused.txt"))
        lists = {"index_list": str(tmp_path / "train.txt")}
        assert values_of(load("folder", trained, **lists).test) == [50, 51, 52, 53, 150, 151, 152, 153]
        assert len(load("folder", trained, **lists, test_part="none").test) == 0
        with pytest.raises(UserError, match="leave one out"):
            load("folder", trained, **lists, test_list=lists["index_list"], test_part="val")

    def test_a_list_of_hidden_labels_names_the_choice(self, trained, tmp_path):
        train = [(f"train/{name}/{number}.png", label) for label, name in enumerate(("ant", "bee")) for number in range(5)]
        write_lists(tmp_path, train, [("train/ant/7.png", -1)], ("train.txt", "test.txt"))
        lists = {"index_list": str(tmp_path / "train.txt"), "test_list": str(tmp_path / "test.txt")}
        with pytest.raises(UserError, match="1 line with the label"):
            load("folder", trained, **lists)

    def test_published_sets_take_no_choice(self):
        with pytest.raises(UserError, match="digits-lt takes no --test-part"):
            load_dataset(DataConfig(name="digits-lt", test_part="val"))


class TestArrays:
    def write(self, tmp_path, **parts):
        rng = np.random.default_rng(0)
        arrays = {}
        for name, labels in parts.items():
            images = rng.integers(0, 256, (len(labels), 4, 4), dtype=np.uint8)
            arrays |= {f"{name}_images": images, f"{name}_labels": np.array(labels)}
        np.savez(tmp_path / "a.npz", **arrays)
        return tmp_path / "a.npz", arrays

    @pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Test"])
    def test_validation_arrays_serve_as_test(self, tmp_path, name):
        path, arrays = self.write(tmp_path, train=[0, 1] * 8, **{name: [0, 1, 1]})
        dataset = load("npz", path)
        assert np.array_equal(dataset.test.images[:, 0], arrays[f"{name}_images"])
        assert (len(dataset.train), dataset.test_part) == (16, name)

    def test_hidden_labels_name_the_choice(self, tmp_path):
        path, _ = self.write(tmp_path, train=[0, 1] * 8, val=[0, 1, 1], test=[-1, -1])
        with pytest.raises(UserError, match="2 of the 2 images"):
            load("npz", path)
        assert len(load("npz", path, test_part="val").test) == 3
        assert recipe_family(f"npz:{path}") == "digits-lt"

    def test_a_part_without_labels_names_the_choice(self, tmp_path):
        path, arrays = self.write(tmp_path, train=[0, 1] * 8, val=[0, 1, 1])
        np.savez(path, **arrays, test_images=arrays["val_images"])
        with pytest.raises(UserError, match=r"no array 'test_labels'.*--test-part val"):
            load("npz", path)
        lines = find_source(f"npz:{path}").verify(DataConfig(name=f"npz:{path}", test_part="none"), tmp_path, SILENT, False)
        assert "16 training and 0 test images" in lines[0]


def test_the_options_are_spelled_as_they_are_typed():
    values = DataConfig(name="x", imbalance_factor=100.0, test_part="none", columns=("a", "b")).model_dump(mode="json")
    assert option_words(values) == ["--imbalance-factor", "100", "--test-part", "none", "--columns", "a,b"]
    assert option_words(DataConfig().model_dump()) == []


def test_the_choice_changes_no_recipe_that_does_not_make_it():
    assert "test_part" not in RunConfig().to_toml()
