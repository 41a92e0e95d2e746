"""The data set as a value: digits-lt and its fingerprint, hashes that see one pixel, samples on disk."""

import numpy as np
import pytest

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data import DATASETS, ImageSet, LongTailDataset, SampleSet, load_dataset
from ltgen_bench.data.catalog import find_source, short_name


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig())


class TestDigits:
    def test_counts_fall_from_131_to_6(self, digits):
        assert digits.class_counts == [131, 93, 67, 48, 34, 24, 17, 12, 9, 6]
        assert sum(digits.class_counts) == len(digits.train) == 441

    def test_images_are_bytes_that_use_the_whole_range(self, digits):
        assert digits.train.images.dtype == np.uint8
        assert digits.image_shape == (1, 8, 8)
        assert (digits.reference.images.min(), digits.reference.images.max()) == (0, 255)

    def test_reference_and_test_are_all_1797_images_split_three_to_one(self, digits):
        assert (len(digits.reference), len(digits.test)) == (1347, 450)
        for part, share in ((digits.reference, 0.75), (digits.test, 0.25)):
            counts = np.bincount(part.labels) / np.bincount(np.concatenate([digits.reference.labels, digits.test.labels]))
            assert np.allclose(counts, share, atol=0.01)

    def test_test_images_were_never_trained_on(self, digits):
        from sklearn.datasets import load_digits

        assert len({i.tobytes() for i in load_digits().images}) == 1797  # all are different
        seen = {image.tobytes() for image in digits.reference.images}
        assert {image.tobytes() for image in digits.train.images} <= seen
        assert not {image.tobytes() for image in digits.test.images} & seen

    def test_a_digit_is_the_digit_that_scikit_learn_has(self, digits):
        from sklearn.datasets import load_digits

        source = load_digits()
        known = {np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
                 for image, label in zip(source.images, source.target, strict=True)}
        assert [known[image.tobytes()] for image in digits.train.images] == digits.train.labels.tolist()

    def test_digits_are_not_mirrored(self, digits):
        assert not digits.flip

    def test_the_fingerprint_stays_what_it_was(self, digits):
        # a change here orphans every finished run on digits-lt: it must be meant
        assert digits.fingerprint == "dfaef2a4e8569419"

    def test_names_counts_and_groups_are_there(self, digits):
        assert (digits.name, digits.num_classes, digits.class_names[3]) == ("digits-lt", 10, "3")
        assert (digits.imbalance_factor, digits.profile) == (20.0, "exp")
        assert digits.groups["few@count"] == [6, 7, 8, 9]
        assert digits.reference_is_balanced

    def test_the_balanced_form_keeps_every_image(self):
        digits = load_dataset(DataConfig(name="digits"))
        assert len(digits.train) == 1347
        assert digits.imbalance_factor is None

    @pytest.mark.parametrize(("config", "total"), [
        (DataConfig(imbalance_factor="natural"), 1347), (DataConfig(imbalance_factor=1.0), 1310),
        (DataConfig(name="digits", imbalance_factor=20.0), 441), (DataConfig(imbalance_factor=10.0, profile="step"), 720)])
    def test_factor_and_profile_can_be_chosen(self, config, total):
        assert len(load_dataset(config).train) == total

    def test_another_split_seed_draws_other_images_of_the_same_counts(self, digits):
        other = load_dataset(DataConfig(split_seed=1))
        assert other.class_counts == digits.class_counts
        assert other.fingerprint != digits.fingerprint
        assert other.reference.content_hash() == digits.reference.content_hash()

    def test_a_factor_that_empties_a_class_is_refused(self):
        with pytest.raises(UserError, match="leaves class 8 without"):
            load_dataset(DataConfig(imbalance_factor=500.0))


class TestFingerprint:
    def changed(self, digits, part, change):
        images = getattr(digits, part)
        images = ImageSet(images.images.copy(), images.labels.copy())
        change(images)
        parts = {name: images if name == part else getattr(digits, name) for name in ("train", "reference", "test")}
        return LongTailDataset("other name", **parts, class_names=digits.class_names, flip=digits.flip)

    @pytest.mark.parametrize("part", ["train", "reference", "test"])
    def test_one_pixel_or_one_label_makes_another(self, digits, part):
        def pixel(images):
            images.images[5, 0, 3, 3] ^= 1

        def label(images):
            images.labels[5] = (images.labels[5] + 1) % 10

        prints = {digits.fingerprint, *(self.changed(digits, part, change).fingerprint for change in (pixel, label))}
        assert len(prints) == 3

    def test_the_name_is_no_part_of_it(self, digits):
        assert self.changed(digits, "train", lambda images: None).fingerprint == digits.fingerprint

    def test_shape_and_order_are_part_of_a_hash(self):
        images, labels = np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4), np.array([0, 1])
        hashes = {ImageSet(images, labels).content_hash(), ImageSet(images.reshape(2, 1, 2, 8), labels).content_hash(),
                  ImageSet(images[::-1], labels[::-1]).content_hash(), ImageSet(images, labels[::-1]).content_hash()}
        assert len(hashes) == 4

    def test_a_view_of_the_same_content_has_the_same_hash(self):
        images = np.arange(64, dtype=np.uint8).reshape(4, 1, 4, 4)
        labels = np.arange(4)
        assert ImageSet(images[::2], labels[::2]).content_hash() == \
            ImageSet(images[::2].copy(), labels[::2].copy()).content_hash()


