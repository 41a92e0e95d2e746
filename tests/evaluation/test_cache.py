import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ltgen_bench.core.errors import MachineError
from ltgen_bench.core.files import turn_to_write
from ltgen_bench.evaluation.extractors.domain_classifier import DomainClassifier
from ltgen_bench.evaluation.extractors.inception import Inception
from ltgen_bench.evaluation.features import feature_cache as cache
from ltgen_bench.evaluation.features import feature_file as features_file
from ltgen_bench.evaluation.features.feature_cache import about_features, cached_features
from ltgen_bench.evaluation.features.feature_file import BLOCK
from ltgen_bench.runtime.distributed import Ranks


@pytest.fixture
def images(make_images):
    return make_images((10, 10, 10)).images


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 12 images: 30 images are three of them."""
    monkeypatch.setattr(features_file, "BLOCK", 12)


def extract(images, extractor, folder, progress):
    with progress.stage("features", len(images), "images") as stage:
        return cached_features(images, extractor, folder, progress, stage)


def key(images, extractor):
    return about_features(images, extractor).key


def flip_byte(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 0x55
    path.write_bytes(data)


def test_a_second_call_does_not_ask_the_extractor(images, counting_extractor, tmp_path, told):
    first = extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen == 30
    second = extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen == 30
    assert np.array_equal(first.features, second.features)
    assert np.array_equal(first.logits, second.logits)
    assert [stage["done"] for stage in told.stages] == [30, 30]
    assert told.messages == []


def test_what_comes_back_is_what_the_extractor_gave(images, counting_extractor, tmp_path, told, small_blocks):
    found = extract(images, counting_extractor, tmp_path, told)
    plain = counting_extractor(images)
    np.testing.assert_array_equal(found.features, plain.features)
    np.testing.assert_array_equal(found.logits, plain.logits)
    assert found.features.dtype == found.logits.dtype == np.float32


def test_an_extractor_without_a_head_has_no_logits(images, counting_extractor, tmp_path, told, monkeypatch):
    plain = type(counting_extractor).__call__
    monkeypatch.setattr(type(counting_extractor), "__call__", lambda self, batch: plain(self, batch)._replace(logits=None))
    monkeypatch.setattr(counting_extractor, "has_logits", False)
    assert extract(images, counting_extractor, tmp_path, told).logits is None
    assert extract(images, counting_extractor, tmp_path, told).logits is None
    assert counting_extractor.seen == 30


def mapped_from(array):
    while array.base is not None and not isinstance(array, np.memmap):
        array = array.base
    return array


def test_features_are_mapped_from_one_file_of_float32_and_writing_into_them_changes_no_file(
        images, counting_extractor, tmp_path, told):
    found = extract(images, counting_extractor, tmp_path, told)
    source = mapped_from(found.features)
    assert isinstance(source, np.memmap)
    (path,) = tmp_path.glob("*/features.npy")
    assert str(source.filename) == str(path)
    assert np.load(path).dtype == np.float32
    before = path.read_bytes()
    first = float(found.features[0, 0])
    found.features[0, 0] = 7
    assert path.read_bytes() == before
    assert extract(images, counting_extractor, tmp_path, told).features[0, 0] == first


def test_one_pixel_or_another_shape_or_extractor_is_another_key(images, counting_extractor):
    keys = {key(images, counting_extractor), key(images.reshape(30, 1, 4, 16), counting_extractor)}
    changed = images.copy()
    changed[7, 0, 3, 3] ^= 1
    keys.add(key(changed, counting_extractor))
    keys.add(key(images[::-1], counting_extractor))
    for attribute in ("name", "weights_id", "logits_id", "sha256", "resize", "precision"):
        before = getattr(counting_extractor, attribute, "float32")
        setattr(counting_extractor, attribute, "other")
        keys.add(key(images, counting_extractor))
        setattr(counting_extractor, attribute, before)
    counting_extractor.batch_size = 5
    keys.add(key(images, counting_extractor))
    assert len(keys) == 4 + 6 + 1


def test_the_key_is_about_content_alone(images, counting_extractor):
    assert key(images, counting_extractor) == key(images.copy(order="F"), counting_extractor)
    assert key(images, counting_extractor) == key(np.concatenate([images, images])[:30], counting_extractor)


def test_the_images_of_cifar_are_hashed_in_well_under_a_second(counting_extractor):
    images = np.zeros((50_000, 3, 32, 32), np.uint8)
    begin = time.perf_counter()
    hashlib.sha256(images.data).hexdigest()
    once = time.perf_counter() - begin
    begin = time.perf_counter()
    key(images, counting_extractor)
    assert time.perf_counter() - begin < 4 * once + 0.1, "hashed more than once"


@pytest.mark.parametrize("name", ["features.npy", "logits.npy", "note.json"])
@pytest.mark.parametrize("position", [0, 9, 100, 150, -3])
def test_a_damaged_entry_is_said_and_made_again(images, counting_extractor, tmp_path, told, small_blocks, name, position):
    first = extract(images, counting_extractor, tmp_path, told)
    expected = np.array(first.features), np.array(first.logits)
    (path,) = tmp_path.glob(f"*/{name}")
    whole = json.loads(path.read_text()) if name == "note.json" else np.load(path)
    flip_byte(path, position)
    second = extract(images, counting_extractor, tmp_path, told)
    np.testing.assert_array_equal(second.features, expected[0])
    np.testing.assert_array_equal(second.logits, expected[1])
    harmless = name == "note.json" and counting_extractor.seen == 30  # a word for people, or the last line's end
    assert harmless or "making them again" in told.messages[0]
    seen, messages = counting_extractor.seen, len(told.messages)
    extract(images, counting_extractor, tmp_path, told)
    assert (counting_extractor.seen, len(told.messages)) == (seen, messages)
    if not harmless:
        again = json.loads(path.read_text()) if name == "note.json" else np.load(path)
        assert np.array_equal(again, whole) if name != "note.json" else again == whole


def test_only_the_damaged_block_is_made_again(images, counting_extractor, tmp_path, told, small_blocks):
    first = np.array(extract(images, counting_extractor, tmp_path, told).features)
    (path,) = tmp_path.glob("*/features.npy")
    flip_byte(path, 128 + 4 * 16 * 15)  # an image of the second block
    second = extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen == 30 + 12
    assert "damaged in 1 of 3 blocks; making them again" in told.messages[0]
    assert told.stages[1]["done"] == 30
    np.testing.assert_array_equal(second.features, first)


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_file_cut_short_is_made_again(images, counting_extractor, tmp_path, told, cut):
    first = np.array(extract(images, counting_extractor, tmp_path, told).features)
    (path,) = tmp_path.glob("*/features.npy")
    path.write_bytes(path.read_bytes()[:cut])
    np.testing.assert_array_equal(extract(images, counting_extractor, tmp_path, told).features, first)
    assert counting_extractor.seen == 60
    assert "making them again" in told.messages[0]


def test_features_under_another_sets_name_are_not_taken(images, counting_extractor, tmp_path, told):
    extract(images, counting_extractor, tmp_path, told)
    (kept,) = tmp_path.iterdir()
    other = images.copy()
    other[0] ^= 1
    expected = np.array(extract(other, counting_extractor, tmp_path, told).features)
    (target,) = set(tmp_path.iterdir()) - {kept}
    shutil.rmtree(target)
    shutil.copytree(kept, target)
    np.testing.assert_array_equal(extract(other, counting_extractor, tmp_path, told).features, expected)
    assert "its note does not match its name" in told.messages[0]


def test_an_interrupted_pass_goes_on_after_the_last_whole_block(images, counting_extractor, tmp_path, told, monkeypatch,
                                                               small_blocks):
    plain = type(counting_extractor).__call__
    expected = plain(counting_extractor, images).features
    counting_extractor.seen = 0

    def stopping(self, batch):
        if self.seen >= 20:
            raise KeyboardInterrupt
        return plain(self, batch)

    monkeypatch.setattr(type(counting_extractor), "__call__", stopping)
    with pytest.raises(KeyboardInterrupt):
        extract(images, counting_extractor, tmp_path, told)
    monkeypatch.setattr(type(counting_extractor), "__call__", plain)
    counting_extractor.seen = 0
    found = extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen == 30 - 12
    assert np.array_equal(found.features, expected)
    assert told.messages == []


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_changes_no_feature(images, counting_extractor, tmp_path, told, batch_size):
    first = extract(images, counting_extractor, tmp_path, told)
    counting_extractor.batch_size = batch_size
    second = extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen == 60
    np.testing.assert_allclose(first.features, second.features, rtol=1e-6)


def test_features_that_are_not_finite_name_the_extractor_and_are_not_kept(images, counting_extractor, tmp_path, told,
                                                                         monkeypatch):
    plain = type(counting_extractor).__call__

    def broken(self, batch):
        found = plain(self, batch)
        found.features[0, 0] = np.nan
        return found

    monkeypatch.setattr(type(counting_extractor), "__call__", broken)
    with pytest.raises(MachineError, match="'counting' gave features that are not finite for 8 of 30 images"):
        extract(images, counting_extractor, tmp_path, told)
    assert list(tmp_path.glob("*/*.npy")) == []
    assert list(tmp_path.glob("*/*.json")) == []


@pytest.mark.parametrize("step", ["write_whole", "write_at", "write_text"])
@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize("after", [True, False])
def test_wherever_the_writing_stops_the_next_call_ends_right(images, counting_extractor, tmp_path, told, monkeypatch,
                                                            small_blocks, step, call, after):
    """Every write of a pass in turn is the last one that this program makes."""
    expected = counting_extractor(images).features
    calls, plain = [], getattr(features_file, step)

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) - 1 < call:
            return plain(*arguments)
        if after:
            plain(*arguments)
        elif step == "write_at":
            path, offset, data = arguments
            plain(path, offset, data[:len(data) // 2])
        raise SystemError("stop")

    monkeypatch.setattr(features_file, step, stopping)
    reached = True
    try:
        extract(images, counting_extractor, tmp_path, told)
        reached = False
    except SystemError:
        pass
    assert reached or (step == "write_whole" and call >= 2), "there was a write to stop at"
    monkeypatch.setattr(features_file, step, plain)
    for _ in range(2):
        np.testing.assert_array_equal(extract(images, counting_extractor, tmp_path, told).features, expected)


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from ltgen_bench.evaluation.features import feature_cache as cache
from ltgen_bench.evaluation.features import feature_file as features_file
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.evaluation.extractors import Features
from ltgen_bench.core.progress import SILENT

class Slow:
    name, resize, precision, has_logits, class_logits, batch_size, feature_dim = "slow", "none", "float32", True, True, 8, 16
    weights_id = logits_id = sha256 = "slow"
    def __call__(self, images):
        print("batch", flush=True)
        time.sleep(0.05)
        flat = images.reshape(len(images), -1)[:, :16].astype(np.float32)
        return Features(flat, flat[:, :3])

features_file.BLOCK = 8
images = np.random.default_rng(0).integers(0, 256, (160, 1, 8, 8), dtype=np.uint8)
with SILENT.stage("features", 160, "images") as stage:
    found = cached_features(images, Slow(), Path(sys.argv[1]), SILENT, stage)
assert np.array_equal(found.features, images.reshape(160, -1)[:, :16])
assert np.array_equal(found.logits, images.reshape(160, -1)[:, :3])
print("right", flush=True)
"""


