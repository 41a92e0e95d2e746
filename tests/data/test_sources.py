"""Users' own images and arrays: every layout that is taken, and a clear sentence for every one that is not."""

import pickle
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import standins
from PIL import Image

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import load_dataset
from ltgen_bench.data.catalog import find_source
from ltgen_bench.data.npz import load_npz

write_image = partial(standins.write_image, size=(6, 4))


def load_folder(root, progress, **options):
    """The images of a folder before a long tail is cut, through the catalogue."""
    config = DataConfig(name=f"folder:{root}", **options)
    return find_source(config.name).load(config, Path("data"), progress)


class TestFolder:
    def test_classes_and_images_stand_in_the_order_of_their_names(self, root):
        raw = load_folder(root, SILENT)
        assert raw.class_names == ("ant", "bee")
        assert raw.train.images.shape == (6, 3, 4, 6)
        assert raw.train.images[:, 0, 0, 0].tolist() == [10, 11, 12, 200, 201, 202]
        assert raw.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert raw.test.labels.tolist() == [0, 0, 1, 1]

    def test_pixels_arrive_as_they_are_channels_first(self, root):
        array = write_image(root / "train" / "ant" / "9.bmp")
        assert np.array_equal(load_folder(root, SILENT).train.images[3], array.transpose(2, 0, 1))

    def test_the_name_is_the_folders_and_the_counts_are_kept(self, root):
        dataset = load_dataset(DataConfig(name=f"folder:{root}"))
        assert dataset.name == f"folder-{root.name}"
        assert dataset.class_counts == [3, 3]
        assert dataset.flip

    def test_a_bar_shows_the_reading_of_each_part(self, root, told):
        load_folder(root, told)
        assert [(s["name"], s["total"], s["done"], s["unit"]) for s in told.stages] == [
            ("read train", 6, 6, "images"), ("read test", 4, 4, "images")]

    def test_hidden_files_and_other_kinds_are_left_out(self, root):
        (root / "train" / "ant" / "notes.txt").write_text("x")
        (root / "train" / "ant" / "._0.png").write_bytes(b"x")
        (root / "train" / ".hidden").mkdir()
        (root / "train" / "README.md").write_text("x")
        assert len(load_folder(root, SILENT).train) == 6

    def test_corrupt_files_are_all_named_at_once(self, root):
        (root / "train" / "ant" / "0.png").write_bytes(b"no image")
        whole = (root / "train" / "bee" / "2.png").read_bytes()
        (root / "train" / "bee" / "2.png").write_bytes(whole[:len(whole) // 2])
        with pytest.raises(UserError, match=r"^2 of 6 train images") as caught:
            load_folder(root, SILENT)
        assert "ant/0.png: it is corrupt" in caught.value.problems[0]
        assert "bee/2.png: it is corrupt" in caught.value.problems[1]

    def test_many_corrupt_files_are_counted_and_five_are_named(self, root):
        for number in range(8):
            (root / "train" / "ant" / f"x{number}.png").write_bytes(b"no image")
        with pytest.raises(UserError, match="8 of 14 train images") as caught:
            load_folder(root, SILENT)
        assert len(caught.value.problems) == 5

    def test_images_of_another_size_are_named_with_their_size(self, root):
        write_image(root / "train" / "bee" / "1.png", size=(7, 5))
        with pytest.raises(UserError, match=r"1 of 6 train images .* not 6 x 4 like .* or give --image-size") as caught:
            load_folder(root, SILENT)
        assert caught.value.problems[0].endswith("bee/1.png: 7 x 5")

    def test_test_images_of_another_size_are_refused(self, root):
        for path in (root / "test").rglob("*.png"):
            write_image(path, size=(8, 4))
        with pytest.raises(UserError, match="training images are 6 x 4 with 3 channels and test images 8 x 4"):
            load_folder(root, SILENT)

    def test_images_with_more_than_eight_bits_are_named(self, root):
        Image.fromarray(np.zeros((4, 6), np.uint16)).save(root / "train" / "ant" / "0.png")
        with pytest.raises(UserError, match="could not be read") as caught:
            load_folder(root, SILENT)
        assert "only 8-bit images are read" in caught.value.problems[0]

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_an_empty_class_folder_is_named(self, root, part):
        for path in (root / part / "bee").iterdir():
            path.unlink()
        with pytest.raises(UserError, match=rf"the class folder .*{part}/bee has no images .*add some or remove the class"):
            load_folder(root, SILENT)

    def test_a_class_missing_from_the_test_part_is_named(self, root):
        for path in (root / "test" / "bee").iterdir():
            path.unlink()
        (root / "test" / "bee").rmdir()
        with pytest.raises(UserError, match=r"test/bee has no images"):
            load_folder(root, SILENT)

    def test_a_class_in_the_test_part_only_is_named(self, root):
        write_image(root / "test" / "cow" / "0.png")
        with pytest.raises(UserError, match="classes that train lacks: cow"):
            load_folder(root, SILENT)

    def test_a_missing_train_folder_shows_the_layout(self, tmp_path):
        with pytest.raises(UserError, match=r"images are expected as .*train/CLASS/FILE"):
            load_folder(tmp_path, SILENT)
        (tmp_path / "train").mkdir()
        with pytest.raises(UserError, match="has no class folders"):
            load_folder(tmp_path, SILENT)

    def test_grey_files_have_one_channel(self, root):
        for path in root.rglob("*.png"):
            write_image(path, mode="L", value=7)
        assert load_folder(root, SILENT).train.images.shape == (6, 1, 4, 6)

    def test_a_grey_file_among_colour_ones_is_shown_in_three_channels(self, root):
        grey = write_image(root / "train" / "ant" / "1.png", mode="L")
        images = load_folder(root, SILENT).train.images
        assert images.shape == (6, 3, 4, 6)
        assert np.array_equal(images[1], np.stack([grey] * 3))

    def test_grey_training_and_coloured_test_images_are_refused(self, root):
        for path in (root / "train").rglob("*.png"):
            write_image(path, mode="L")
        with pytest.raises(UserError, match="6 x 4 with 1 channel and test images 6 x 4 with 3 channels"):
            load_folder(root, SILENT)

    def test_palettes_and_transparency_become_colour(self, root):
        image = Image.fromarray(np.full((4, 6, 3), 102, np.uint8))  # a level of the standard palette
        image.convert("P").save(root / "train" / "ant" / "0.png")
        image.convert("RGBA").save(root / "train" / "ant" / "1.png")
        images = load_folder(root, SILENT).train.images
        assert (images[:2] == 102).all()

    def test_without_a_test_part_a_quarter_of_each_class_is_held_out(self, tmp_path):
        for name, count in (("ant", 20), ("bee", 8)):
            for number in range(count):
                write_image(tmp_path / "train" / name / f"{number}.png")
        raw = load_folder(tmp_path, SILENT)
        assert np.bincount(raw.train.labels).tolist() == [15, 6]
        assert np.bincount(raw.test.labels).tolist() == [5, 2]
        again = load_folder(tmp_path, SILENT)
        assert again.train.content_hash() == raw.train.content_hash()

    @pytest.mark.parametrize("counts", [(20, 1), (2, 2), (3, 3), (103, 103, 2)])
    def test_a_class_too_small_to_hold_some_out_is_said(self, tmp_path, counts):
        for name, count in zip("abc", counts, strict=False):
            for number in range(count):
                write_image(tmp_path / "train" / name / f"{number}.png", size=(1, 1))
        with pytest.raises(UserError, match=rf"has {min(counts)} of {sum(counts)} images, too few .*give a test part"):
            load_folder(tmp_path, SILENT)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


LABELS = np.tile([0, 1, 2], 8)


class TestArrays:
    @pytest.mark.parametrize(("shape", "expected"), [
        ((24, 4, 6), (1, 4, 6)), ((24, 4, 6, 1), (1, 4, 6)), ((24, 4, 6, 3), (3, 4, 6)), ((24, 3, 4, 6), (3, 4, 6)),
        ((24, 1, 4, 6), (1, 4, 6))])
    def test_every_layout_becomes_channels_first(self, tmp_path, shape, expected):
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        path = save(tmp_path / "a.npz", train_images=images, train_labels=LABELS, test_images=images, test_labels=LABELS)
        raw = load_npz(path)
        assert raw.train.images.shape == (24, *expected)
        pixel = images[5, 2, 3] if len(shape) == 3 else images[5, 2, 3, 0] if shape[-1] in (1, 3) else images[5, 0, 2, 3]
        assert raw.train.images[5, 0, 2, 3] == pixel
        assert raw.class_names == ("0", "1", "2")

    def test_short_names_stand_for_the_training_part(self, tmp_path):
        images = np.zeros((24, 4, 4), np.uint8)
        raw = load_npz(save(tmp_path / "a.npz", images=images, labels=LABELS))
        assert np.bincount(raw.train.labels).tolist() == [6, 6, 6]
        assert np.bincount(raw.test.labels).tolist() == [2, 2, 2]

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_labels_that_are_none_are_counted(self, tmp_path, part):
        arrays = {f"{name}_{kind}": value for name in ("train", "test")
                  for kind, value in (("images", np.zeros((6, 4, 4), np.uint8)), ("labels", np.arange(6.0) % 2))}
        arrays[f"{part}_labels"][[1, 4]] = np.nan
        if part == "test":
            arrays["train_labels"] = arrays["train_labels"].astype(int)
        with pytest.raises(UserError, match=f"{part}: 2 of the 6 labels are NaN"):
            load_npz(save(tmp_path / "a.npz", **arrays))

    @pytest.mark.parametrize(("names", "words"), [
        (["a", "a", "b"], "'a' twice"), (["a", " ", "b"], "an empty name"), ([0.5, np.nan, 1], "class_names is float64"),
        ([["a", "b", "c"]], "of shape")])
    def test_class_names_that_are_none_are_refused(self, tmp_path, names, words):
        with pytest.raises(UserError, match=words):
            load_npz(save(tmp_path / "a.npz", images=np.zeros((12, 4, 4), np.uint8), labels=np.arange(12) % 3, class_names=names))

    def test_class_names_may_be_bytes(self, tmp_path):
        path = save(tmp_path / "a.npz", images=np.zeros((12, 4, 4), np.uint8), labels=np.arange(12) % 3,
                    class_names=np.array([b"a", b"b", b"c"]))
        assert load_npz(path).class_names == ("a", "b", "c")

    def test_class_names_can_be_given(self, tmp_path):
        images = np.zeros((24, 4, 4), np.uint8)
        raw = load_npz(save(tmp_path / "a.npz", images=images, labels=LABELS, class_names=["cat", "dog", "eel"]))
        assert raw.class_names == ("cat", "dog", "eel")

    @pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
    def test_whole_numbers_of_any_width_are_labels(self, tmp_path, dtype):
        raw = load_npz(save(tmp_path / "a.npz", images=np.zeros((24, 4, 4), np.uint8), labels=LABELS.astype(dtype)))
        assert raw.train.labels.dtype == np.int64

    @pytest.mark.parametrize(("images", "sentence"), [
        (np.linspace(-1, 1, 24 * 16).reshape(24, 4, 4), r"images are float64, from -1 to 1; they must be uint8, from 0 to 255"),
        (np.arange(24 * 16).reshape(24, 4, 4), r"images are int64, from 0 to 383"),
        (np.zeros((24, 16), np.uint8), r"images have the shape \(24, 16\); allowed are"),
        (np.zeros((24, 4, 4, 2), np.uint8), r"images have the shape \(24, 4, 4, 2\)"),
        (np.zeros((23, 4, 4), np.uint8), "23 images need as many labels"),
    ])
    def test_images_that_are_no_bytes_or_have_another_shape(self, tmp_path, images, sentence):
        with pytest.raises(UserError, match=rf"npz:.*a\.npz, train: {sentence}"):
            load_npz(save(tmp_path / "a.npz", images=images, labels=LABELS))

    @pytest.mark.parametrize(("labels", "sentence"), [
        (np.where(np.arange(24) == 7, -1, LABELS), "label -1 of image 7"),
        (np.where(np.arange(24) == 7, 10**12, LABELS), "label 1000000000000 of image 7"),
        (np.where(np.arange(24) == 7, 2**63 + 5, LABELS.astype(np.uint64)), "image 7 is outside"),
        (LABELS.astype(float), "labels are float64 of shape"),
        (LABELS[:, None], r"int64 of shape \(24, 1\)"),
    ])
    def test_labels_outside_the_range_or_of_another_kind(self, tmp_path, labels, sentence):
        with pytest.raises(UserError, match=sentence):
            load_npz(save(tmp_path / "a.npz", images=np.zeros((24, 4, 4), np.uint8), labels=labels))

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_a_label_beyond_the_class_names_says_the_range(self, tmp_path, part):
        arrays = {f"{p}_{kind}": array for p in ("train", "test")
                  for kind, array in (("images", np.zeros((24, 4, 4), np.uint8)), ("labels", LABELS.copy()))}
        arrays[f"{part}_labels"][3] = 3
        with pytest.raises(UserError, match=rf"{part}_labels has the label 3 and there are 3 classes, .* from 0 to 2"):
            load_npz(save(tmp_path / "a.npz", class_names=["a", "b", "c"], **arrays))

    @pytest.mark.parametrize("missing", ["train_labels", "train_images", "test_labels", "test_images"])
    def test_a_missing_array_is_named_with_those_there_are(self, tmp_path, missing):
        arrays = {f"{p}_{kind}": array for p in ("train", "test")
                  for kind, array in (("images", np.zeros((24, 4, 4), np.uint8)), ("labels", LABELS))}
        del arrays[missing]
        with pytest.raises(UserError, match=rf"has no array '{missing}'; it has: {', '.join(sorted(arrays))}"):
            load_npz(save(tmp_path / "a.npz", **arrays))

    def test_test_images_of_another_size_are_refused(self, tmp_path):
        with pytest.raises(UserError, match="training images are 4 x 4 with 1 channel and test images 5 x 4 with 1 channel"):
            load_npz(save(tmp_path / "a.npz", train_images=np.zeros((24, 4, 4), np.uint8), train_labels=LABELS,
                          test_images=np.zeros((24, 4, 5), np.uint8), test_labels=LABELS))

    def test_a_pickle_inside_is_refused_and_never_run(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (tmp_path.joinpath("ran").touch, ())

        bomb = np.array([Bomb()], dtype=object)
        np.savez(tmp_path / "a.npz", images=bomb, labels=LABELS, allow_pickle=True)
        (tmp_path / "b.npz").write_bytes(pickle.dumps(Bomb()))
        with zipfile.ZipFile(tmp_path / "c.npz", "w") as file:
            file.writestr("images.npy", pickle.dumps(Bomb()))
        for name in ("a.npz", "b.npz", "c.npz"):
            with pytest.raises(UserError):
                load_npz(tmp_path / name)
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("keep", [0, 10, 300, -30])
    def test_a_truncated_file_is_said_to_be_unreadable(self, tmp_path, keep):
        path = save(tmp_path / "a.npz", images=np.zeros((24, 4, 4), np.uint8), labels=LABELS)
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(UserError, match="readable npz of plain arrays"):
            load_npz(path)

    def test_a_flipped_byte_is_found_by_the_archives_checksum(self, tmp_path):
        path = save(tmp_path / "a.npz", images=np.zeros((24, 4, 4), np.uint8), labels=LABELS)
        damaged = bytearray(path.read_bytes())
        damaged[300] ^= 255
        path.write_bytes(bytes(damaged))
        with pytest.raises(UserError, match="is not a readable npz"):
            load_npz(path)

    def test_a_missing_file_and_a_single_array(self, tmp_path):
        with pytest.raises(UserError, match="there is no such file"):
            load_npz(tmp_path / "a.npz")
        np.save(tmp_path / "a.npy", LABELS)
        with pytest.raises(UserError, match="write images and labels"):
            load_npz(tmp_path / "a.npy")

    def test_a_file_without_images_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="0 images need as many labels"):
            load_npz(save(tmp_path / "a.npz", images=np.zeros((0, 4, 4), np.uint8), labels=np.zeros(0, int)))