class TestSampleSet:
    @pytest.fixture
    def samples(self):
        rng = np.random.default_rng(0)
        return SampleSet(rng.integers(0, 256, (6, 3, 4, 5), dtype=np.uint8), np.arange(6) % 2, np.arange(6) + 2**31)

    def test_what_is_saved_is_read_again(self, samples, tmp_path):
        samples.save(tmp_path / "s.npz")
        again = SampleSet.load(tmp_path / "s.npz")
        for name in ("images", "labels", "seeds"):
            assert np.array_equal(getattr(again, name), getattr(samples, name))
        assert again.images.flags.c_contiguous

    def test_any_program_reads_height_width_channels(self, samples, tmp_path):
        samples.save(tmp_path / "s.npz")
        with np.load(tmp_path / "s.npz") as stored:
            assert stored["images"].shape == (6, 4, 5, 3)
            assert np.array_equal(stored["images"][2, :, :, 1], samples.images[2, 1])

    @pytest.mark.parametrize("damage", [lambda b: b[:200], lambda b: b"", lambda b: b"hello", lambda b: b[:-400]])
    def test_a_damaged_file_is_named_with_what_to_do(self, samples, tmp_path, damage):
        path = tmp_path / "s.npz"
        samples.save(path)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(UserError, match=r"file of samples.*delete"):
            SampleSet.load(path)

    def test_other_files_are_refused(self, tmp_path):
        np.save(tmp_path / "a.npy", np.zeros(3))
        np.savez(tmp_path / "b.npz", images=np.zeros((1, 2, 2, 1), np.uint8))
        for path in (tmp_path / "a.npy", tmp_path / "b.npz", tmp_path / "absent.npz", tmp_path):
            with pytest.raises(UserError, match="file of samples"):
                SampleSet.load(path)

    def test_taking_keeps_the_order_asked_for(self, samples):
        taken = samples.take(np.array([4, 1]))
        assert np.array_equal(taken.images, samples.images[[4, 1]])
        assert len(samples.take(samples.labels == 1)) == 3


class TestCatalogue:
    def test_an_unknown_name_shows_the_near_match_and_the_forms_of_ones_own(self):
        with pytest.raises(UserError, match=r"'digit-lt'\. Did you mean 'digits-lt'\?.*folder:PATH"):
            load_dataset(DataConfig(name="digit-lt"))
        with pytest.raises(UserError, match=r"'foldr'\. Did you mean 'folder'\?"):
            find_source("foldr:/x")

    @pytest.mark.parametrize("name", ["folder:", "npz:"])
    def test_a_form_without_a_path_is_refused(self, name):
        with pytest.raises(UserError, match="missing after the colon"):
            find_source(name)

    @pytest.mark.parametrize(("name", "short"), [
        ("digits-lt", "digits-lt"), ("folder:/data/cifar10-jpeg/", "folder-cifar10-jpeg"), ("npz:/data/mine.npz", "npz-mine"),
        ("folder:..", "folder-"), ("folder:/", "folder-"),
        ("npz:/d/a\nb.npz", "npz-a-b-"), (f"folder:/d/{'日' * 84}", "folder-日日")])
    def test_names_fit_a_folder(self, name, short):
        assert short_name(name).startswith(short)
        assert "/" not in short_name(name)
        assert short_name(name).isprintable()
        assert len(short_name(name).encode()) < 120

    def test_the_lt_forms_stand_for_their_factor(self):
        factors = {name: DATASETS[name].imbalance_factor for name in DATASETS if DATASETS[name].imbalance_factor}
        assert factors == {"digits-lt": 20.0, **{f"{name}-lt": 100.0 for name in (
            "cifar10", "cifar10-photos", "cifar100", "mnist", "fashion-mnist", "svhn", "tiny-imagenet")}}

    def test_a_set_with_one_class_or_an_empty_one_is_refused(self, tmp_path):
        images = np.zeros((8, 4, 4), np.uint8)
        np.savez(tmp_path / "one.npz", images=images, labels=np.zeros(8, int))
        with pytest.raises(UserError, match="1 class; at least 2"):
            load_dataset(DataConfig(name=f"npz:{tmp_path}/one.npz"))
        labels = np.array([0, 0, 0, 0, 2, 2, 2, 2])
        np.savez(tmp_path / "gap.npz", images=images, labels=labels, test_images=images, test_labels=labels,
                 class_names=["cat", "dog", "eel"])
        with pytest.raises(UserError, match="training images of class dog"):
            load_dataset(DataConfig(name=f"npz:{tmp_path}/gap.npz"))

    def test_the_smallest_class_sets_the_height_of_the_tail(self, tmp_path):
        labels = np.repeat([0, 1, 2], [30, 20, 25])
        images = np.zeros((75, 4, 4), np.uint8)
        np.savez(tmp_path / "mine.npz", images=images, labels=labels, test_images=images[::5], test_labels=labels[::5])
        name = f"npz:{tmp_path}/mine.npz"
        assert load_dataset(DataConfig(name=name)).class_counts == [30, 20, 25]
        assert load_dataset(DataConfig(name=name, imbalance_factor=4.0)).class_counts == [20, 10, 5]
