"""What was read is kept whole, found again, noticed when it or its files changed, and made again."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image
from standins import write_image

from ltgen_bench.config.schema import DataConfig
from ltgen_bench.core.errors import MachineError, UserError
from ltgen_bench.core.progress import SILENT
from ltgen_bench.data import image_cache
from ltgen_bench.data.catalog import find_source
from ltgen_bench.data.folder_source import list_folder
from ltgen_bench.data.image_cache import MEMORY_SHARE, entry_folder, load_images


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for each test."""
    monkeypatch.setenv("LTGEN_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def load(root, progress=SILENT, image_size=None, **options):
    return load_images(list_folder(root, "photos"), image_size, "ltgen-bench data verify photos", progress, **options)


def verify(root, update=False, progress=SILENT):
    config = DataConfig(name=f"folder:{root}")
    return find_source(config.name).verify(config, root.parent, progress, update)


def touch(path, seconds=5):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + seconds * 10**9))


class TestKeeping:
    def test_the_second_time_nothing_is_read(self, root, told, monkeypatch):
        first = load(root)
        monkeypatch.setattr(image_cache, "read_images", None)
        second = load(root, told)
        assert told.stages == []
        assert told.messages == []
        for part in ("train", "test"):
            assert getattr(second, part).content_hash() == getattr(first, part).content_hash()
        assert second.checksum == first.checksum
        assert second.checksum.startswith("sha256:")

    def test_an_entry_is_two_arrays_and_a_json_that_any_program_reads(self, root, cache):
        raw = load(root)
        (folder,) = (path for path in cache.iterdir() if path.is_dir())
        assert sorted(path.name for path in folder.iterdir()) == ["listing.json", "test.npy", "train.npy"]
        assert np.array_equal(np.load(folder / "train.npy"), raw.train.images)
        facts = json.loads((folder / "listing.json").read_text())
        assert facts["rule"].startswith("centre square; Pillow BOX when shrinking, BICUBIC")
        stat = (root / "train" / "ant" / "0.png").stat()
        part = facts["parts"]["train"]
        assert (part["files"][0], part["sizes"][0], part["times"][0]) == ("train/ant/0.png", stat.st_size, stat.st_mtime_ns)
        assert len(part["sha256"]) == 64 * 6

    def test_another_size_or_place_is_another_entry(self, root, tmp_path):
        listing = list_folder(root, "photos")
        shutil.copytree(root, tmp_path / "copy")
        other = list_folder(tmp_path / "copy", "photos")
        keys = {entry_folder(listing, None), entry_folder(listing, 32), entry_folder(listing, 64), entry_folder(other, None)}
        assert len(keys) == 4
        assert load(root).checksum == load(tmp_path / "copy").checksum == load(root, image_size=32).checksum

    def test_the_checksum_sees_content_name_and_order(self, root):
        before = load(root).checksum
        path = root / "train" / "ant" / "0.png"
        write_image(path, (6, 4), 99)
        verify(root, update=True)
        changed = load(root).checksum
        path.rename(root / "train" / "ant" / "00.png")
        verify(root, update=True)
        assert len({before, changed, load(root).checksum}) == 3

    def test_arrays_over_the_share_of_the_memory_are_mapped_and_can_be_written_to(self, root, cache):
        small = load(root)
        assert not isinstance(small.train.images, np.memmap)
        mapped = load(root, memory_share=0.0)
        assert isinstance(mapped.train.images, np.memmap)
        assert mapped.train.content_hash() == small.train.content_hash()
        mapped.train.images[0] = 0  # copy on write: torch wants arrays that it might write to
        assert load(root).train.content_hash() == small.train.content_hash()
        import torch

        assert torch.from_numpy(load(root, memory_share=0.0).train.images).shape == (6, 3, 4, 6)

    def test_the_share_is_a_quarter_of_the_memory_of_machine_or_container(self):
        assert MEMORY_SHARE == 0.25


