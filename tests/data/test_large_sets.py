"""The large sets from generated stand-ins of their published layouts, and what is said where something is missing."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from standins import COUNTS, LARGE, write_image, write_large, write_lists
from torchvision.datasets import CelebA, Places365, imagenet, inaturalist

from ltgen_bench.cli import cli
from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import DATASETS, load_dataset
from ltgen_bench.data.catalog import find_source

CLASSES = {
    "cifar10-photos": ("airplane", "automobile", "bird"),
    "tiny-imagenet": ("n01443537", "n01629819", "n02058221"), "imagenet-lt": ("n01440764", "n01443537", "n01484850"),
    "places-lt": ("0", "1", "2"), "inaturalist-2018": ("12", "3000", "7477"), "celeba-5": ("black", "blond", "brown"),
    "cub": ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")}


def load(name, data_root, **options):
    return load_dataset(DataConfig(name=name, **options), data_root=data_root)


def refused(name, data_root, **options):
    with pytest.raises(UserError) as caught:
        load(name, data_root, **options)
    assert caught.value.problems or "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", LARGE)
class TestEach:
    def test_its_layout_is_read_at_64_pixels_and_photographs_of_32_as_they_are_with_its_own_counts(self, name, tmp_path):
        write_large(name, tmp_path)
        dataset = load(name, tmp_path)
        assert dataset.name == name
        side = 32 if name == "cifar10-photos" else 64
        assert dataset.image_shape == DATASETS[name].image_shape == (3, side, side)
        assert dataset.class_counts == COUNTS
        assert dataset.class_names == CLASSES[name]
        for part in (dataset.train, dataset.test):
            assert np.abs(part.images[:, 0].mean((1, 2)) - 50 * part.labels).max() < 2
        assert np.bincount(dataset.test.labels).tolist() == [2, 2, 2]
        assert dataset.flip

    def test_another_size_can_be_asked_for(self, name, tmp_path):
        write_large(name, tmp_path)
        assert load(name, tmp_path, image_size=32).image_shape == (3, 32, 32)

    def test_a_missing_folder_says_in_one_sentence_what_to_get_and_where_to_put_it(self, name, tmp_path):
        message = refused(name, tmp_path)
        assert message.startswith(f"{name} is not under {tmp_path / name}/: get ")
        assert " from http" in message
        assert f" and unpack into {tmp_path / name}/, so that it has " in message
        for file, checksum in DATASETS[name].checksums:
            assert f"{file} (md5 {checksum.removeprefix('md5:')})" in message
        assert not (tmp_path / name).exists()

    def test_an_empty_folder_says_what_is_looked_for(self, name, tmp_path):
        (tmp_path / name).mkdir()
        assert refused(name, tmp_path).startswith(f"{name}: ")

    def test_lists_of_the_users_own_go_first(self, name, tmp_path):
        root = write_large(name, tmp_path)
        pairs = {part: [(f"own/{part}{label}{number}.png", label) for label in range(2) for number in range(3)]
                 for part in ("train", "test")}
        for path, label in pairs["train"] + pairs["test"]:
            for place in (root, root / "tiny-imagenet-200", root / "CUB_200_2011"):
                if place.is_dir():
                    write_image(place / path, value=60 * label)
        write_lists(tmp_path, pairs["train"], pairs["test"], ("a.txt", "b.txt"))
        dataset = load(name, tmp_path, index_list=str(tmp_path / "a.txt"), test_list=str(tmp_path / "b.txt"))
        assert dataset.class_counts == [3, 3]
        assert dataset.class_names == ("0", "1")

    def test_verifying_reads_every_file(self, name, tmp_path):
        write_large(name, tmp_path)
        config = DataConfig(name=name)
        checksum = load_raw(config, tmp_path).checksum
        assert find_source(name).verify(config, tmp_path, SILENT, False) == [
            f"{name}: 15 training and 6 test images as they were read", checksum]


def load_raw(config, data_root):
    return find_source(config.name).load(config, data_root, SILENT)


class TestPhotographs:
    def test_no_pixel_is_changed_and_the_archive_may_be_unpacked_as_it_is(self, tmp_path):
        from PIL import Image

        inner = tmp_path / "cifar10-photos" / "CIFAR-10-images-master"
        for part in ("train", "test"):
            for name in ("airplane", "truck"):
                write_image(inner / part / name / "0000.jpg", (32, 32), seed=len(part + name))
        dataset = load("cifar10-photos", tmp_path)
        with Image.open(inner / "train" / "truck" / "0000.jpg") as image:
            np.testing.assert_array_equal(dataset.train.images[1], np.asarray(image).transpose(2, 0, 1))

    def test_they_are_the_same_data_as_a_folder_at_the_factor_of_the_name(self, tmp_path):
        root = tmp_path / "cifar10-photos"
        for label, name in enumerate(("cat", "dog")):
            for number in range(100):
                write_image(root / "train" / name / f"{number:04}.jpg", (32, 32), seed=100 * label + number)
            write_image(root / "test" / name / "0000.jpg", (32, 32), seed=label)
        named = load("cifar10-photos-lt", tmp_path)
        assert (named.name, named.class_counts) == ("cifar10-photos-lt", [100, 1])
        assert named.fingerprint == load(f"folder:{root}", tmp_path, imbalance_factor=100.0).fingerprint


class TestTinyImagenet:
    def test_the_long_tail_is_cut_from_all_images(self, tmp_path):
        write_large("tiny-imagenet", tmp_path)
        dataset = load("tiny-imagenet-lt", tmp_path, imbalance_factor=4.0)
        assert dataset.class_counts == [4, 2, 1]
        assert DATASETS["tiny-imagenet-lt"].imbalance_factor == 100

    def test_the_folder_of_the_archive_may_lie_inside(self, tmp_path):
        root = write_large("tiny-imagenet", tmp_path)
        before = load("tiny-imagenet", tmp_path).fingerprint
        root.rename(tmp_path / "tiny-imagenet-200")
        root.mkdir()
        (tmp_path / "tiny-imagenet-200").rename(root / "tiny-imagenet-200")
        assert load("tiny-imagenet", tmp_path).fingerprint == before

    @pytest.mark.parametrize(("line", "sentence"), [
        ("val_00.JPEG\tn99999999\t0\t0\t9\t9", "val_annotations.txt has classes that train lacks: n99999999"),
        ("val_99.JPEG\tn01443537\t0\t0\t9\t9", "1 of 7 files that val/val_annotations.txt names not under .*: val/images/val_99"),
        ("alone", "1 line of one word, where two are needed; the first is line 7"),
    ])
    def test_faults_of_the_annotations(self, tmp_path, line, sentence):
        import re

        path = write_large("tiny-imagenet", tmp_path) / "val" / "val_annotations.txt"
        path.write_text(path.read_text() + line + "\n")
        assert re.search(sentence, refused("tiny-imagenet", tmp_path))

    def test_changed_annotations_are_other_labels_under_another_checksum(self, tmp_path):
        path = write_large("tiny-imagenet", tmp_path) / "val" / "val_annotations.txt"
        config = DataConfig(name="tiny-imagenet")
        before = load_raw(config, tmp_path)
        lines = path.read_text().splitlines()
        swapped = [f"{a.split(chr(9))[0]}\t{b.split(chr(9))[1]}" for a, b in zip(lines, lines[::-1], strict=True)]
        path.write_text("\n".join(swapped))
        after = load_raw(config, tmp_path)
        assert after.checksum != before.checksum
        assert after.test.labels.tolist() == before.test.labels.tolist()[::-1]


class TestPublishedLists:
    @pytest.mark.parametrize(("name", "lists"), [
        ("imagenet-lt", ("ImageNet_LT_train.txt", "ImageNet_LT_test.txt")),
        ("places-lt", ("Places_LT_train.txt", "Places_LT_test.txt"))])
    def test_without_its_lists_a_set_is_refused(self, tmp_path, name, lists):
        root = write_large(name, tmp_path)
        (root / lists[1]).rename(tmp_path / "elsewhere.txt")
        assert refused(name, tmp_path) == f"there is no index list {root / lists[1]}."
        assert load(name, tmp_path, test_list=str(tmp_path / "elsewhere.txt")).class_counts == COUNTS
        (root / lists[0]).unlink()
        message = refused(name, tmp_path)
        assert f"{root} has no {lists[0]} and {lists[1]}; get these lists from https://" in message
        assert "--index-list and --test-list" in message

    def test_a_factor_can_be_laid_over_a_published_list(self, tmp_path):
        write_large("imagenet-lt", tmp_path)
        dataset = load("imagenet-lt", tmp_path, imbalance_factor=2.0)
        assert dataset.class_counts == [4, 2, 2]

    def test_inaturalist_prefers_lists_that_are_there(self, tmp_path):
        root = write_large("inaturalist-2018", tmp_path)
        folders = ["train_val2018/Plantae/12", "train_val2018/Aves/3000"]
        train, test = ([(f"{folder}/{part}{number}.jpg", label) for label, folder in enumerate(folders) for number in range(2)]
                       for part in ("train", "val"))
        write_lists(root, train, test, ("iNaturalist18_train.txt", "iNaturalist18_val.txt"))
        dataset = load("inaturalist-2018", tmp_path)
        assert (dataset.class_names, dataset.class_counts) == (("12", "3000"), [2, 2])

    @pytest.mark.parametrize("damage", [
        lambda values: values["images"].append({"id": 5}), lambda values: values.pop("annotations"),
        lambda values: values["images"].append({"id": 77777, "file_name": "x.jpg"})])
    def test_a_broken_json_is_named(self, tmp_path, damage):
        path = write_large("inaturalist-2018", tmp_path) / "train2018.json"
        values = json.loads(path.read_text())
        damage(values)
        path.write_text(json.dumps(values))
        assert f"{path} is not the published list of images" in refused("inaturalist-2018", tmp_path)
        path.write_text("{")
        assert f"{path} is not the published list of images" in refused("inaturalist-2018", tmp_path)

    def test_a_category_in_the_test_list_only(self, tmp_path):
        path = write_large("inaturalist-2018", tmp_path) / "val2018.json"
        path.write_text(path.read_text().replace('"category_id": 12}', '"category_id": 13}'))
        assert "val2018.json has categories that train2018.json" in refused("inaturalist-2018", tmp_path)

    def test_lists_of_cub_that_do_not_fit_each_other(self, tmp_path):
        root = write_large("cub", tmp_path) / "CUB_200_2011"
        path = root / "image_class_labels.txt"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
        assert "do not number the same images" in refused("cub", tmp_path)
        path.unlink()
        assert refused("cub", tmp_path) == f"cub: {root} has no image_class_labels.txt; unpack CUB_200_2011.tgz there."

    def test_celeba_5_says_that_no_list_is_published(self, tmp_path):
        (tmp_path / "celeba-5").mkdir()
        message = refused("celeba-5", tmp_path)
        assert "five classes by hair colour" in message
        assert "--index-list FILE" in message


def test_the_stated_checksums_are_torchvisions():
    stated = {file: checksum.removeprefix("md5:") for name in LARGE for file, checksum in DATASETS[name].checksums}
    for part in ("train", "val"):
        file, checksum = imagenet.ARCHIVE_META[part]
        assert stated[file] == checksum
        file, checksum = Places365._IMAGES_META["train-standard" if part == "train" else part, True]
        assert stated[file] == checksum
    assert stated["train_val2018.tar.gz"] == inaturalist.DATASET_MD5["2018"]
    assert stated["img_align_celeba.zip"] == {file: checksum for _, checksum, file in CelebA.file_list}["img_align_celeba.zip"]


@pytest.mark.parametrize(("name", "options", "shown"), [
    ("tiny-imagenet-lt", ["--imbalance-factor", "4", "--image-size", "32"], "4, 2, 1"), ("cub", [], "6, 5, 4")])
def test_the_command_line_plans_a_run(name, options, shown, tmp_path, monkeypatch):
    write_large(name.removesuffix("-lt"), tmp_path / "disk")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LTGEN_BENCH_CACHE", str(tmp_path / "cache"))
    answer = CliRunner().invoke(cli, [
        "run", "--dry-run", "--method", "ddpm", "--dataset", name, "--data-root", "disk", "--network", "digits",
        "--set", "network.channels=[8, 16]", "--set", "train.batch_size=2", *options], catch_exceptions=False)
    assert f"# classes      {shown}   (" in answer.output
    assert f"# data         {name}" in answer.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "disk"]