def test_killed_without_warning_it_goes_on_and_is_never_wrong(tmp_path):
    batches = 0
    for lines in (2, 5, 9):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(lines):
            assert process.stdout.readline() == "batch\n"
            batches += 1
        time.sleep(0.045 + 0.002 * lines)  # about when the block is written
        process.send_signal(signal.SIGKILL)
        batches += process.communicate()[0].count("batch\n")
        assert process.returncode == -signal.SIGKILL
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("right\n")
    batches += done.stdout.count("batch\n")
    assert 20 <= batches <= 20 + 3, "a kill costs one block"


def test_two_commands_that_need_the_same_features_make_them_once(images, counting_extractor, tmp_path, told):
    about = about_features(images, counting_extractor)
    folder = tmp_path / f"counting-{about.key[:32]}"
    found = []
    waiting = threading.Thread(target=lambda: found.append(extract(images, counting_extractor, tmp_path, told)))
    with turn_to_write(folder, told.messages.append):
        waiting.start()
        deadline = time.monotonic() + 20
        while not told.messages and time.monotonic() < deadline:
            time.sleep(0.01)
        assert told.messages == [f"another command is writing {folder}; waiting for it"]
        assert found == []
    waiting.join()
    assert counting_extractor.seen == 30
    assert len(found) == 1


