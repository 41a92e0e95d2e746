"""The batch size of an extractor: its own, the one asked for, or the fastest, which is measured once."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.extracting import context_of

from ltgen_bench.config.schema import EvaluateConfig, SampleConfig
from ltgen_bench.evaluation.evaluator import Origin, evaluate
from ltgen_bench.evaluation.features import extractor_batch as sizing
from ltgen_bench.evaluation.features.extractor_batch import with_batch_size
from ltgen_bench.evaluation.features.feature_cache import cached_features
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.distributed import Ranks


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (11, 1, 8, 8), dtype=np.uint8)


@pytest.fixture
def finding(monkeypatch):
    """`finding(8)`: the search finds 8 from now on; returns the largest numbers that it was allowed, one a search."""
    searches = []

    def find(size):
        def search(call, device, *, largest):
            call(3)
            searches.append(largest)
            return size

        monkeypatch.setattr(sizing, "fastest_size", search)
        return searches

    return find


def looking(extractor, asked, pixels, folder, told):
    """(images at once, features) of `pixels` as an evaluation makes them."""
    context = context_of(folder, progress=told)
    ready = with_batch_size(extractor, asked, pixels, context)
    with told.stage("features", len(pixels), "images") as stage:
        return ready.batch_size, cached_features(pixels, ready, context, stage)


@pytest.mark.parametrize(("asked", "size"), [(None, 4), (3, 3), (5000, 5000)])
def test_a_number_is_taken_as_it_is_and_none_leaves_the_extractors_own(counting_extractor, pixels, tmp_path, told, asked, size):
    found = with_batch_size(counting_extractor, asked, pixels, context_of(tmp_path, progress=told))
    assert found.batch_size == size
    assert counting_extractor.batch_size == 4, "the extractor itself stays as it is"
    assert found.seen == counting_extractor.seen == 0
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_was_found_is_kept_and_finds_the_features_again(counting_extractor, pixels, tmp_path, told, finding):
    searches = finding(8)
    assert looking(counting_extractor, "auto", pixels, tmp_path, told)[0] == 8
    assert searches == [2048]
    assert told.messages == ["counting: batch size 8, which is fastest here"]
    folders = sorted(tmp_path.iterdir())
    assert looking(counting_extractor, "auto", pixels, tmp_path, told)[0] == 8
    other = 255 - pixels
    assert looking(counting_extractor, "auto", other, tmp_path, told)[0] == 8, "once for all images of this shape"
    assert searches == [2048]
    assert len(list(tmp_path.iterdir())) == len(folders) + 1


def test_where_all_features_are_there_by_the_extractors_own_number_nothing_is_searched(counting_extractor, pixels, tmp_path, told,
                                                                                     finding):
    _, before = looking(counting_extractor, None, pixels, tmp_path, told)
    searches = finding(8)
    size, found = looking(counting_extractor, "auto", pixels, tmp_path, told)
    assert (size, searches) == (4, [])
    assert np.array_equal(found.features, before.features)
    assert looking(counting_extractor, "auto", 255 - pixels, tmp_path, told)[0] == 8, "other images are not there"
    assert looking(counting_extractor, "auto", pixels, tmp_path, told)[0] == 4, "and these are still found"
    assert len(searches) == 1


@pytest.mark.parametrize("change", ["weights_id", "precision", "shape", "threads"])
def test_another_extractor_precision_shape_or_number_of_threads_has_a_number_of_its_own(
        counting_extractor, pixels, tmp_path, told, finding, change, monkeypatch):
    searches = finding(8)
    looking(counting_extractor, "auto", pixels, tmp_path, told)
    if change == "shape":
        pixels = np.zeros((5, 1, 6, 6), np.uint8)
    elif change == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
        pixels = 255 - pixels
    else:
        setattr(counting_extractor, change, "another")
    with_batch_size(counting_extractor, "auto", pixels, context_of(tmp_path, progress=told))
    assert len(searches) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"batch_size": "many"}', '{"batch_size": 0}', '{"batch_size": 10000}'])
def test_a_damaged_note_is_found_again(counting_extractor, pixels, tmp_path, told, finding, text):
    searches = finding(8)
    looking(counting_extractor, "auto", pixels, tmp_path, told)
    (note,) = tmp_path.glob("batch-counting-*.json")
    note.write_text(text)
    assert looking(counting_extractor, "auto", 255 - pixels, tmp_path, told)[0] == 8
    assert len(searches) == 2
    assert json.loads(note.read_text())["batch_size"] == 8


def test_the_first_rank_decides_for_all(counting_extractor, pixels, tmp_path, told, finding):
    said = []

    class Second(Ranks):
        def broadcast(self, value):
            said.append(value)
            return 16

    searches = finding(8)
    context = replace(context_of(tmp_path, progress=told), ranks=Second(1, 2))
    assert with_batch_size(counting_extractor, "auto", pixels, context).batch_size == 16
    assert (said, searches) == ([None], []), "only the main process searches"


@pytest.fixture(scope="module")
def samples(make_images):
    return make_images((12, 12, 12), seed=7)


@pytest.mark.usefixtures("quick_recipes")
class TestAnEvaluation:
    def scores(self, samples, tiny_dataset, cache, told, sampling=None, **values):
        config = EvaluateConfig(metrics=("fid", "label_accuracy"), downstream=False, **values)
        return evaluate(samples, tiny_dataset, config, RunContext(cache=cache, progress=told), Origin(sampling))

    def test_protocols_do_not_depend_on_it_and_scores_by_rounding_alone(self, samples, tiny_dataset, shared_cache, told, finding):
        finding(8)
        own = self.scores(samples, tiny_dataset, shared_cache, told)
        for asked in (5, "auto"):
            other = self.scores(samples, tiny_dataset, shared_cache, told, batch_size=asked)
            assert other.protocols == own.protocols
            values = [scores.table["value"].to_numpy(float) for scores in (own, other)]
            np.testing.assert_allclose(*values, rtol=1e-3, atol=1e-3)

    def test_the_classifier_really_looks_at_so_many(self, samples, tiny_dataset, tmp_path, told, monkeypatch):
        from ltgen_bench.evaluation.extractors import domain_classifier as domain

        seen, real = [], domain.predict

        def predict(net, images, **given):
            seen.append((len(images), given["batch_size"]))
            return real(net, images, **given)

        monkeypatch.setattr(domain, "predict", predict)
        self.scores(samples, tiny_dataset, tmp_path, told, batch_size=600)
        assert {batch for _, batch in seen} == {600}
        del seen[:]
        self.scores(samples, tiny_dataset, tmp_path, told, batch_size=7)
        assert max(count for count, _ in seen) == 7

    @pytest.mark.parametrize(("sampling", "values", "searched"), [
        (SampleConfig(batch_size="auto"), {}, True), (SampleConfig(batch_size="auto"), {"batch_size": 9}, False),
        (SampleConfig(batch_size=9), {}, False), (None, {}, False), (None, {"batch_size": "auto"}, True)])
    def test_it_is_auto_where_images_are_drawn_so_and_nothing_else_is_said(
            self, samples, tiny_dataset, tmp_path, told, finding, sampling, values, searched):
        searches = finding(8)
        self.scores(samples, tiny_dataset, tmp_path, told, sampling, **values)
        assert bool(searches) == searched
        assert len(searches) <= 1, "once for the generated, the reference and the held-out images"
