"""The split as an image folder: what is written reads back as the same data."""

from dataclasses import replace

import numpy as np
import pytest

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.data import load_dataset
from ltgen_bench.data.folder_export import export, folder_names
from ltgen_bench.data.splits import Split


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig())


def in_order_of_content(images):
    keys = [(int(label), image.tobytes()) for label, image in zip(images.labels, images.images, strict=True)]
    return sorted(keys)


def test_it_reads_back_as_the_same_images_and_labels(digits, tmp_path):
    written = export(digits, tmp_path / "out", reference=True)
    assert written == [tmp_path / "out" / part for part in ("train", "test", "reference")]
    again = load_dataset(DataConfig(name=f"folder:{tmp_path / 'out'}"))
    assert in_order_of_content(again.train) == in_order_of_content(digits.train)
    assert in_order_of_content(again.test) == in_order_of_content(digits.test)
    assert len(list((tmp_path / "out" / "reference").rglob("*.png"))) == len(digits.reference)
    assert Split.load(tmp_path / "out" / "split.json").sha256 == digits.split.sha256
    assert not list(tmp_path.glob(".*"))


def test_without_test_images_there_is_no_test_folder(make_dataset, tmp_path):
    dataset = make_dataset((5, 4, 1))
    export(replace(dataset, test=dataset.test.take(np.empty(0, np.int64))), tmp_path / "out")
    again = load_dataset(DataConfig(name=f"folder:{tmp_path / 'out'}", test_part="none"))
    assert in_order_of_content(again.train) == in_order_of_content(dataset.train)


def test_colours_come_back_as_they_were(make_dataset, tmp_path):
    dataset = make_dataset((5, 4, 4), shape=(3, 8, 8))
    export(dataset, tmp_path / "out")
    again = load_dataset(DataConfig(name=f"folder:{tmp_path / 'out'}"))
    assert in_order_of_content(again.train) == in_order_of_content(dataset.train)
    assert not (tmp_path / "out" / "split.json").exists(), "a set that was taken from no source has no manifest"


def test_the_number_of_a_file_is_its_place_in_the_set(digits, tmp_path):
    from PIL import Image

    export(digits, tmp_path / "out")
    last = len(digits.train) - 1
    file = tmp_path / "out" / "train" / digits.class_names[digits.train.labels[last]] / f"{last:03d}.png"
    assert np.array_equal(np.asarray(Image.open(file)), digits.train.images[last, 0])


def test_a_folder_with_something_in_it_is_refused_and_left_alone(digits, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="new folder with --out"):
        export(digits, tmp_path / "out")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_an_empty_folder_is_filled(digits, tmp_path):
    (tmp_path / "out").mkdir()
    export(digits, tmp_path / "out")
    assert (tmp_path / "out" / "train").is_dir()


def test_a_failure_in_between_leaves_nothing(digits, tmp_path, monkeypatch):
    from ltgen_bench.data import folder_export as module

    calls = []

    def full(image, file):
        calls.append(file)
        if len(calls) > 30:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_png", full)
    with pytest.raises(MachineError, match="disk is full"):
        export(digits, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("names", "folders"), [
    (("ant", "bee"), ["ant", "bee"]), (("bee", "ant"), ["0-bee", "1-ant"]), (("a/b", "c:d"), ["a-b", "c-d"]),
    (("..", "x"), ["class", "x"]), (("Ant", "ant"), ["0-Ant", "1-ant"]), (("a", "a"), ["0-a", "1-a"]),
    (tuple(str(c) for c in range(11)), [f"{c:02d}-{c}" for c in range(11)])])
def test_class_folders_sort_in_the_order_of_the_labels(names, folders):
    assert folder_names(names) == folders
    assert sorted(folders) == folders
