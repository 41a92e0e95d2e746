"""Words and curves of a data set, and the commands that print them."""

import json

import numpy as np
import pytest

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data import load_dataset
from ltgen_bench.data.describe import BARS, curve, describe, group_lines, size_words, split_words
from ltgen_bench.data.groups import all_groups
from ltgen_bench.data.longtail import class_counts
from ltgen_bench.data.verify import verify_manifests


def heights(lines):
    """The curve read back: the height of every column in eighths of a line."""
    rows = [line[line.index(mark) + 1:] for line in lines for mark in "┤│" if mark in line]
    width = max(map(len, rows))
    return [sum(BARS.index(row.ljust(width)[at]) for row in rows) for at in range(width)]


class TestCurve:
    @pytest.mark.parametrize("classes", [2, 10, 40])
    def test_every_class_is_as_high_as_its_share_of_the_largest(self, classes):
        counts = class_counts(640, classes, 20.0)
        found = heights(curve(counts[::-1], 90))
        wide = len(found) // classes
        assert found[::wide] == [max(1, round(count / 640 * 64)) for count in counts]

    @pytest.mark.parametrize("classes", [2, 3, 10, 100, 365, 1000])
    @pytest.mark.parametrize("width", [30, 60, 100])
    def test_it_fits_falls_and_names_both_ends(self, classes, width):
        lines = curve(class_counts(5000, classes, 100.0), width)
        assert max(map(len, lines)) <= width
        found = heights(lines)
        assert found == sorted(found, reverse=True)
        assert lines[0].startswith("5,000 ┤")
        assert lines[7].startswith("   50 ┤")
        assert lines[-1].split() == ["head", "tail"]

    def test_no_class_is_invisible(self):
        assert min(heights(curve([100000, 1], 40))) == 1


class TestWords:
    def test_sizes_are_one_number_or_two(self):
        assert size_words({"images": 50000, "smallest_class": 5000, "largest_class": 5000}) == "50,000 images, 5,000 a class"
        assert size_words({"images": 441, "smallest_class": 6, "largest_class": 131}) == "441 images, 6 to 131 a class"

    def test_an_empty_group_is_named_as_empty(self):
        counts = [500, 200]
        lines = dict(group_lines(all_groups(counts), counts, ["a", "b"]))
        assert lines["few@count"] == lines["many@thirds"] == "empty"
        assert lines["many@count"] == "2 classes, 500 to 200 images: a, b"

    def test_the_facts_are_those_of_the_data_set(self):
        digits = load_dataset(DataConfig(class_order=1))
        facts = describe(digits)
        assert facts["class_counts"] == digits.class_counts
        assert facts["fingerprint"] == digits.fingerprint
        assert facts["split"]["sha256"] == digits.split.sha256
        assert not facts["split"]["shipped"]
        assert facts["references"]["longtail"]["images"] == 441
        assert split_words(facts) == "exp, factor 20, split seed 0, class order 1"
        json.dumps(facts)


