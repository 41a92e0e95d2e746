"""Files and paths that nobody means: pipes, images without pixels, headers without an end, names that are none."""

import gzip
import io
import os
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from standins import write_image, write_lists

from ltgen_bench.config.recipe_files import read_toml
from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.core.files import cache_folder, read_plain
from ltgen_bench.core.user_paths import user_path
from ltgen_bench.data import array_files, load_dataset, splits
from ltgen_bench.data.array_files import npz_headers, read_npy, read_npz
from ltgen_bench.data.image_files import BadImageError, decode
from ltgen_bench.data.samples import load_samples
from ltgen_bench.data.splits import Split

OBJECT = re.compile(r"<.* object at 0x")


def listed(photos, train, test=None):
    write_lists(photos.parent, train, test or train, ("train.txt", "test.txt"))
    return DataConfig(name=f"folder:{photos}", index_list=str(photos.parent / "train.txt"),
                      test_list=str(photos.parent / "test.txt") if test else None, test_part=None if test else "none")


@pytest.fixture
def photos(tmp_path):
    for value, path in enumerate(("a/0.png", "a/1.png", "b/0.png", "b/1.png")):
        write_image(tmp_path / "photos" / path, (4, 4), 10 * value)
    return tmp_path / "photos"


FILES = [("a/0.png", 0), ("a/1.png", 0), ("b/0.png", 1), ("b/1.png", 1)]


class TestPlainFiles:
    def test_a_pipe_and_a_device_are_told_and_nobody_waits(self, photos, tmp_path):
        os.mkfifo(photos / "a" / "pipe.png")
        (photos / "b" / "zero.png").symlink_to("/dev/zero")
        with pytest.raises(UserError, match="2 of 6 train images") as caught:
            load_dataset(listed(photos, [*FILES, ("a/pipe.png", 0), ("b/zero.png", 1)]))
        assert all("no plain file" in problem for problem in caught.value.problems)
        os.mkfifo(tmp_path / "list.txt")
        with pytest.raises(UserError, match="no plain file"):
            load_dataset(DataConfig(name=f"folder:{photos}", index_list=str(tmp_path / "list.txt")))
        os.mkfifo(tmp_path / "p.npz")
        with pytest.raises(UserError, match="no regular file"):
            load_dataset(DataConfig(name=f"npz:{tmp_path / 'p.npz'}"))

    @pytest.mark.parametrize("name", ["s.npz", "s.npy", "s.zip"])
    def test_samples_in_a_pipe(self, tmp_path, name, make_dataset):
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match="no plain file"):
            load_samples(tmp_path / name, make_dataset())

    def test_a_file_larger_than_any_image_is_not_read(self, tmp_path):
        with (tmp_path / "x").open("wb") as file:
            file.truncate(1 << 40)  # takes no space
        with pytest.raises(OSError, match="at most"):
            read_plain(tmp_path / "x")


def empty_png():
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
                                           for kind, data in chunks)


def empty_gif():
    return b"GIF89a" + struct.pack("<HH", 0, 0) + b"\x00\x00\x00,\0\0\0\0\0\0\0\0\0\x02\x02\x4c\x01\x00;"


def empty_bmp():
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0)


class TestImages:
    @pytest.mark.parametrize("data", [empty_png(), empty_gif(), empty_bmp(), b"P6 0 0 255\n", b"no image", b""])
    @pytest.mark.parametrize("size", [None, 32])
    def test_without_pixels_or_of_no_format_in_words(self, data, size):
        with pytest.raises(BadImageError) as caught:
            decode(data, size)
        assert not OBJECT.search(str(caught.value))

    def test_no_object_is_printed_of_samples_either(self, tmp_path, make_dataset):
        with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
            for name in ("class 0", "class 1", "class 2"):
                archive.writestr(f"{name}/0.png", b"no image")
        with pytest.raises(UserError, match="3 of 3 images") as caught:
            load_samples(tmp_path / "s.zip", make_dataset())
        assert not OBJECT.search(str(caught.value))

    def test_arrays_without_pixels(self, tmp_path):
        np.savez(tmp_path / "a.npz", images=np.zeros((8, 0, 0, 3), np.uint8), labels=np.arange(8) % 2)
        with pytest.raises(UserError, match="no pixels"):
            load_dataset(DataConfig(name=f"npz:{tmp_path / 'a.npz'}"))


