"""Manifests of splits: the shipped ones are the published draw, and none can be changed unnoticed."""

import gzip
import json

import numpy as np
import pytest

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data import load_dataset
from ltgen_bench.data.splits import SHIPPED, STANDARD, Split, draw_split, manifest_path, standard_split

# A change here means that the standard names mean other images: every number measured on them would be orphaned.
CHECKSUMS = {
    ("cifar10", 10): "7f4749233e8452ad758a91765d8df4bb8a5d06daf21964e2eda39df53fadbd85",
    ("cifar10", 50): "b27476d04a50d60edd6ba01cfaf410b514a93e0a7b34591ce3bace65dd487bd4",
    ("cifar10", 100): "d814e0faa8af87fb975e14a53229639da732971299a6e0f839562b1c74ad20b0",
    ("cifar10", 200): "3569d8c297108c6aacaa95e8210c111d72024777482ae6d938b3914fa4f31677",
    ("cifar10", 1000): "2a3ef4e8e726d7411320925a3e9c7503564f2598a29262fdfd3a9e523d32cc47",
    ("cifar100", 10): "67ccfdf30cc687863ac1da3beb381bc395931e20553832b1be157397632a11e7",
    ("cifar100", 50): "66f17e6fb21b0879a6ae1eaf2ac3c6c6e34bef544013b18e4aad2722f0f99c76",
    ("cifar100", 100): "50953667ae148e8f510ba8817a6e74da33dfe96b9020f6f06525b5b6b25b8453",
    ("cifar100", 200): "d0034db9724443877253d5f3f9a10276fbe6f637974c7f1da363ec6fad882d0f",
    ("digits", 20): "b145ac75cbab9bb86453d2c6cb2a80432272ceadf8a4aed470b6c2103613b7fb"}
TOTALS = {("cifar10", 100): 12406, ("cifar10", 50): 13996, ("cifar10", 1000): 9324, ("cifar100", 100): 10847,
          ("cifar100", 50): 12608, ("digits", 20): 441}
EACH = {"cifar10": (10, 5000), "cifar100": (100, 500)}


def ldam_ranks(classes, each, factor):
    """LDAM-DRW's draw on a set whose images stand class by class, with numpy's own global generator."""
    before = np.random.get_state()  # noqa: NPY002  (the published draw is of this generator)
    np.random.seed(0)  # noqa: NPY002
    kept = []
    for label in range(classes):
        idx = np.where(np.repeat(np.arange(classes), each) == label)[0]
        np.random.shuffle(idx)  # noqa: NPY002
        kept.append((idx[:int(each * ((1 / factor) ** (label / (classes - 1.0))))] - label * each).tolist())
    np.random.set_state(before)  # noqa: NPY002
    return kept


class TestShipped:
    def test_there_is_one_for_every_standard_name_and_no_other(self):
        shipped = {manifest_path(dataset, float(factor)).name for dataset, factor in CHECKSUMS}
        assert {path.name for path in SHIPPED.iterdir()} == shipped
        assert {(dataset, factor) for dataset, factors in STANDARD.items() for factor in factors} == set(CHECKSUMS)

    @pytest.mark.parametrize(("dataset", "factor"), CHECKSUMS)
    def test_its_checksum_is_this_one(self, dataset, factor):
        split = standard_split(dataset, float(factor))
        assert split.sha256 == CHECKSUMS[dataset, factor]
        assert (split.dataset, split.profile, split.imbalance_factor, split.seed) == (dataset, "exp", factor, 0)

    @pytest.mark.parametrize(("dataset", "factor"), [key for key in CHECKSUMS if key[0] in EACH])
    def test_it_is_the_draw_of_ldam_drw_and_cbdm(self, dataset, factor):
        ranks = [own.tolist() for own in standard_split(dataset, float(factor)).ranks]
        assert ranks == ldam_ranks(*EACH[dataset], factor)
        assert sum(map(len, ranks)) == TOTALS.get((dataset, factor), sum(map(len, ranks)))

    def test_the_sources_are_torchvisions_checksums(self):
        from torchvision.datasets import CIFAR10, CIFAR100

        assert standard_split("cifar10", 100.0).source == f"md5:{CIFAR10.tgz_md5}"
        assert standard_split("cifar100", 100.0).source == f"md5:{CIFAR100.tgz_md5}"

    def test_it_holds_the_first_images_that_it_held(self):
        assert standard_split("cifar10", 100.0).ranks[0][:4].tolist() == [398, 3833, 4836, 4572]
        assert standard_split("cifar10", 100.0).ranks[9][-2:].tolist() == [433, 1162]

    def test_digits_lt_is_the_shipped_one(self):
        digits = load_dataset(DataConfig())
        assert digits.split.sha256 == CHECKSUMS["digits", 20]
        assert load_dataset(DataConfig(name="digits", imbalance_factor=20.0)).split.sha256 == CHECKSUMS["digits", 20]

    def test_another_factor_has_none(self):
        assert standard_split("cifar10", 30.0) is None
        assert standard_split("mnist", 100.0) is None


