"""What labels mean where classes are called by numbers: natural order, and refusal where two readings fit and differ."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from standins import write_image

from ltgen_bench.cli import cli
from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data.class_labels import label_numbers
from ltgen_bench.data.class_names import in_order
from ltgen_bench.data.load import load_dataset
from ltgen_bench.data.samples import array_labels, load_samples

ONE_TO_NINE = tuple("123456789")
UNORDERED = tuple(f"class_{number}" for number in (0, 1, 10, 11, *range(2, 10)))


@pytest.mark.parametrize("names", [
    list(map(str, range(12))), ["00", "01", "10"], ["-1", "0", "1"], ["-10", "-9", "1.5", "2", "10"], ["01", "1"],
    ["1", "10", "2", "other"], ["B", "a"], ["a10", "a2"], ["1e3", "2"], ["\u0662", "\u0663"]])
def test_numbers_stand_by_value_and_other_names_as_texts(names):
    assert in_order(reversed(names)) == names


def numbers(texts, names, **options):
    return list(label_numbers(texts, names, "x", "label", **options).values())


class TestReadings:
    @pytest.mark.parametrize(("texts", "names", "found"), [
        (["0", "2", "11"], tuple(map(str, range(12))), [0, 2, 11]),
        (ONE_TO_NINE, ONE_TO_NINE, list(range(9))),
        (["0", "8", "5"], ONE_TO_NINE, [0, 8, 5]),  # 0 is no name
        (["9", "1"], ONE_TO_NINE, [8, 0]),  # 9 is no position
        (["9", "1", "6"], tuple("12346789"), [7, 0, 4]),  # a class without images in the data
        (["0", "1", "10"], ("00", "01", "10"), [0, 1, 2]),
        (["00", "01"], ("00", "01", "10"), [0, 1]),
        (["-1", "0"], ("-1", "0", "1"), [0, 1]),
        (["1.5", "2.0"], ("1", "1.5", "2"), [1, 2]),
        ([" a cat ", "a dog"], ("a cat", "a dog"), [0, 1]),
        (["re\u0301"], ("r\u00e9", "b"), [0]),
        (["a\tb", "\x1b[1m"], ("a b", "\\x1b[1m"), [0, 1]),
        (["1", "0"], ("cat", "dog"), [1, 0]),
        (["class_10"], UNORDERED, [2])])
    def test_the_only_one_that_fits_is_taken(self, texts, names, found):
        assert numbers(texts, names) == found

    @pytest.mark.parametrize(("texts", "names", "by_name"), [
        (["0", "1"], ("1", "0"), [1, 0]),
        (list("12345678"), ONE_TO_NINE, list(range(8))),
        (list("2"), ONE_TO_NINE, [1]),
        (["1", "2"], ("01", "02", "03"), [0, 1]),
        (["2"], UNORDERED, [4]),
        (["0", "1"], ("-1", "0", "1"), [1, 2]),
        (["1", "2"], ("001.albatross", "002.auklet", "003.bunting"), [0, 1])])
    def test_two_that_differ_are_refused_until_the_user_says_which(self, texts, names, by_name):
        with pytest.raises(UserError, match="--labels-are names or --labels-are positions"):
            numbers(texts, names)
        assert numbers(texts, names, are="names") == by_name
        assert numbers(texts, names, are="positions") == [int(text) for text in texts]
        array = np.array([int(text) for text in texts])
        with pytest.raises(UserError, match="--labels-are"):
            array_labels(array, names, "x", None, SILENT)
        assert array_labels(array, names, "x", "names", SILENT).tolist() == by_name
        assert array_labels(array, names, "x", "positions", SILENT).tolist() == array.tolist()

    def test_what_the_user_says_must_fit(self):
        with pytest.raises(UserError, match=r"unknown label '0'.*Known"):
            numbers(["0", "1"], ONE_TO_NINE, are="names")
        with pytest.raises(UserError, match=r"'9'.*Known are the labels 0"):
            numbers(["9", "1"], ONE_TO_NINE, are="positions")
        with pytest.raises(UserError, match="unknown label '0'"):
            array_labels(np.arange(3), ONE_TO_NINE, "x", "names", SILENT)


@pytest.fixture
def dozen(make_images, tiny_dataset):
    """Twelve classes that are called by their numbers, and four images of each."""
    images = make_images([4] * 12)
    return replace(tiny_dataset, class_names=tuple(map(str, range(12)))), images.take(np.argsort(images.labels, kind="stable"))


class TestSamples:
    def given(self, tmp_path, images, form, labels):
        """The images with `labels`, as a file of that form: (its path, its --labels)."""
        if form == "npz":
            np.savez(tmp_path / "x.npz", images=images.images, labels=labels)
            return tmp_path / "x.npz", None
        np.save(tmp_path / "x.npy", images.images)
        path = tmp_path / f"l.{form}"
        if form == "npy":
            np.save(path, labels)
        else:
            path.write_text("\ufefffile;label\r\n" + "".join(f'"a; {n}.png";"{label}"\r\n' for n, label in enumerate(labels)))
        return tmp_path / "x.npy", path

    @pytest.mark.parametrize("form", ["npz", "npy", "csv"])
    def test_labels_that_are_numbers_and_class_folders_are_the_same(self, dozen, form, tmp_path):
        dataset, images = dozen
        path, labels = self.given(tmp_path, images, form, images.labels)
        assert load_samples(path, dataset, labels).labels.tolist() == images.labels.tolist()

    @pytest.mark.parametrize("form", ["npz", "npy", "csv"])
    @pytest.mark.parametrize("absent", [0, 5, 8])
    def test_labels_from_one_with_a_class_absent(self, make_images, tiny_dataset, tmp_path, told, form, absent):
        dataset = replace(tiny_dataset, class_names=ONE_TO_NINE)
        images = make_images([2] * 9)
        images = images.take(np.flatnonzero(images.labels != absent))
        path, labels = self.given(tmp_path, images, form, images.labels + 1)
        if absent == 8:
            with pytest.raises(UserError, match="--labels-are"):
                load_samples(path, dataset, labels)
        else:
            assert load_samples(path, dataset, labels, told).labels.tolist() == images.labels.tolist()
            assert "names of classes" in told.messages[0]
        assert load_samples(path, dataset, labels, labels_are="names").labels.tolist() == images.labels.tolist()

    def test_names_may_stand_in_an_array_and_hold_separators(self, make_images, tiny_dataset, tmp_path):
        images = make_images([2, 2, 2])
        names = np.array(["a, b", "c;d", 'e "f"'])
        dataset = replace(tiny_dataset, class_names=tuple(names.tolist()))
        np.savez(tmp_path / "x.npz", images=images.images, labels=names[images.labels])
        assert load_samples(tmp_path / "x.npz", dataset).labels.tolist() == images.labels.tolist()
        np.save(tmp_path / "x.npy", images.images)
        for text in ("\n".join(names[images.labels]), "file,label\n" + "".join(
                f'{n},"{names[label].replace(chr(34), 2 * chr(34))}"\n' for n, label in enumerate(images.labels))):
            (tmp_path / "l.csv").write_text(text)
            assert load_samples(tmp_path / "x.npy", dataset, tmp_path / "l.csv").labels.tolist() == images.labels.tolist()


class TestFolders:
    @pytest.fixture
    def photos(self, tmp_path):
        for part in ("train", "test"):
            for label in range(12):
                for place in range(2):
                    write_image(tmp_path / "photos" / part / str(label) / f"{place}.png", (2, 2), 20 * label + place)
        return tmp_path / "photos"

    def test_they_stand_by_value_with_a_fingerprint_of_their_own_and_no_stale_copy(self, photos, monkeypatch):
        config = DataConfig(name=f"folder:{photos}")
        with monkeypatch.context() as patched:
            patched.setattr("ltgen_bench.data.listing.in_order", sorted)  # as it was
            before = load_dataset(config)
        now, again = load_dataset(config), load_dataset(config)
        assert now.class_names == tuple(map(str, range(12)))
        assert now.train.images[:, 0, 0, 0].tolist() == [20 * label + place for label in range(12) for place in range(2)]
        assert now.test.labels.tolist() == sorted(list(range(12)) * 2)
        assert len({before.fingerprint, now.fingerprint}) == 2
        assert again.fingerprint == now.fingerprint

    def test_the_option_reaches_the_command(self, photos, tmp_path):
        for label in range(12):
            (photos / "train" / str(label)).rename(photos / "train" / f"c{label}")
            (photos / "test" / str(label)).rename(photos / "test" / f"c{label}")
        np.savez(tmp_path / "x.npz", images=np.zeros((12, 2, 2, 3), np.uint8), labels=np.arange(12))
        result = CliRunner().invoke(cli, ["evaluate", str(tmp_path / "x.npz"), "--dataset", f"folder:{photos}", "--runs",
                                           str(tmp_path / "runs")])
        assert "--labels-are names or --labels-are positions" in str(result.exception)
        refused = CliRunner().invoke(cli, ["evaluate", "real-test", "--dataset", f"folder:{photos}", "--labels-are", "names"])
        assert "--labels-are: real-test is a reference" in str(refused.exception)