def npy(header, version=1, body=b""):
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + body


HEADERS = {
    "without an end": npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4, 4"),
    "of brackets": npy(b"(" * 3000), "of deeper brackets": npy(b"[" * 9000), "of minus signs": npy(b"-" * 9000 + b"1"),
    "longer than the file": b"\x93NUMPY\x02\x00\xff\xff\xff\xffx", "of another version": b"\x93NUMPY\x09\x00" + b" " * 40,
    "of 5000 digits": npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (" + b"9" * 5000 + b",)}"),
    "of more than there is": npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,)}", body=b"1234"),
    "of less than nothing": npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (-4,)}", body=b"1234"),
    "of an unhashable key": npy(b"{[]: 1}"),
    "of objects": npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", body=b"x"),
    "of text that is none": npy(b"\xff\xfe" * 20), "of no data at all": b"", "cut": b"\x93NUM"}


class TestHeaders:
    @pytest.mark.parametrize("name", HEADERS)
    @pytest.mark.filterwarnings("ignore::SyntaxWarning")
    def test_a_broken_header_is_one_sentence(self, tmp_path, name, make_dataset):
        (tmp_path / "a.npy").write_bytes(HEADERS[name])
        with pytest.raises(UserError, match="not a readable npy"):
            read_npy(tmp_path / "a.npy", "it")
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("images.npy", HEADERS[name])
        for read in (lambda: npz_headers(tmp_path / "a.npz", "it"), lambda: load_samples(tmp_path / "a.npz", make_dataset())):
            with pytest.raises(UserError, match="not a readable npz"):
                read()

    def test_what_would_not_fit_is_refused_before_it_is_unpacked(self, tmp_path, monkeypatch, make_dataset):
        np.savez_compressed(tmp_path / "a.npz", images=np.zeros((3000, 64, 64), np.uint8), labels=np.arange(3000) % 3)
        monkeypatch.setattr(np.lib.format, "read_array", None)
        monkeypatch.setattr(array_files, "machine_memory", lambda: 10_000_000)
        with pytest.raises(UserError, match="half of this machine's memory"):
            load_dataset(DataConfig(name=f"npz:{tmp_path / 'a.npz'}"))
        monkeypatch.undo()
        monkeypatch.setattr(array_files, "BOMB_BYTES", 10_000_000)
        monkeypatch.setattr(np.lib.format, "read_array", None)
        for read in (lambda: load_dataset(DataConfig(name=f"npz:{tmp_path / 'a.npz'}")),
                     lambda: load_samples(tmp_path / "a.npz", make_dataset())):
            with pytest.raises(UserError, match="no images compress to"):
                read()

    def test_arrays_that_nobody_asked_for_are_not_unpacked(self, tmp_path, monkeypatch):
        np.savez_compressed(tmp_path / "a.npz", labels=np.arange(4), huge=np.zeros(20_000_000, np.uint8))
        monkeypatch.setattr(array_files, "machine_memory", lambda: 1_000_000)
        assert read_npz(tmp_path / "a.npz", "it", ("labels",))["labels"].tolist() == [0, 1, 2, 3]

    def test_labels_of_another_number_are_refused_by_the_headers(self, tmp_path, monkeypatch):
        np.savez_compressed(tmp_path / "a.npz", images=np.zeros((30, 4, 4), np.uint8), labels=np.arange(29) % 3)
        monkeypatch.setattr(np.lib.format, "read_array", None)
        with pytest.raises(UserError, match="30 images need as many labels"):
            load_dataset(DataConfig(name=f"npz:{tmp_path / 'a.npz'}"))