class TestManifest:
    @pytest.fixture
    def split(self):
        return draw_split("letters", "sha256:ab", [30, 31, 33], 10.0, seed=4)

    @pytest.mark.parametrize("name", ["split.json", "split.json.gz"])
    def test_what_is_saved_reads_back_with_its_checksum(self, split, name, tmp_path):
        split.save(tmp_path / name)
        again = Split.load(tmp_path / name)
        assert again.sha256 == split.sha256
        assert [own.tolist() for own in again.ranks] == [own.tolist() for own in split.ranks]

    def test_equal_manifests_are_equal_files(self, split, tmp_path):
        for name in ("a.json.gz", "b.json.gz"):
            split.save(tmp_path / name)
        assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()

    def test_the_checksum_is_over_everything(self, split):
        from dataclasses import replace

        others = [replace(split, dataset="x"), replace(split, source="x"), replace(split, profile="step"), replace(split, seed=5),
                  replace(split, imbalance_factor=9.0), replace(split, class_order=0), replace(split, ranks=split.ranks[::-1]),
                  replace(split, ranks=None)]
        assert len({split.sha256, *(other.sha256 for other in others)}) == 9

    @pytest.mark.parametrize("change", [
        lambda values: values["ranks"][0].__setitem__(0, 29 if values["ranks"][0][0] != 29 else 28),
        lambda values: values["ranks"][1].pop(), lambda values: values["ranks"][1].reverse(),
        lambda values: values.update(seed=5), lambda values: values["ranks"][0].__setitem__(0, "one"),
        lambda values: values["ranks"][0].__setitem__(0, 2.0), lambda values: values.update(sha256="0" * 64)])
    def test_a_changed_index_or_anything_else_is_noticed(self, split, change, tmp_path):
        path = tmp_path / "split.json"
        split.save(path)
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))
        with pytest.raises(UserError, match=r"split\.json was changed after"):
            Split.load(path)

    @pytest.mark.parametrize(("content", "sentence"), [
        (b"{", "could not be read"), (b"[1]", "manifest of a split"), (b'{"ranks": []}', "is not a manifest"),
        (b"\xff\xfe", "could not be read")])
    def test_another_file_is_refused(self, content, sentence, tmp_path):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(UserError, match=sentence):
            Split.load(tmp_path / "x.json")

    def test_a_missing_or_torn_one_is_refused(self, split, tmp_path):
        with pytest.raises(UserError, match="`ltgen-bench data export` writes"):
            Split.load(tmp_path / "none.json")
        split.save(tmp_path / "x.json.gz")
        torn = (tmp_path / "x.json.gz").read_bytes()[:-20]
        (tmp_path / "x.json.gz").write_bytes(torn)
        with pytest.raises(UserError, match="could not be read"):
            Split.load(tmp_path / "x.json.gz")
        (tmp_path / "y.json.gz").write_bytes(gzip.compress(b"not JSON"))
        with pytest.raises(UserError, match="could not be read"):
            Split.load(tmp_path / "y.json.gz")

    @pytest.mark.parametrize("ranks", [[[0, 1], [5]], [[0, 0], [1]], [[0, -1], [1]], [[], [1]]])
    def test_ranks_that_the_images_lack_are_refused(self, ranks):
        split = Split("x", "y", "exp", 2.0, 0, None, tuple(np.array(own, dtype=np.int64) for own in ranks))
        with pytest.raises(UserError, match=r"images of class \d"):
            split.indices(np.array([0, 0, 1, 1, 1]), 2)

    def test_another_number_of_classes_is_refused(self):
        split = draw_split("x", "y", [4, 4], 2.0)
        with pytest.raises(UserError, match="manifest has 2 classes"):
            split.indices(np.array([0, 1, 2]), 3)


