"""CIFAR through torchvision, from generated files of the same layout that a server on this machine hands out."""

import hashlib
import http.server
import pickle
import tarfile
import threading

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100

from ltgen_bench.config import DataConfig
from ltgen_bench.data import load_dataset
from ltgen_bench.errors import UserError

EACH = {CIFAR10: 20, CIFAR100: 3}  # images of each class in each training batch


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_batches(kind, folder):
    """The files of `kind` with few images: pixel (0, 0) of each is its label, the rest is noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    classes = 10 if kind is CIFAR10 else 100
    key = "labels" if kind is CIFAR10 else "fine_labels"
    for name, _ in (*kind.train_list, *kind.test_list):
        labels = rng.permutation(np.repeat(np.arange(classes), EACH[kind]))
        data = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        data[:, 0] = labels
        (folder / name).write_bytes(pickle.dumps({"data": data, key: labels.tolist()}))
    names = {"label_names" if kind is CIFAR10 else "fine_label_names": [f"class {c}" for c in range(classes)]}
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps(names))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """A folder with the archives of both sets, and the unpacked files beside them."""
    folder = tmp_path_factory.mktemp("served")
    for kind in (CIFAR10, CIFAR100):
        write_batches(kind, folder / kind.base_folder)
        with tarfile.open(folder / kind.filename, "w:gz") as archive:
            archive.add(folder / kind.base_folder, kind.base_folder)
    return folder


@pytest.fixture(scope="module")
def server(archives):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Quiet(*a, directory=str(archives))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def generated(archives, server, monkeypatch):
    """torchvision's classes with the address and the checksums of the generated files."""
    for kind in (CIFAR10, CIFAR100):
        unpacked = archives / kind.base_folder
        monkeypatch.setattr(kind, "url", f"{server}/{kind.filename}")
        monkeypatch.setattr(kind, "tgz_md5", md5(archives / kind.filename))
        for part in ("train_list", "test_list"):
            monkeypatch.setattr(kind, part, [[name, md5(unpacked / name)] for name, _ in getattr(kind, part)])
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(unpacked / kind.meta["filename"])})


@pytest.mark.parametrize(("name", "kind", "classes"), [("cifar10", CIFAR10, 10), ("cifar100", CIFAR100, 100)])
def test_a_download_is_unpacked_and_read(name, kind, classes, tmp_path, told):
    dataset = load_dataset(DataConfig(name=name), data_root=tmp_path / "data", progress=told)
    assert told.messages == [f"fetching {kind.filename} into {tmp_path / 'data'}/"]
    each = EACH[kind] * len(kind.train_list)
    assert dataset.class_counts == [each] * classes
    assert dataset.image_shape == (3, 32, 32)
    assert np.array_equal(dataset.train.images[:, 0, 0, 0], dataset.train.labels)
    assert len(dataset.test) == EACH[kind] * classes
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
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz has another checksum and could not be downloaded") as caught:
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


def test_the_published_checksums_are_torchvisions():
    """Read from the source, since this module replaces them: what a user is told to look for."""
    import inspect

    from torchvision.datasets import cifar

    source = inspect.getsource(cifar)
    for checksum in ("c58f30108f718f92721af3b95e74349a", "eb9058c3a382ffc7106e4002c42a8d85"):
        assert checksum in source
