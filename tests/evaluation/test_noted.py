"""What is said of copies and repeats: at every score that they spoil, and never of honest images."""

from dataclasses import replace

import numpy as np
import pytest

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation.downstream import downstream_rows
from ltgen_bench.evaluation.evaluator import evaluate
from ltgen_bench.evaluation.measure import scopes_of
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.runtime.context import RunContext

pytestmark = pytest.mark.usefixtures("quick_recipes")
CONFIG = EvaluateConfig(settings={"kid": {"subsets": 10}})


def every(scores, metric, train_data=""):
    table = scores.table
    return table[(table["metric"] == metric) & (table["scope"] == "all") & (table["train_data"] == train_data)].iloc[0]


def test_nothing_is_said_of_honest_images(make_images, tiny_dataset, shared_cache):
    scores = evaluate(make_images((12, 12, 12), seed=7), tiny_dataset, CONFIG, RunContext(cache=shared_cache))
    assert scores.notes == []
    assert not scores.table["note"].str.contains("copies").any()


@pytest.mark.parametrize("change", [0, 1], ids=["equal", "one grey level"])
def test_test_images_have_no_downstream_scores_and_every_other_score_says_so(change, tiny_dataset, shared_cache, tmp_path):
    test = tiny_dataset.test
    samples = ImageSet(test.images + np.uint8(change), test.labels)
    scores = evaluate(samples, tiny_dataset, CONFIG, RunContext(cache=shared_cache))
    assert f"{len(test)} of {len(test)} generated images are copies of held-out images" in scores.notes[0]
    for name in ("synthetic", "real-lt+synthetic"):
        row = every(scores, "downstream_accuracy", name)
        assert np.isnan(row["value"])
        assert "classifier would train" in row["note"]
    assert every(scores, "downstream_accuracy", "real-lt")["value"] > 0
    known = scores.table[scores.table["value"].notna() & (scores.table["train_data"] == "")]
    assert known["note"].str.contains("does not count copies of held-out images").all()
    own = known[(known["scope"] == "class") & (known["label"] == 2)]
    assert own["note"].str.contains(f"({(test.labels == 2).sum()} of {(test.labels == 2).sum()})", regex=False).all()
    scores.save(tmp_path / "scores.csv")
    assert Scores.load(tmp_path / "scores.csv").notes == scores.notes


def test_a_few_copies_are_counted_and_only_the_scopes_with_too_many_of_them_are_withheld(make_dataset):
    dataset = make_dataset((200, 100, 50, 50))
    asked = np.zeros(len(dataset.test), dtype=bool)
    asked[np.flatnonzero(dataset.test.labels == 3)[:3]] = True
    rows = downstream_rows({"real-lt": dataset.test.labels, "synthetic": dataset.test.labels}, dataset.test.labels,
                           scopes_of(dataset), 40, asked)
    of = {(row["train_data"], row["scope"], row["label"]): row for row in rows}
    assert of["synthetic", "all", None]["value"] == 1
    assert "(3 of 800 test images)" in of["synthetic", "all", None]["note"]
    assert "value" not in of["synthetic", "class", 3]
    assert "not available" in of["synthetic", "class", 3]["note"]
    assert of["synthetic", "class", 0]["value"] == of["real-lt", "class", 3]["value"] == 1


def test_repeats_are_counted_at_the_scores_that_reward_them(tiny_dataset, shared_cache):
    from ltgen_bench.evaluation.trivial_samples import TRIVIAL

    scores = evaluate(TRIVIAL["one-per-class"].draw(tiny_dataset, 12, 0), tiny_dataset, CONFIG, RunContext(cache=shared_cache))
    (sentence,) = [note for note in scores.notes if "repeat" in note]
    assert "33 of 36 generated images" in sentence
    assert "3 are distinct" in sentence
    for metric in ("is", "precision", "density", "label_accuracy"):
        assert "repeated images (33 of 36)" in every(scores, metric)["note"]
    assert "repeated" not in every(scores, "recall")["note"]


def test_without_a_test_part_nothing_is_held_out(make_images, tiny_dataset, shared_cache):
    bare = replace(tiny_dataset, test=tiny_dataset.test.take(np.empty(0, np.int64)))
    assert evaluate(make_images((12, 12, 12), seed=7), bare, CONFIG, RunContext(cache=shared_cache)).notes == []