class TestOnDigits:
    def test_seed_and_order_change_fingerprint_and_manifest(self):
        configs = [DataConfig(), DataConfig(split_seed=1), DataConfig(class_order=3), DataConfig(profile="pareto:2"),
                   DataConfig(profile="step"), DataConfig(imbalance_factor=10.0)]
        loaded = [load_dataset(config) for config in configs]
        assert len({one.fingerprint for one in loaded}) == len({one.split.sha256 for one in loaded}) == len(configs)
        assert [one.name for one in loaded] == [
            "digits-lt", "digits-lt-20-split1", "digits-lt-20-order3", "digits-lt-20-pareto2", "digits-lt-20-step",
            "digits-lt-10"]

    def test_an_order_permutes_the_tail_and_nothing_else(self):
        plain, turned = load_dataset(DataConfig()), load_dataset(DataConfig(class_order=3))
        assert sorted(turned.class_counts, reverse=True) == plain.class_counts
        assert turned.class_counts != plain.class_counts
        assert turned.class_names == plain.class_names
        assert turned.groups["many@thirds"] == sorted(np.argsort(turned.class_counts)[::-1][:3].tolist())
        assert turned.reference.content_hash() == plain.reference.content_hash()

    def test_what_is_exported_as_a_manifest_trains_on_the_same_images(self, tmp_path):
        drawn = load_dataset(DataConfig(split_seed=5, imbalance_factor=8.0))
        drawn.split.save(tmp_path / "mine.json")
        again = load_dataset(DataConfig(split=str(tmp_path / "mine.json")))
        assert again.fingerprint == drawn.fingerprint
        assert again.name == f"digits-lt-8-split5-manifest{drawn.split.id[:8]}"

    def test_a_manifest_of_other_images_is_refused(self, tmp_path):
        draw_split("digits", "sha256:00", [140] * 10, 10.0).save(tmp_path / "other.json")
        with pytest.raises(UserError, match="images than those of digits-lt:"):
            load_dataset(DataConfig(split=str(tmp_path / "other.json")))

    def test_natural_counts_have_a_manifest_too(self):
        digits = load_dataset(DataConfig(imbalance_factor="natural"))
        assert (digits.split.profile, digits.split.ranks, digits.name) == ("natural", None, "digits")


class TestUnbalancedSource:
    @pytest.fixture
    def arrays(self, make_images, tmp_path):
        train, test = make_images((60, 20, 25)), make_images((8, 8, 8), seed=1)
        np.savez(tmp_path / "a.npz", train_images=train.images, train_labels=train.labels, test_images=test.images,
                 test_labels=test.labels)
        return f"npz:{tmp_path / 'a.npz'}"

    def test_the_reference_of_a_cut_is_the_balanced_set_that_it_was_cut_from(self, arrays):
        cut = load_dataset(DataConfig(name=arrays, imbalance_factor=4.0))
        assert cut.class_counts == [20, 10, 5]
        assert np.bincount(cut.reference.labels).tolist() == [20, 20, 20]
        seen = {image.tobytes() for image in cut.reference.images}
        assert {image.tobytes() for image in cut.train.images} <= seen
        assert cut.name == "npz-a-lt-4"

    def test_natural_counts_keep_all_as_the_reference(self, arrays):
        kept = load_dataset(DataConfig(name=arrays))
        assert kept.reference is kept.train
        assert not kept.reference_is_balanced


class TestHalves:
    def test_the_halves_share_no_image_and_hold_all(self):
        digits = load_dataset(DataConfig())
        first, second = digits.half("selection"), digits.half("report")
        for part in ("reference", "test"):
            a, b, whole = ({i.tobytes() for i in getattr(one, part).images} for one in (first, second, digits))
            assert not a & b
            assert a | b == whole
            sizes = [np.bincount(getattr(one, part).labels) for one in (first, second)]
            assert np.all((sizes[1] - sizes[0] >= 0) & (sizes[1] - sizes[0] <= 1))
        assert first.train is digits.train

    def test_each_half_has_its_own_fingerprint_and_it_stays(self):
        digits = load_dataset(DataConfig())
        # a change here orphans every search on digits-lt
        assert [digits.half(name).fingerprint for name in ("selection", "report")] == ["b57cba0992a9768e", "ec1879f7b40c65f3"]
        assert digits.half("report").halved == "report"

    def test_a_class_of_one_image_cannot_be_halved(self, make_dataset):
        with pytest.raises(UserError, match="reference set has 1 images"):
            make_dataset((1, 1, 1)).half("selection")
