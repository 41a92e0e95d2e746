"""CIFAR through torchvision, from generated files of the same layout that a server on this machine hands out."""

import numpy as np
import pytest
from standins import EACH, adopt, md5, write_published
from torchvision.datasets import CIFAR10, CIFAR100

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import load_dataset
from ltgen_bench.data.catalog import find_source


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """A folder with the archives of both sets, and the unpacked files beside them."""
    folder = tmp_path_factory.mktemp("served")
    for kind in (CIFAR10, CIFAR100):
        write_published(kind, folder)
    return folder


@pytest.fixture(autouse=True)
def generated(archives, serve, monkeypatch):
    """torchvision's classes with the address and the checksums of the generated files."""
    for kind in (CIFAR10, CIFAR100):
        adopt(kind, archives, monkeypatch, serve(archives))


@pytest.mark.parametrize(("name", "kind", "classes"), [("cifar10", CIFAR10, 10), ("cifar100", CIFAR100, 100)])
def test_a_download_is_unpacked_and_read(name, kind, classes, tmp_path, told):
    dataset = load_dataset(DataConfig(name=name), data_root=tmp_path / "data", progress=told)
    assert told.messages == [f"fetching {kind.filename} into {tmp_path / 'data'}/"]
    train, test = EACH[kind.__name__]
    assert dataset.class_counts == [train] * classes
    assert dataset.image_shape == (3, 32, 32)
    assert np.array_equal(dataset.train.images[:, 0, 0, 0], dataset.train.labels)
    assert len(dataset.test) == test * classes
    assert dataset.class_names[9] == "class 9"
    assert dataset.flip


def test_the_long_tail_is_cut_at_factor_100(tmp_path):
    dataset = load_dataset(DataConfig(name="cifar10-lt"), data_root=tmp_path)
    assert dataset.class_counts == [int(100 * 0.01 ** (c / 9)) for c in range(10)]
    assert dataset.name == "cifar10-lt"


def test_an_existing_copy_is_read_without_a_word_or_a_download(archives, told, monkeypatch):
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/nothing-listens-here")
    assert len(load_dataset(DataConfig(name="cifar10"), data_root=archives, progress=told).train) == 1000
    assert told.messages == []


def test_an_archive_put_there_by_hand_is_unpacked(archives, tmp_path, told, monkeypatch):
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/nothing-listens-here")
    (tmp_path / CIFAR10.filename).write_bytes((archives / CIFAR10.filename).read_bytes())
    assert len(load_dataset(DataConfig(name="cifar10"), data_root=tmp_path, progress=told).train) == 1000
    assert told.messages == []


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_without_a_network_the_error_names_file_checksum_and_what_to_do(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(kind, "url", "https://nowhere.invalid/cifar.tar.gz")
    with pytest.raises(UserError) as caught:
        load_dataset(DataConfig(name=kind.__name__.lower() + "-lt"), data_root=tmp_path / "data")
    message = str(caught.value)
    assert message.startswith(f"{kind.__name__} is not under {tmp_path / 'data'}/ and could not be downloaded (")
    assert f"Put {kind.filename} (md5 {kind.tgz_md5}) into {tmp_path / 'data'}/" in message
    assert message.endswith("or name its folder with --data-root.")
    assert not (tmp_path / "data").exists(), "no empty folder stays behind"


def test_a_download_with_another_checksum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(CIFAR10, "tgz_md5", "0" * 32)
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz has another checksum") as caught:
        load_dataset(DataConfig(name="cifar10"), data_root=tmp_path)
    assert "md5 " + "0" * 32 in str(caught.value)
    assert not (tmp_path / CIFAR10.base_folder).exists()


def test_a_broken_archive_is_fetched_again(tmp_path):
    (tmp_path / CIFAR10.filename).write_bytes(b"half of a download")
    assert len(load_dataset(DataConfig(name="cifar10"), data_root=tmp_path).train) == 1000


def test_a_damaged_copy_is_mended_from_the_archive(archives, tmp_path):
    load_dataset(DataConfig(name="cifar10"), data_root=tmp_path)
    batch = tmp_path / CIFAR10.base_folder / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:-1000])
    again = load_dataset(DataConfig(name="cifar10"), data_root=tmp_path)
    assert again.fingerprint == load_dataset(DataConfig(name="cifar10"), data_root=archives).fingerprint


def test_the_checksum_is_the_archives_md5(archives):
    source = find_source("cifar10-lt")
    raw = source.load(DataConfig(name="cifar10-lt"), archives, SILENT)
    assert raw.checksum == f"md5:{md5(archives / CIFAR10.filename)}"


class TestVerify:
    def verify(self, data_root):
        return find_source("cifar10").verify(DataConfig(name="cifar10"), data_root, SILENT, False)

    def test_sound_files_are_said_to_be_as_published(self, archives):
        assert self.verify(archives) == [
            f"{CIFAR10.filename}: md5 {md5(archives / CIFAR10.filename)} as published",
            "cifar-10-batches-py/: 7 files, all md5 as published"]

    def test_a_set_that_is_not_there_is_fetched(self, tmp_path):
        assert len(self.verify(tmp_path)) == 2

    def test_an_unpacked_folder_alone_is_verified(self, archives, tmp_path):
        load_dataset(DataConfig(name="cifar10"), data_root=tmp_path)
        (tmp_path / CIFAR10.filename).unlink()
        assert self.verify(tmp_path)[0].startswith(f"{CIFAR10.filename}: not in {tmp_path}/ any more")

    def test_all_damage_is_named_at_once(self, tmp_path):
        load_dataset(DataConfig(name="cifar10"), data_root=tmp_path)
        for path in (tmp_path / CIFAR10.filename, tmp_path / CIFAR10.base_folder / "data_batch_3"):
            path.write_bytes(path.read_bytes()[:-10])
        (tmp_path / CIFAR10.base_folder / "test_batch").unlink()
        with pytest.raises(UserError, match="CIFAR10: 3 files") as caught:
            self.verify(tmp_path)
        for name, problem in zip((CIFAR10.filename, "data_batch_3", "test_batch"), caught.value.problems, strict=True):
            assert name in problem
