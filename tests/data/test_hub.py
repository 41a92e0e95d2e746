"""Data sets of the hub, from folders of the same layout: columns, splits, labels, the cache, and what can go wrong."""

import io
import logging
import sys

import numpy as np
import pytest
from PIL import Image
from standins import write_image

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import hub, load_dataset
from ltgen_bench.data.catalog import find_source
from ltgen_bench.data.hub import list_hub
from ltgen_bench.experiments.recipes import recipe_family

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    """Neither the library's cache nor ours is the user's; and nothing asks the network."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("LTGEN_BENCH_CACHE", str(tmp_path / "cache"))


def png(value, size=(6, 4)):
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def make(tmp_path):
    """`make(train={...}, test={...})`: a folder with a Parquet file for each split; an `image` column is made of values."""
    def write(features, **splits):
        folder = tmp_path / "set"
        folder.mkdir(exist_ok=True)
        for split, columns in splits.items():
            rows = {name: [value if value is None else {"bytes": png(value), "path": None} for value in values]
                    if isinstance(features[name], datasets.Image) else values for name, values in columns.items()}
            datasets.Dataset.from_dict(rows, features=datasets.Features(features)).to_parquet(folder / f"{split}.parquet")
        return str(folder)

    progress = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    yield write
    if not progress:
        datasets.enable_progress_bars()


CLASSES = datasets.ClassLabel(names=["ant", "bee"])
IMAGE = datasets.Image()
TRAIN = {"image": [1, 2, 3, 101, 102], "label": [0, 0, 0, 1, 1]}
TEST = {"image": [5, 105], "label": [0, 1]}


def load(folder, progress=SILENT, **options):
    return load_dataset(DataConfig(name=f"hub:{folder}", **options), progress=progress)


def refused(folder, **options):
    with pytest.raises(UserError) as caught:
        load(folder, **options)
    return str(caught.value)


class TestReading:
    def test_rows_become_images_with_the_names_of_their_labels(self, make):
        dataset = load(make({"image": IMAGE, "label": CLASSES}, train=TRAIN, test=TEST))
        assert dataset.name == "hub-set"
        assert dataset.class_names == ("ant", "bee")
        assert dataset.class_counts == [3, 2]
        assert dataset.train.images[:, 0, 0, 0].tolist() == TRAIN["image"]
        assert dataset.test.labels.tolist() == [0, 1]

    def test_a_folder_of_image_files_is_read_through_their_paths(self, tmp_path):
        for part, count in (("train", 3), ("test", 1)):
            for name in ("ant", "bee"):
                for number in range(count):
                    write_image(tmp_path / "files" / part / name / f"{number}.png", (6, 4), number)
        dataset = load(tmp_path / "files")
        assert (dataset.class_names, dataset.class_counts, len(dataset.test)) == (("ant", "bee"), [3, 3], 2)

    def test_it_goes_through_the_same_resizing_and_cache(self, make, tmp_path, told):
        folder = make({"image": IMAGE, "label": CLASSES}, train=TRAIN, test=TEST)
        first = load(folder, told, image_size=32)
        assert first.image_shape == (3, 32, 32)
        assert [stage["name"] for stage in told.stages] == ["read train", "read test"]
        again = load(folder, told, image_size=32)
        assert len(told.stages) == 2
        assert again.fingerprint == first.fingerprint
        config = DataConfig(name=f"hub:{folder}", image_size=32)
        lines = find_source(config.name).verify(config, tmp_path, SILENT, False)
        assert lines[0] == f"hub:{folder}: 5 training and 2 test images as they were read"

    def test_another_revision_is_read_anew(self, make):
        folder = make({"image": IMAGE, "label": CLASSES}, train=TRAIN, test=TEST)
        before = load(folder)
        make({"image": IMAGE, "label": CLASSES}, train={**TRAIN, "image": [9, *TRAIN["image"][1:]]})
        after = load(folder)
        assert after.train.images[0].max() == 9
        assert after.split.source != before.split.source

    def test_validation_stands_in_for_test_and_else_a_quarter_is_held_out(self, make):
        features = {"image": IMAGE, "label": CLASSES}
        many = {"image": list(range(16)), "label": [0, 1] * 8}
        folder = make(features, train=many)
        assert (len(load(folder).train), len(load(folder).test)) == (12, 4)
        make(features, validation=TEST)
        assert len(load(folder).test) == 2

    @pytest.mark.parametrize("name", ["Test", "valid", "val", "dev", "Validation"])
    def test_splits_of_other_names_serve_as_test(self, make, monkeypatch, name):
        folder = make({"image": IMAGE, "label": CLASSES}, train=TRAIN, test=TEST)
        splits = hub._load(folder, "hub:set", SILENT)
        monkeypatch.setattr(hub, "_load", lambda *_: {"Train": splits["train"], name: splits["test"], "extra": splits["test"]})
        dataset = load(folder)
        assert (dataset.test.images[:, 0, 0, 0].tolist(), dataset.test_part) == (TEST["image"], name)
        assert len(load(folder, test_part="none").test) == 0
        assert load(folder, test_part="extra").test_part == "extra"

    def test_hidden_labels_name_the_choice(self, make):
        folder = make({"image": IMAGE, "label": CLASSES}, train=TRAIN, test={**TEST, "label": [-1, -1]}, validation=TEST)
        assert "--test-part validation" in refused(folder)
        assert load(folder, test_part="validation").test.images[:, 0, 0, 0].tolist() == TEST["image"]
        assert recipe_family(f"hub:{folder}") == "digits-lt"

    def test_whole_numbers_are_labels_and_their_own_names(self, make):
        dataset = load(make({"image": IMAGE, "label": datasets.Value("int32")}, train=TRAIN, test=TEST))
        assert (dataset.class_names, dataset.class_counts) == (("0", "1"), [3, 2])

    def test_class_labels_go_before_numbers_and_columns_can_be_named(self, make):
        features = {"image": IMAGE, "label": CLASSES, "id": datasets.Value("int64"), "word": datasets.Value("string")}
        more = {"id": [4, 4, 4, 4, 4], "word": ["b", "a", "b", "a", "a"]}
        folder = make(features, train={**TRAIN, **more}, test={**TEST, "id": [4, 4], "word": ["a", "b"]})
        assert load(folder).class_names == ("ant", "bee")
        named = load(folder, columns=("image", "word"))
        assert (named.class_names, named.train.labels.tolist()) == (("a", "b"), [1, 0, 1, 0, 0])

    def test_the_size_of_its_images_chooses_the_recipe(self, make):
        folder = make({"image": IMAGE, "label": CLASSES}, train=TRAIN, test=TEST)
        assert recipe_family(f"hub:{folder}") == "digits-lt"
        assert recipe_family(f"hub:{folder}", 32) == "cifar10-lt"


class TestFaults:
    def test_several_columns_are_named_with_the_option(self, make):
        folder = make({"image": IMAGE, "other": IMAGE, "label": CLASSES},
                      train={**TRAIN, "other": TRAIN["image"]}, test={**TEST, "other": TEST["image"]})
        message = refused(folder)
        assert "image columns image" in message
        assert "--columns IMAGE,LABEL. All columns: image" in message
        assert load(folder, columns=("other", "label")).class_counts == [3, 2]
        assert "--columns names 'label'" in \
            refused(folder, columns=("label", "label"))
        assert "--columns names 'imge'" in refused(folder, columns=("imge", "label"))
        assert "--columns names 'other'" in \
            refused(folder, columns=("image", "other"))

    def test_no_column_of_images(self, make):
        folder = make({"label": CLASSES}, train={"label": [0, 1]}, test={"label": [0, 1]})
        assert "image columns none" in refused(folder)

    @pytest.mark.parametrize(("kind", "labels", "sentence"), [
        ("int64", [0, 7], "classes that train lacks: 7"),
        ("string", ["0", "x"], "classes that train lacks: x"),
        ("int64", [0, -1], "'label' of the split 'test'")])
    def test_labels_of_the_test_split_that_do_not_fit(self, make, kind, labels, sentence):
        train = {**TRAIN, "label": [str(label) if kind == "string" else label for label in TRAIN["label"]]}
        folder = make({"image": IMAGE, "label": datasets.Value(kind)}, train=train, test={**TEST, "label": labels})
        assert sentence in refused(folder, columns=("image", "label"))

    @pytest.mark.parametrize("split", ["train", "test"])
    @pytest.mark.parametrize(("kind", "values"), [
        ("int64", [0, 1]), ("string", ["a", "b"]), ("float64", [0.0, 1.0]), ("large_string", ["a", "b"]), ("class", [0, 1])])
    def test_rows_without_a_label_are_counted_and_refused(self, make, split, kind, values):
        parts = {"train": {**TRAIN, "label": [values[label] for label in TRAIN["label"]]},
                 "test": {**TEST, "label": [values[label] for label in TEST["label"]]}}
        parts[split]["label"][1] = None
        feature = CLASSES if kind == "class" else datasets.Value(kind)
        text = refused(make({"image": IMAGE, "label": feature}, **parts), columns=("image", "label"))
        assert f"1 of the {5 if split == 'train' else 2} rows of the split '{split}' have no label" in text
        assert "(row 1, counted from 0)" in text
        assert ("--test-part" in text) is (split == "test")

    @pytest.mark.parametrize(("kind", "absent"), [("string", " "), ("float32", float("nan"))])
    def test_blanks_and_nan_are_no_labels_either(self, make, kind, absent):
        labels = [absent, *["0" if kind == "string" else 0.0] * 2, absent, "1" if kind == "string" else 1.0]
        folder = make({"image": IMAGE, "label": datasets.Value(kind)}, train={**TRAIN, "label": labels})
        assert "2 of the 5 rows" in refused(folder, columns=("image", "label"))

    def test_floats_are_labels_where_all_are_whole(self, make):
        feature = {"image": IMAGE, "label": datasets.Value("float64")}
        train = {**TRAIN, "label": [0.0, 0.0, 0.0, 1.0, 1.0]}
        found = load(make(feature, train=train, test={**TEST, "label": [0.0, 1.0]}))
        assert (found.class_names, found.class_counts) == (("0", "1"), [3, 2])
        assert "1 of the 2 labels 'label' of the split 'test' are no whole numbers; the first is 0.5 in row 1" in \
            refused(make(feature, train=train, test={**TEST, "label": [0.0, 0.5]}))

    def test_texts_that_are_numbers_stand_by_value(self, make):
        labels = [str(label) for label in range(12)] * 4
        folder = make({"image": IMAGE, "label": datasets.Value("string")}, train={"image": list(range(48)), "label": labels})
        found = load(folder, columns=("image", "label"))
        assert found.class_names == tuple(map(str, range(12)))
        assert all(int(image[0, 0, 0]) % 12 == label for image, label in zip(found.test.images, found.test.labels, strict=True))

    def test_a_row_without_an_image_is_named(self, make):
        folder = make({"image": IMAGE, "label": CLASSES}, train={**TRAIN, "image": [1, None, 3, 4, 5]}, test=TEST)
        assert f"hub:{folder}/train/1: the row has no image" in refused(folder)

    def test_without_a_train_split(self, make):
        assert "split 'train'" in refused(make({"image": IMAGE, "label": CLASSES}, test=TEST))

    def test_without_a_network_and_with_unknown_names(self, make, tmp_path, told):
        with pytest.raises(UserError, match="hub:ylecun/mnist could not be fetched"):
            load("ylecun/mnist", told)
        assert told.messages == ["asking the Hugging Face hub for ylecun/mnist; what is not in its cache is downloaded"]
        (tmp_path / "empty").mkdir()
        assert "could not be loaded (" in refused(tmp_path / "empty")
        folder = make({"image": IMAGE, "label": CLASSES}, train=TRAIN)
        assert "loaded (ValueError: BuilderConfig 'nope'" in refused(f"{folder}:nope")

    def test_without_the_library_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(UserError, match=r"hub:x/y needs the library datasets.*:"):
            list_hub("x/y", None, SILENT)

    def test_options_of_lists_are_refused(self):
        assert "hub:x takes no --index-list" in refused("x", index_list="x")

    def test_the_library_is_left_as_talkative_as_it_was(self, make, capfd):
        folder = make({"image": IMAGE, "label": CLASSES}, train=TRAIN, test=TEST)
        datasets.enable_progress_bars()
        level = logging.getLogger("datasets").level
        load(folder)
        assert capfd.readouterr() == ("", "")
        assert not datasets.are_progress_bars_disabled()
        assert logging.getLogger("datasets").level == level