def test_a_cache_that_may_only_be_read_serves(images, counting_extractor, tmp_path, told, monkeypatch):
    extract(images, counting_extractor, tmp_path, told)

    def refused(*arguments, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache, "turn_to_write", refused)
    monkeypatch.setattr(os, "utime", refused)
    for name in ("write_at", "write_text", "write_whole"):
        monkeypatch.setattr(features_file, name, refused)
    extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen == 30


def test_a_full_disk_is_said_and_what_was_noted_stays(images, counting_extractor, tmp_path, told, monkeypatch, small_blocks):
    plain = features_file.write_at

    def full(path, offset, data):
        if offset > 128 + 12 * 64:
            raise MachineError("the disk is full")
        plain(path, offset, data)

    monkeypatch.setattr(features_file, "write_at", full)
    with pytest.raises(MachineError, match="the disk is full"):
        extract(images, counting_extractor, tmp_path, told)
    monkeypatch.setattr(features_file, "write_at", plain)
    counting_extractor.seen = 0
    extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen in (18, 30 - 24)


def test_a_hit_says_when_it_was(images, counting_extractor, tmp_path, told):
    extract(images, counting_extractor, tmp_path, told)
    (note,) = tmp_path.glob("*/note.json")
    os.utime(note, (0, 0))
    extract(images, counting_extractor, tmp_path, told)
    assert time.time() - note.stat().st_mtime < 60


