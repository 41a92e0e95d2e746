import numpy as np
import pytest

from ltgen_bench.errors import MachineError
from ltgen_bench.evaluation import cache
from ltgen_bench.evaluation.cache import cached_features, feature_key


@pytest.fixture
def images(make_images):
    return make_images((10, 10, 10)).images


def extract(images, extractor, folder, progress):
    with progress.stage("features", len(images), "images") as stage:
        return cached_features(images, extractor, folder, progress, stage)


def test_a_second_call_does_not_ask_the_extractor(images, counting_extractor, tmp_path, told):
    first = extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen == 30
    second = extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen == 30
    assert np.array_equal(first.features, second.features)
    assert np.array_equal(first.logits, second.logits)
    assert [stage["done"] for stage in told.stages] == [30, 30]


def test_one_pixel_or_another_shape_or_extractor_is_another_key(images, counting_extractor):
    keys = {feature_key(images, counting_extractor), feature_key(images.reshape(30, 1, 4, 16), counting_extractor)}
    changed = images.copy()
    changed[7, 0, 3, 3] ^= 1
    keys.add(feature_key(changed, counting_extractor))
    for attribute in ("name", "weights_id", "sha256", "resize"):
        before = getattr(counting_extractor, attribute)
        setattr(counting_extractor, attribute, "other")
        keys.add(feature_key(images, counting_extractor))
        setattr(counting_extractor, attribute, before)
    assert len(keys) == 7


@pytest.mark.parametrize("position", [0, 100, -3])
def test_a_damaged_entry_is_said_and_made_again(images, counting_extractor, tmp_path, told, position):
    first = extract(images, counting_extractor, tmp_path, told)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[position] ^= 0x55
    path.write_bytes(data)
    second = extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen == 60
    assert np.array_equal(first.features, second.features)
    assert "making them again" in told.messages[0]
    extract(images, counting_extractor, tmp_path, told)
    assert counting_extractor.seen == 60


def test_an_interrupted_pass_goes_on_after_the_last_whole_chunk(images, counting_extractor, tmp_path, told, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 12)
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
    assert list(tmp_path.iterdir()) == []