class TestShow:
    def test_it_prints_counts_groups_fingerprint_and_references(self, program):
        done = program("data", "show", "digits-lt", COLUMNS="100")
        assert done.returncode == 0
        text = " ".join(done.stdout.split())
        for words in ("fingerprint dfaef2a4e8569419", "split b145ac75cbab9bb8 (shipped manifest", "441 images, 6 to 131 a class",
                      "train: the balanced training set, 1,347 images", "test: the held-out test set, 450 images",
                      "few@thirds 4 classes, 17 to 6 images: 6, 7, 8, 9", "recipes baselines/digits-lt/"):
            assert words in text
        assert "131 ┤████" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 100

    def test_json_has_everything_and_nothing_else_is_on_stdout(self, program):
        facts = json.loads(program("data", "show", "digits-lt", "--json").stdout)
        assert facts["name"] == "digits-lt"
        assert sum(facts["class_counts"]) == 441

    def test_a_shipped_split_is_shown_without_its_images(self, program):
        done = program("data", "show", "cifar100-lt-50", "--data-root", "nowhere", COLUMNS="90")
        assert done.returncode == 0
        text = " ".join(done.stdout.split())
        assert "files cifar-100-python.tar.gz md5:eb9058c3a382ffc7106e4002c42a8d85" in text
        assert "12,608 images, 10 to 500 a class, 100 classes (exp, factor 50, split seed 0)" in text
        assert "CIFAR100 is not under nowhere/" in text
        assert "80 more (--all lists them)" in text
        assert "factor 100" not in text
        assert "fetching" not in done.stderr

    @pytest.mark.parametrize("arguments", [("cifar10-lt-50",), ("cifar10-lt", "--imbalance-factor", "50"),
                                           ("cifar10", "--imbalance-factor", "50")])
    def test_a_shipped_split_asks_for_no_images_and_has_one_factor(self, arguments, tmp_path, monkeypatch):
        from click.testing import CliRunner
        from torchvision import datasets

        from ltgen_bench.cli.data_command import show

        monkeypatch.setattr(datasets, "CIFAR10", None)
        done = CliRunner().invoke(show, [*arguments, "--data-root", str(tmp_path)])
        assert done.exit_code == 0
        assert "50" in done.stdout
        assert "factor 100" not in done.stdout
        assert "all images" not in done.stdout

    def test_many_classes_are_all_listed_on_demand(self, program):
        done = program("data", "show", "cifar100-lt", "--all", "--data-root", "nowhere")
        assert "more (--all" not in done.stdout
        assert sum(line.strip()[:1].isdigit() for line in done.stdout.splitlines()[-100:]) == 100

    def test_without_images_and_without_a_shipped_split_it_is_an_error(self, program):
        done = program("data", "show", "cifar10-lt-30", "--data-root", "nowhere")
        assert done.returncode == 2
        assert "error: CIFAR10 is not under nowhere/" in done.stderr
        assert done.stdout == ""

    def test_a_picture_is_written(self, program, tmp_path):
        from PIL import Image

        assert program("data", "show", "digits-lt", "--plot", "counts.png").returncode == 0
        with Image.open(tmp_path / "counts.png") as image:
            assert image.size == (960, 510)

    @pytest.mark.parametrize(("arguments", "sentence"), [
        (["show", "digits-lt", "--imbalance-factor", "0.5"], "data.imbalance_factor: 0.5"),
        (["show", "digits-lt", "--imbalance-factor", "0.01"], "least 1 or 'natural'."),
        (["show", "cifar10-lt", "--test-part", "val"], "cifar10-lt takes no --test-part"),
        (["show", "digits-lt", "--index-list", "x"], "digits-lt takes no --index-list"),
        (["show", "cifar10-lt-0.01"], "Did you mean cifar10-lt-100"),
        (["show", "digits-lt", "--profile", "expo"], "data.profile: 'expo'"),
        (["show", "digits-lt", "--class-order", "-1"], "data.class_order: -1"),
        (["show", "digits-lt", "--split", "none.json"], "there is no manifest none.json"),
        (["show", "digitslt"], "'digitslt'. Did you mean 'digits-lt'?"),
        (["export", "digits-lt", "--out", "."], "exists and is not empty")])
    def test_a_mistake_gets_one_sentence(self, program, tmp_path, arguments, sentence):
        (tmp_path / "x.txt").write_text("x")
        done = program("data", *arguments)
        assert done.returncode == 2
        assert sentence in done.stderr
        assert done.stdout == ""


class TestVerify:
    def test_the_shipped_manifests_are_checked(self):
        lines = verify_manifests()
        assert len(lines) == 10
        assert "cifar10-lt-100: 12,406 images, split d814e0faa8af87fb, equal to a new draw" in lines

    def test_a_changed_shipped_manifest_is_noticed(self, tmp_path, monkeypatch):
        from ltgen_bench.data import splits

        split = splits.standard_split("cifar10", 10.0)
        ranks = [own.copy() for own in split.ranks]
        ranks[3][0], ranks[3][1] = ranks[3][1], ranks[3][0]
        monkeypatch.setattr(splits, "SHIPPED", tmp_path)
        for dataset, factors in splits.STANDARD.items():
            for factor in factors:
                splits.Split(dataset, "s", "exp", float(factor), 0, None, tuple(ranks)).save(
                    splits.manifest_path(dataset, float(factor)))
        with pytest.raises(UserError, match="seed draws"):
            verify_manifests()

    def test_a_data_set_is_verified_by_name(self, program):
        done = program("data", "verify", "digits-lt")
        assert done.returncode == 0
        assert "split b145ac75cbab9bb8: the shipped manifest" in done.stdout
        assert "fingerprint dfaef2a4e8569419" in done.stdout
        assert done.stdout.endswith("all as it should be\n")


def test_a_split_can_be_exported_and_trained_on_elsewhere(program, tmp_path):
    done = program("data", "export", "digits-lt", "--out", "out", "--split-seed", "2")
    assert done.stdout.splitlines() == ["out/train", "out/test", "out/split.json"]
    facts = json.loads(program("data", "show", "digits", "--split", "out/split.json", "--json").stdout)
    drawn = load_dataset(DataConfig(split_seed=2))
    assert facts["fingerprint"] == drawn.fingerprint
    assert len(list((tmp_path / "out" / "train").rglob("*.png"))) == 441
    assert np.sum(facts["class_counts"]) == 441
