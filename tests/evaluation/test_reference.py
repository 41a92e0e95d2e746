"""A cut reference: fewer real images of each class, another protocol, the same whatever the order."""

import numpy as np
import pytest

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.evaluator import check_extractors, evaluate
from ltgen_bench.evaluation.subsets import of_each_class
from ltgen_bench.runtime.context import RunContext


def test_a_cut_keeps_at_most_that_many_of_every_class(make_images):
    images = make_images((20, 9, 4))
    cut = of_each_class(images, 6, np.random.default_rng(0))
    assert np.bincount(cut.labels).tolist() == [6, 6, 4]
    shuffled = images.take(np.random.default_rng(1).permutation(len(images)))
    again = of_each_class(shuffled, 6, np.random.default_rng(0))
    assert cut.content_hash() == again.content_hash()


def test_a_cut_reference_is_another_protocol_and_says_its_numbers(tiny_dataset, make_images, tmp_path, quick_recipes):
    samples = make_images((12, 12, 12), seed=5)

    def scores(**config):
        return evaluate(samples, tiny_dataset, EvaluateConfig(metrics=("fid", "is"), downstream=False, **config),
                        RunContext(cache=tmp_path))

    whole, cut = scores(), scores(reference_per_class=8)
    fid = [s.table[(s.table.metric == "fid") & (s.table.scope == "all")].iloc[0] for s in (whole, cut)]
    assert fid[0]["n_real"] == 60
    assert fid[1]["n_real"] == 24
    assert fid[0]["protocol"] != fid[1]["protocol"]
    assert cut.protocols[fid[1]["protocol"]]["reference_per_class"] == 8
    inception = [s.table[s.table.metric == "is"].iloc[0] for s in (whole, cut)]
    assert inception[0]["protocol"] == inception[1]["protocol"], "IS has no reference"


def test_missing_weights_are_noticed_before_any_work(tiny_dataset, tmp_path, monkeypatch):
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"bad\.pth"):
        check_extractors(tiny_dataset, EvaluateConfig(extractors=("inception",)),
                         RunContext(cache=tmp_path, extractor_weights={"inception": tmp_path / "bad.pth"}))


def test_a_long_tailed_reference_gives_way_to_the_test_set_and_has_no_test_floor(make_images, tmp_path, quick_recipes):
    from ltgen_bench.data.dataset import LongTailDataset

    tail = make_images((40, 20, 5))
    natural = LongTailDataset("own", tail, tail, make_images((9, 9, 9), seed=3), ("a", "b", "c"), False)
    config = EvaluateConfig(metrics=("fid",), downstream=False)
    scores = evaluate(make_images((12, 12, 12), seed=5), natural, config, RunContext(cache=tmp_path))
    every = scores.table[scores.table.scope == "all"].iloc[0]
    assert scores.protocols[every["protocol"]]["reference"] == "test"
    assert every["n_real"] == 27
    assert np.isnan(every["floor_test"])
    assert every["value"] >= 0