class TestWholeOrNotAtAll:
    def test_a_fault_leaves_nothing(self, root, cache):
        (root / "test" / "bee" / "1.png").write_bytes(b"no image")
        with pytest.raises(UserError, match="1 of 4 test images"):
            load(root)
        assert not cache.exists()

    @pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
    def test_an_interruption_and_a_full_disk_leave_nothing(self, root, cache, monkeypatch, error):
        real = image_cache.read_images

        def stopped(listing, name, *rest):
            yield from real(listing, name, *rest)
            if name == "test":
                raise error

        monkeypatch.setattr(image_cache, "read_images", stopped)
        with pytest.raises((KeyboardInterrupt, MachineError)):
            load(root)
        assert not cache.exists()
        monkeypatch.undo()

    def test_a_killed_reading_is_begun_anew(self, root, tmp_path, cache, told, monkeypatch):
        """SIGKILL between the two parts: the array that was finished has no JSON, and is not used."""
        program = (
            "import os, sys\nfrom pathlib import Path\nfrom ltgen_bench.data import image_cache\n"
            "from ltgen_bench.data.folder_source import list_folder\nfrom ltgen_bench.core.progress import SILENT\n"
            "real = image_cache.read_images\n"
            "def killed(listing, name, *rest):\n"
            "    if name == 'test': os.kill(os.getpid(), 9)\n"
            "    yield from real(listing, name, *rest)\n"
            "image_cache.read_images = killed\n"
            "image_cache.load_images(list_folder(Path(sys.argv[1]), 'photos'), None, '', SILENT)\n")
        monkeypatch.setenv("LTGEN_BENCH_CACHE", str(cache.parent))
        assert subprocess.run([sys.executable, "-c", program, str(root)], check=False).returncode == -9
        assert (next(path for path in cache.iterdir() if path.is_dir()) / "train.npy").is_file()
        assert load(root, told).train.images.shape == (6, 3, 4, 6)
        assert [stage["name"] for stage in told.stages] == ["read train", "read test"]
        assert sorted(path.name for path in cache.glob("*/*")) == ["listing.json", "test.npy", "train.npy"]

    def test_two_commands_read_once(self, root, monkeypatch):
        real, reads = image_cache.read_images, []

        def slow(listing, name, *rest):
            reads.append(name)
            time.sleep(0.1)
            yield from real(listing, name, *rest)

        monkeypatch.setattr(image_cache, "read_images", slow)
        threads = [threading.Thread(target=load, args=(root,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(reads) == ["test", "train"]

    def test_a_cache_that_cannot_be_written_is_the_machines_error(self, root, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("LTGEN_BENCH_CACHE", str(tmp_path / "file"))
        with pytest.raises(MachineError, match=r"written.*LTGEN_BENCH_CACHE names another folder"):
            load(root)


class TestDamage:
    @pytest.mark.parametrize("damage", [
        lambda folder: (folder / "train.npy").write_bytes((folder / "train.npy").read_bytes()[:-1]),
        lambda folder: (folder / "train.npy").write_bytes(b""),
        lambda folder: (folder / "test.npy").unlink(),
        lambda folder: np.save(folder / "test.npy", np.zeros((3, 3, 4, 6), np.uint8)),
        lambda folder: np.save(folder / "test.npy", np.zeros((4, 3, 4, 6), np.int8)),
        lambda folder: (folder / "listing.json").write_text("{"),
        lambda folder: (folder / "listing.json").write_text("[]"),
        lambda folder: (folder / "listing.json").write_text('{"reader": 1, "parts": {"train": 3}}'),
        lambda folder: (folder / "listing.json").write_bytes(b"\xff\xfe"),
    ])
    def test_damage_is_said_and_the_files_are_read_again(self, root, cache, told, damage):
        first = load(root)
        (folder,) = (path for path in cache.iterdir() if path.is_dir())
        damage(folder)
        again = load(root, told)
        assert again.train.content_hash() == first.train.content_hash()
        assert [stage["name"] for stage in told.stages] == ["read train", "read test"]
        missing = len(told.messages) == 0  # a file that is not there is no damage, only nothing
        assert missing or all("cached images of photos cannot be used (" in message for message in told.messages)
        assert load(root).test.content_hash() == first.test.content_hash()

    @pytest.mark.parametrize("share", [MEMORY_SHARE, 0.0])
    @pytest.mark.parametrize("part", ["train", "test"])
    def test_a_bit_of_an_array_is_found_when_it_is_read(self, root, cache, told, part, share):
        first = load(root)
        (folder,) = (path for path in cache.iterdir() if path.is_dir())
        data = bytearray((folder / f"{part}.npy").read_bytes())
        data[-3] ^= 1
        (folder / f"{part}.npy").write_bytes(data)
        again = load(root, told, memory_share=share)
        for name in ("train", "test"):
            assert getattr(again, name).content_hash() == getattr(first, name).content_hash()
        assert "do not match their checksum" in told.messages[0]
        assert (folder.with_name(f"{folder.name}.damaged") / f"{part}.npy").read_bytes() == data
        assert load(root, memory_share=share).train.content_hash() == first.train.content_hash()

    def test_every_bit_of_the_listing_is_vouched_for(self, root, cache):
        first = load(root)
        (folder,) = (path for path in cache.iterdir() if path.is_dir())
        whole = (folder / "listing.json").read_bytes()
        for place in np.random.default_rng(0).integers(0, len(whole), 12).tolist():
            data = bytearray(whole)
            data[place] ^= 2
            (folder / "listing.json").write_bytes(data)
            assert load(root).checksum == first.checksum

    def test_an_entry_of_before_there_were_checksums_is_read(self, root, cache, told):
        load(root)
        (folder,) = (path for path in cache.iterdir() if path.is_dir())
        facts = json.loads((folder / "listing.json").read_text())
        del facts["sha256"]
        (folder / "listing.json").write_text(json.dumps(facts))
        load(root, told)
        assert told.stages == []

    def test_an_edited_array_of_the_same_size_is_found_by_verifying(self, root, cache, told):
        first = load(root).train.content_hash()
        (folder,) = (path for path in cache.iterdir() if path.is_dir())
        array = np.load(folder / "train.npy")
        array[2, 1, 1, 1] ^= 1
        np.save(folder / "train.npy", array)
        assert "the cached arrays are damaged; the files are read again" in verify(root)
        assert load(root).train.content_hash() == first

    def test_an_entry_of_another_reader_is_read_again_in_its_place(self, root, cache, told, monkeypatch):
        load(root)
        (kept,) = (path for path in cache.iterdir() if path.is_dir())
        monkeypatch.setattr(image_cache, "READER", 3)
        load(root, told)
        assert [stage["name"] for stage in told.stages] == ["read train", "read test"]
        assert not list(kept.parent.glob("*.damaged*"))

    def test_what_was_said_of_the_images_is_said_whenever_they_are_loaded(self, root, told):
        Image.new("RGBA", (6, 4), (1, 2, 3, 0)).save(root / "train" / "ant" / "1.png")
        load(root, told)
        load(root, told)
        assert told.messages[0].startswith("1 of 6 train images have transparent pixels")
        assert told.messages == told.messages[:1] * 2


class TestChanged:
    def test_what_was_added_removed_and_touched_is_counted_and_named_with_the_cure(self, root):
        load(root)
        write_image(root / "train" / "ant" / "9.png", (6, 4), 3)
        (root / "test" / "bee" / "1.png").unlink()
        touch(root / "train" / "bee" / "0.png")
        write_image(root / "train" / "bee" / "1.png", (6, 4))  # another size
        with pytest.raises(UserError) as caught:
            load(root)
        message = str(caught.value).splitlines()[0]
        assert "read (1 file added, 1" \
            in message
        assert "`ltgen-bench data verify photos` compares" in message
        assert caught.value.problems == ("added: train/ant/9.png", "removed: test/bee/1.png", "changed: train/bee/0.png",
                                         "changed: train/bee/1.png")

    def test_five_of_many_are_named(self, root):
        load(root)
        for path in root.rglob("*.png"):
            touch(path)
        with pytest.raises(UserError, match=r"\(10 files with another size") as caught:
            load(root)
        assert len(caught.value.problems) == 5

    def test_the_same_files_in_another_order_are_read_again_without_an_error(self, root, told, monkeypatch):
        shutil.rmtree(root / "test")
        for number in range(3, 8):
            for name in ("ant", "bee"):
                write_image(root / "train" / name / f"{number}.png", (6, 4), number)
        load(root)
        real = image_cache.Listing

        def other_quarter(listing):
            return real(listing.where, listing.root, listing.layout, listing.class_names,
                        listing.train.take(np.arange(len(listing.train))[::-1].copy()), listing.test)

        turned = other_quarter(list_folder(root, "photos"))
        again = load_images(turned, None, "", told)
        assert len(told.stages) == 2
        assert np.array_equal(again.train.images[::-1], load(root).train.images)


class TestVerify:
    def test_nothing_kept_means_it_is_read_now(self, root):
        lines = verify(root)
        assert "6 training and 4 test" in lines[0]
        assert lines[-1] == load(root).checksum

    def test_unchanged_files_are_said_to_be_as_they_were(self, root, told):
        checksum = load(root).checksum
        assert verify(root, progress=told) == [
            f"folder:{root}: 6 training and 4 test images as they were read", checksum]
        assert [stage["name"] for stage in told.stages] == ["verify train", "verify test"]

    def test_other_times_alone_are_noted_and_then_forgotten(self, root):
        load(root)
        touch(root / "train" / "ant" / "0.png")
        with pytest.raises(UserError, match="has changed"):
            load(root)
        assert "1 file with another time than when they were read, which is noted" in verify(root)
        load(root)

    def test_other_content_is_named_and_taken_with_update_alone(self, root):
        before = load(root)
        write_image(root / "train" / "ant" / "1.png", (6, 4), 77)
        write_image(root / "train" / "bee" / "8.png", (6, 4), 78)
        with pytest.raises(UserError, match="1 file added, 1 file") as caught:
            verify(root)
        assert caught.value.problems == ("added: train/bee/8.png", "changed: train/ant/1.png")
        with pytest.raises(UserError, match="has changed"):
            load(root)
        lines = verify(root, update=True)
        assert "1 file added, 1 file changed; 7 training and 4 test images read again" in lines[0]
        after = load(root)
        assert after.checksum == lines[-1] != before.checksum
        assert after.train.images[1].max() == 77

    def test_content_changed_behind_the_same_size_and_time_is_found(self, root):
        write_image(root / "train" / "ant" / "0.bmp", (6, 4), 1)
        load(root)
        path = root / "train" / "ant" / "0.bmp"
        stat = path.stat()
        write_image(path, (6, 4), 2)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        load(root)  # the hint cannot see it
        with pytest.raises(UserError, match="1 file changed") as caught:
            verify(root)
        assert caught.value.problems == ("changed: train/ant/0.bmp",)