class TestManifests:
    @pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "{}", "\ufeff[1"])
    def test_a_broken_manifest_is_one_sentence(self, tmp_path, text):
        (tmp_path / "s.json").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="manifest"):
            Split.load(tmp_path / "s.json")

    def test_one_that_unpacks_without_an_end_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(splits, "LARGEST", 1000)
        (tmp_path / "s.json.gz").write_bytes(gzip.compress(b" " * 100_000))
        with pytest.raises(UserError, match="bytes unpacked"):
            Split.load(tmp_path / "s.json.gz")


class TestPaths:
    @pytest.mark.parametrize(("text", "word"), [
        ("a\0b", "NUL"), ("x" * 300, "300 bytes"), ("ü" * 200, "400 bytes"), ("~nouser-here/x", "no home folder"),
        ("a/" * 3000, "6000 bytes"), ("\ud800", "characters that no file")])
    def test_a_path_that_is_none_is_one_sentence_in_every_form(self, photos, text, word):
        with pytest.raises(UserError, match=word):
            user_path(text, "it")
        options = [DataConfig(name=f"{form}:{text}") for form in ("folder", "npz", "hub")]
        options += [DataConfig(name=f"folder:{photos}", index_list=text), DataConfig(split=text)]
        for config in options:
            with pytest.raises(UserError):
                load_dataset(config)

    def test_options_of_the_commands_too(self):
        from ltgen_bench.cli.data_command import show

        for arguments in (["--plot", "x" * 300], ["--data-root", "x" * 300]):
            assert isinstance(CliRunner().invoke(show, ["digits-lt", *arguments]).exception, UserError)

    def test_without_a_home_folder(self, monkeypatch):
        def nobody():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("LTGEN_BENCH_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr("pathlib.Path.home", nobody)
        with pytest.raises(MachineError, match="LTGEN_BENCH_CACHE"):
            cache_folder()

    def test_long_names_and_controls_in_an_index_list(self, photos):
        with pytest.raises(UserError, match="2 of 6 files") as caught:
            load_dataset(listed(photos, [*FILES, ("x" * 300 + ".png", 0), ("\x1b[31m.png", 1)]))
        assert "\x1b" not in str(caught.value)


class TestTexts:
    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_an_index_list_with_the_mark_of_its_encoding(self, photos, encoding):
        config = listed(photos, FILES)
        (photos.parent / "train.txt").write_text("".join(f"{path} {label}\n" for path, label in FILES), encoding=encoding)
        assert load_dataset(config).class_counts == [2, 2]

    def test_lists_that_were_joined_have_a_mark_within(self, photos):
        config = listed(photos, FILES)
        (photos.parent / "train.txt").write_text("\ufeffa/0.png 0\na/1.png 0\n\ufeffb/0.png 1\nb/1.png 1\n", encoding="utf-8")
        assert load_dataset(config).class_counts == [2, 2]

    def test_backslashes_are_slashes_where_no_file_has_them(self, photos):
        dataset = load_dataset(listed(photos, [(path.replace("/", "\\"), label) for path, label in FILES]))
        assert dataset.class_names == ("a", "b")
        assert dataset.train.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30]
        write_image(photos / "a\\0.png", (4, 4), 99)
        odd = load_dataset(listed(photos, [("a\\0.png", 0), *FILES[1:]]))
        assert odd.train.images[0, 0, 0, 0] == 99

    def test_a_recipe_with_a_mark(self, tmp_path):
        (tmp_path / "r.toml").write_text('[data]\nname = "digits-lt"\n', encoding="utf-8-sig")
        assert read_toml(tmp_path / "r.toml") == {"data": {"name": "digits-lt"}}


def test_a_png_in_memory_is_read():
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "png")
    assert decode(file.getvalue())[0].shape == (3, 2, 3)
