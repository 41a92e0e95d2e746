"""MNIST, Fashion-MNIST and SVHN through torchvision, from generated files that a server on this machine hands out."""

import gzip
import hashlib

import numpy as np
import pytest
from standins import EACH, adopt, md5, write_published
from torchvision.datasets import CIFAR10, CIFAR100, MNIST, SVHN, FashionMNIST

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import DATASETS, load_dataset
from ltgen_bench.data.catalog import find_source

SETS = {"mnist": MNIST, "fashion-mnist": FashionMNIST, "svhn": SVHN}
PUBLISHED = {  # as torchvision states them, read before any test replaces them
    **{name: tuple((file, f"md5:{md5}") for file, md5 in kind.resources) for name, kind in SETS.items() if kind is not SVHN},
    "svhn": tuple((file, f"md5:{md5}") for _, file, md5 in (SVHN.split_list[part] for part in ("train", "test"))),
    "cifar10": ((CIFAR10.filename, f"md5:{CIFAR10.tgz_md5}"),), "cifar100": ((CIFAR100.filename, f"md5:{CIFAR100.tgz_md5}"),)}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A data root with the published files of all three sets."""
    folder = tmp_path_factory.mktemp("served")
    for kind in SETS.values():
        write_published(kind, folder)
    return folder


@pytest.fixture(autouse=True)
def generated(served, serve, monkeypatch):
    for kind in SETS.values():
        adopt(kind, served, monkeypatch, serve(served))


def folder_of(kind, data_root):
    return data_root if kind is SVHN else data_root / kind.__name__ / "raw"


def files_of(kind):
    return dict(kind.resources) if kind is not SVHN else {name: checksum for _, name, checksum in kind.split_list.values()}


def load(name, data_root, progress=SILENT):
    return find_source(name).load(DataConfig(name=name), data_root, progress)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_catalogue_states_the_checksums_that_torchvision_states(name):
    assert DATASETS[name].checksums == PUBLISHED[name] == DATASETS[f"{name}-lt"].checksums


@pytest.mark.parametrize("name", SETS)
class TestEach:
    def test_a_download_is_read_and_cut_at_factor_100(self, name, tmp_path, told):
        dataset = load_dataset(DataConfig(name=f"{name}-lt", imbalance_factor=10.0), data_root=tmp_path / "data", progress=told)
        train, test = EACH[SETS[name].__name__]
        assert len(told.messages) == 1
        assert told.messages[0].startswith(f"fetching {next(iter(files_of(SETS[name])))}, ")
        assert dataset.class_counts == [int(train * 0.1 ** (c / 9)) for c in range(10)]
        assert len(dataset.test) == 10 * test
        assert dataset.flip == (name == "fashion-mnist")
        assert DATASETS[f"{name}-lt"].imbalance_factor == 100
        assert dataset.class_names == DATASETS[name].class_names

    def test_images_are_32_x_32_and_the_first_pixel_is_where_it_was(self, name, served):
        raw = load(name, served)
        assert raw.train.images.shape[1:] == DATASETS[name].image_shape == ((3, 32, 32) if name == "svhn" else (1, 32, 32))
        corner = 0 if name == "svhn" else 2
        for part in (raw.train, raw.test):
            assert np.array_equal(part.images[:, 0, corner, corner], part.labels)

    def test_the_checksum_is_over_names_and_md5_of_all_files(self, name, served):
        lines = "".join(sorted(f"{file} {md5(folder_of(SETS[name], served) / file)}\n" for file in files_of(SETS[name])))
        assert load(name, served).checksum == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"

    def test_without_a_network_every_file_is_named_and_no_folder_stays(self, name, served, tmp_path, monkeypatch):
        kind = SETS[name]
        adopt(kind, served, monkeypatch)
        with pytest.raises(UserError) as caught:
            load(name, tmp_path / "data")
        message = str(caught.value)
        assert message.startswith(f"{kind.__name__} is not under {tmp_path / 'data'}/ and could not be downloaded (")
        for file, checksum in files_of(kind).items():
            assert f"{file} (md5 {checksum})" in message
        assert f" into {folder_of(kind, tmp_path / 'data')}/, or name " in message
        assert message.count("\n") == 1
        assert list(tmp_path.iterdir()) == []

    def test_files_put_there_by_hand_are_read_without_a_word(self, name, served, tmp_path, told, monkeypatch):
        kind = SETS[name]
        adopt(kind, served, monkeypatch)
        folder_of(kind, tmp_path).mkdir(parents=True, exist_ok=True)
        for file in files_of(kind):
            (folder_of(kind, tmp_path) / file).write_bytes((folder_of(kind, served) / file).read_bytes())
        assert load(name, tmp_path, told).train.content_hash() == load(name, served).train.content_hash()
        assert told.messages == []

    def test_a_download_with_another_checksum_is_refused(self, name, tmp_path, monkeypatch):
        kind = SETS[name]
        wrong = "0" * 32
        if kind is SVHN:
            monkeypatch.setattr(kind, "split_list", {part: [*own[:2], wrong] for part, own in kind.split_list.items()})
        else:
            monkeypatch.setattr(kind, "resources", [(file, wrong) for file, _ in kind.resources])
        with pytest.raises(UserError, match=f"has another checksum and could not be downloaded .*\n.*md5 {wrong}"):
            load(name, tmp_path)

    def test_a_damaged_copy_is_mended(self, name, served, tmp_path):
        kind = SETS[name]
        load(name, tmp_path)
        for number, file in enumerate(files_of(kind)):
            path = folder_of(kind, tmp_path) / file.removesuffix(".gz")
            data = bytearray(path.read_bytes())
            data[-1] ^= 255  # of the same length: only a checksum sees it
            path.write_bytes(bytes(data[:-5]) if number == 1 else bytes(data))
        assert load(name, tmp_path).train.content_hash() == load(name, served).train.content_hash()

    def test_verifying_names_sound_and_damaged_files(self, name, served, tmp_path):
        source, config = find_source(name), DataConfig(name=name)
        lines = source.verify(config, tmp_path, SILENT, False)  # fetches what is not there
        assert lines == [f"{file}: md5 {checksum} as published" for file, checksum in files_of(SETS[name]).items()]
        path = folder_of(SETS[name], tmp_path) / next(iter(files_of(SETS[name])))
        path.write_bytes(path.read_bytes()[:-3])
        with pytest.raises(UserError, match="1 file not as published") as caught:
            source.verify(config, tmp_path, SILENT, False)
        assert str(path) in caught.value.problems[0]

    @pytest.mark.parametrize("option", [{"image_size": 64}, {"index_list": "x"}, {"test_list": "x"}, {"columns": ("a", "b")}])
    def test_options_of_image_files_are_refused(self, name, served, option):
        option_name = next(iter(option)).replace("_", "-")
        with pytest.raises(UserError, match=f"{name} takes no --{option_name}; it is for "):
            find_source(name).load(DataConfig(name=name, **option), served, SILENT)


def test_unpacked_files_without_their_archives_are_known_by_their_images_alone(served, tmp_path):
    load("mnist", tmp_path)
    folder = folder_of(MNIST, tmp_path)
    for path in folder.glob("*.gz"):
        path.unlink()
    assert load("mnist", tmp_path).checksum == ""
    lines = find_source("mnist").verify(DataConfig(name="mnist"), tmp_path, SILENT, False)
    assert all("unpacked" in line for line in lines)
    images = folder / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"MNIST under .*raw/ is damaged"):
        load("mnist", tmp_path)
    for path in folder_of(MNIST, served).glob("*.gz"):
        (folder / path.name).write_bytes(path.read_bytes())
    assert load("mnist", tmp_path).train.content_hash() == load("mnist", served).train.content_hash()


def test_the_border_of_mnist_is_black_and_the_middle_is_what_was_published(served):
    packed = gzip.decompress((folder_of(MNIST, served) / "t10k-images-idx3-ubyte.gz").read_bytes())
    expected = np.frombuffer(packed, np.uint8, offset=16).reshape(-1, 28, 28)
    images = load("mnist", served).test.images
    assert np.array_equal(images[:, 0, 2:-2, 2:-2], expected)
    assert images.sum() == expected.astype(np.int64).sum()