def test_blocks_are_whole_batches_of_every_extractor():
    assert [BLOCK % kind.batch_size for kind in (DomainClassifier, Inception)] == [0, 0]


class Half(Ranks):
    """One of two processes whose features the test carries over."""

    carried = ()

    def collected(self, value):
        return [value, *self.carried] if self.first else []


@pytest.mark.parametrize("batch", [4, 12])
def test_two_processes_look_at_half_of_the_images_each_also_where_a_batch_is_a_block(batch, make_images, counting_extractor, told,
                                                                                  monkeypatch):
    images, blocks = make_images((10, 10, 4)).images, [slice(0, 12), slice(12, 24)]
    counting_extractor.batch_size = batch
    seen, own, plain = [], [], type(counting_extractor).__call__

    def looking(self, batch):
        seen.append(len(batch))
        own.append(plain(self, batch))
        return own[-1]

    monkeypatch.setattr(type(counting_extractor), "__call__", looking)
    with told.stage("features", 24, "images") as stage:
        assert cache._extract(images, blocks, counting_extractor, stage, Half(1, 2)) == []
        assert sum(seen) == 12
        monkeypatch.setattr(Half, "carried", (list(own),))
        found = cache._extract(images, blocks, counting_extractor, stage, Half(0, 2))
    assert sum(seen) == 24
    for block, features in zip(blocks, found, strict=True):
        np.testing.assert_array_equal(features.features, counting_extractor(images[block]).features)
