"""Names of the catalogue: factors written behind them, forms for a user's own, and what is known without reading."""

import subprocess
import sys

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import DATASETS, load_dataset
from ltgen_bench.data.catalog import OWN_FORMS, find_source, short_name
from ltgen_bench.data.digits import all_digits


class TestFactorsInNames:
    @pytest.mark.parametrize(("name", "known", "factor"), [
        ("cifar10-lt-50", "cifar10-lt", 50), ("cifar100-lt-1", "cifar100-lt", 1), ("digits-lt-10", "digits-lt", 10),
        ("svhn-lt-2.5", "svhn-lt", 2.5), ("tiny-imagenet-lt-1e2", "tiny-imagenet-lt", 100)])
    def test_a_factor_behind_a_name_replaces_its_own(self, name, known, factor):
        found, standard = find_source(name), DATASETS[known]
        assert found.imbalance_factor == factor
        assert (found.content, found.load, found.recipes) == (standard.content, standard.load, standard.recipes)

    def test_it_is_the_same_data_as_with_the_option(self):
        named = load_dataset(DataConfig(name="digits-lt-10"))
        asked = load_dataset(DataConfig(name="digits-lt", imbalance_factor=10.0))
        assert (named.fingerprint, named.name, named.imbalance_factor) == (asked.fingerprint, asked.name, 10)

    @pytest.mark.parametrize("text", ["0.5", "abc", "0", "-3", "nan", "inf", "", "50-50"])
    def test_what_is_no_factor_is_refused_in_words(self, text):
        with pytest.raises(UserError, match=rf"'cifar10-lt-{text}': '{text}' is no imbalance factor, .* at least 1"):
            find_source(f"cifar10-lt-{text}")

    def test_a_published_list_has_no_factor_in_its_name(self):
        with pytest.raises(UserError, match="imagenet-lt has the class counts"):
            find_source("imagenet-lt-50")

    @pytest.mark.parametrize("name", ["cifar10-50", "cifr10-lt-50", "lt-50", ""])
    def test_other_names_are_unknown(self, name):
        with pytest.raises(UserError, match=rf"unknown data set '{name}'\..*NAME-lt-FACTOR.*folder:PATH.*hub:NAME"):
            find_source(name)


class TestForms:
    def test_every_form_of_ones_own_can_be_verified(self):
        for prefix in OWN_FORMS:
            assert find_source(f"{prefix}:x").verify is not None

    @pytest.mark.parametrize(("name", "short"), [
        ("hub:ylecun/mnist", "hub-mnist"), ("hub:user/set:config", "hub-set-config"), ("folder:a/b", "folder-b")])
    def test_short_names_fit_a_folder(self, name, short):
        assert short_name(name) == short

    def test_a_missing_name_is_asked_for(self):
        with pytest.raises(UserError, match="colon, as in hub:NAME"):
            find_source("hub:")

    @pytest.mark.parametrize("option", [{"image_size": 64}, {"index_list": "x"}, {"columns": ("a", "b")}])
    @pytest.mark.parametrize("name", ["digits-lt", "npz:mine.npz"])
    def test_arrays_take_no_options_of_image_files(self, name, option, tmp_path):
        with pytest.raises(UserError, match=f"{name} takes no --{next(iter(option)).replace('_', '-')}; it is for "):
            load_dataset(DataConfig(name=name, **option), data_root=tmp_path)

    def test_a_file_of_arrays_is_verified_by_reading_it(self, tmp_path):
        path = tmp_path / "mine.npz"
        np.savez(path, images=np.zeros((8, 4, 4), np.uint8), labels=np.arange(8) % 2)
        source, config = find_source(f"npz:{path}"), DataConfig(name=f"npz:{path}")
        lines = source.verify(config, tmp_path, SILENT, False)
        assert lines[0] == f"npz:{path}: 6 training and 2 test images can be read"
        assert lines[1].startswith("sha256:")
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(UserError, match="not a readable npz"):
            source.verify(config, tmp_path, SILENT, False)

    def test_more_classes_than_images_and_a_gap_are_said(self, tmp_path):
        path = tmp_path / "mine.npz"
        for labels, sentence in (([0, 1, 2, 60_000], "which makes 60,001 classes, and there are only 4 training images"),
                                 ([0] * 4 + [2] * 4, "class 1 has no images, and labels go up to 2")):
            np.savez(path, images=np.zeros((len(labels), 4, 4), np.uint8), labels=labels)
            with pytest.raises(UserError, match=sentence):
                load_dataset(DataConfig(name=f"npz:{path}"))


class TestFacts:
    def test_fashions_class_names_are_torchvisions(self):
        assert list(DATASETS["fashion-mnist"].class_names) == FashionMNIST.classes

    def test_cifar100s_names_are_a_hundred_in_alphabetical_order(self):
        names = DATASETS["cifar100"].class_names
        assert len(names) == 100
        assert list(names) == sorted(names)

    def test_the_digits_are_held_against_their_checksum(self, tmp_path, monkeypatch):
        source, config = find_source("digits"), DataConfig(name="digits")
        (line,) = source.verify(config, tmp_path, SILENT, False)
        assert line == f"scikit-learn's 1,797 digits: sha256 {all_digits().content_hash()} as expected"
        assert source.checksums == (("scikit-learn's digits", f"sha256:{all_digits().content_hash()}"),)
        monkeypatch.setattr("ltgen_bench.data.digits.SHA256", "0" * 64)
        with pytest.raises(UserError, match="scikit-learn's digits have the sha256"):
            source.verify(config, tmp_path, SILENT, False)

    def test_the_summaries_say_the_border_and_the_form_with_a_factor(self):
        for name in ("mnist", "fashion-mnist"):
            assert "border of 2 black pixels" in DATASETS[name].summary
        assert "cifar10-lt-10: factor 10" in DATASETS["cifar10-lt"].summary

    def test_no_heavy_library_is_needed_to_know_them(self):
        program = ("import sys\nfrom ltgen_bench.data.catalog import DATASETS, find_source\n"
                   "[find_source(name) for name in (*DATASETS, 'cifar10-lt-50', 'hub:x', 'folder:x', 'npz:x')]\n"
                   "print(sorted({'torch', 'torchvision', 'sklearn', 'PIL', 'datasets', 'scipy'} & sys.modules.keys()))")
        assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
