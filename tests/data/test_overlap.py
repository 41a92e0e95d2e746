"""Test images that are training images: the same file by another path, or the same pixels in another file."""

import os

import pytest
from standins import write_image, write_lists

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data import load_dataset
from ltgen_bench.data.describe import describe
from ltgen_bench.data.overlap import equal_images
from ltgen_bench.data.verify import verify

TRAIN = [(f"train/{name}/{number}.png", label) for label, name in enumerate("ab") for number in range(3)]
TEST = [(f"test/{name}/{number}.png", label) for label, name in enumerate("ab") for number in range(2)]


@pytest.fixture
def photos(tmp_path):
    for value, (path, _) in enumerate(TRAIN + TEST):
        write_image(tmp_path / "photos" / path, (4, 4), 10 * value)
    return tmp_path / "photos"


def listed(photos, train=TRAIN, test=TEST):
    write_lists(photos.parent, train, test, ("train.txt", "test.txt"))
    lists = {"index_list": str(photos.parent / "train.txt"), "test_list": str(photos.parent / "test.txt")}
    return load_dataset(DataConfig(name=f"folder:{photos}", **lists))


@pytest.mark.parametrize("path", ["./train/a/1.png", "train/../train/a/1.png", "train//a/1.png", "test/a/link.png",
                                  "linked/a/1.png", "{photos}/train/a/1.png", "test/a/hard.png"])
def test_another_path_to_a_training_image_is_no_test_image(photos, path):
    (photos / "test/a/link.png").symlink_to("../../train/a/1.png")
    (photos / "linked").symlink_to("train")
    os.link(photos / "train/a/1.png", photos / "test/a/hard.png")
    path = path.format(photos=photos)
    with pytest.raises(UserError, match=r"1 file also in .*train/a/1\.png"):
        listed(photos, test=[*TEST, (path, 0)])
    with pytest.raises(UserError, match="1 file named"):
        listed(photos, train=[*TRAIN, (path, 0)])


def test_links_between_the_parts_of_a_folder_are_refused_with_a_way_out(photos):
    (photos / "test" / "b" / "9.png").symlink_to(photos / "train" / "b" / "0.png")
    config = DataConfig(name=f"folder:{photos}")
    with pytest.raises(UserError, match="1 test image"):
        load_dataset(config)
    with pytest.raises(UserError, match="1 test image"):
        verify(config)


def test_equal_pixels_in_other_files_are_counted(photos, told):
    write_image(photos / "test" / "a" / "0.bmp", (4, 4), 10)  # as train/a/1.png
    write_image(photos / "test" / "b" / "0.png", (4, 4), 0)  # as train/a/0.png, of another class
    config = DataConfig(name=f"folder:{photos}")
    dataset = load_dataset(config)
    assert equal_images(dataset) == {"longtail": 2, "train": 2}
    assert describe(dataset)["test_equal_to_training"]["train"] == 2
    assert any(line.startswith("2 of 5 test images equal training images") for line in verify(config))
    cut = load_dataset(config.model_copy(update={"imbalance_factor": 3.0, "class_order": 2}))
    assert equal_images(cut)["longtail"] < equal_images(cut)["train"] == 2


def test_sets_without_common_images_say_so():
    assert equal_images(load_dataset(DataConfig())) == {"longtail": 0, "train": 0}
