"""The cache of features when something fails: kills, full disks, several commands and processes at once."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from extracting import extract

from ltgen_bench.core.errors import MachineError
from ltgen_bench.core.files import cache_lock
from ltgen_bench.evaluation.extractors.domain_classifier import DomainClassifier
from ltgen_bench.evaluation.extractors.inception import Inception
from ltgen_bench.evaluation.features import feature_cache as cache
from ltgen_bench.evaluation.features import feature_file as features_file
from ltgen_bench.evaluation.features.feature_file import BLOCK, FeatureFile
from ltgen_bench.runtime.distributed import Ranks

KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from ltgen_bench.evaluation.features import feature_cache as cache
from ltgen_bench.evaluation.features import feature_file as features_file
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.evaluation.extractors import Features
from ltgen_bench.core.progress import SILENT
from ltgen_bench.runtime.context import RunContext

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
    found = cached_features(images, Slow(), RunContext(cache=Path(sys.argv[1])), stage)
assert np.array_equal(found.features, images.reshape(160, -1)[:, :16])
assert np.array_equal(found.logits, images.reshape(160, -1)[:, :3])
print("right", flush=True)
"""


@pytest.mark.slow
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
    folder = FeatureFile(images, counting_extractor, tmp_path).folder
    found = []
    waiting = threading.Thread(target=lambda: found.append(extract(images, counting_extractor, tmp_path, told)))
    with cache_lock(folder, told.messages.append):
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

    monkeypatch.setattr(cache, "cache_lock", refused)
    monkeypatch.setattr(os, "utime", refused)
    for name in ("write_at", "write_text", "write_atomically"):
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

    def gather(self, value):
        return [value, *self.carried] if self.is_main else []


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
