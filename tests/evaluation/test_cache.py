import hashlib
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from extracting import extract

from ltgen_bench.core.errors import MachineError
from ltgen_bench.evaluation.features import feature_file as features_file
from ltgen_bench.evaluation.features.feature_file import FeatureFile


def key(images, extractor):
    return FeatureFile(images, extractor, Path()).about["key"]


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
    assert "1 of 3 blocks" in told.messages[0]
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
    assert "note does not match" in told.messages[0]


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
    with pytest.raises(MachineError, match="8 of 30 images"):
        extract(images, counting_extractor, tmp_path, told)
    assert list(tmp_path.glob("*/*.npy")) == []
    assert list(tmp_path.glob("*/*.json")) == []


@pytest.mark.parametrize("step", ["write_atomically", "write_at", "write_text"])
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
    assert reached or (step == "write_atomically" and call >= 2), "there was a write to stop at"
    monkeypatch.setattr(features_file, step, plain)
    for _ in range(2):
        np.testing.assert_array_equal(extract(images, counting_extractor, tmp_path, told).features, expected)
