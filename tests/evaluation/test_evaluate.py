import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.images import ImageSet
from ltgen_bench.evaluation import downstream
from ltgen_bench.evaluation.evaluator import Origin, check_weights, evaluate
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.metrics import default_metrics
from ltgen_bench.evaluation.scores import COLUMNS, Scores
from ltgen_bench.runtime.context import RunContext

pytestmark = pytest.mark.usefixtures("quick_recipes")


def configured(**values):
    return EvaluateConfig.model_validate_json(json.dumps({"settings": {"kid": {"subsets": 10}}, **values}))


@pytest.fixture(scope="module")
def samples(make_images):
    return make_images((12, 12, 12), seed=7)


@pytest.fixture(scope="module")
def scores(samples, tiny_dataset, shared_cache, use_quick_recipes):
    with pytest.MonkeyPatch.context() as patch:
        use_quick_recipes(patch)
        return evaluate(samples, tiny_dataset, configured(), RunContext(cache=shared_cache))


def test_every_metric_has_its_rows_and_every_row_its_protocol(scores):
    assert tuple(scores.table.columns) == COLUMNS
    assert list(scores.table["metric"].unique()) == list(default_metrics())
    assert set(scores.table["protocol"]) == set(scores.protocols)
    for name, rows in scores.table.groupby("metric"):
        (protocol,) = rows["protocol"].unique()
        assert scores.protocols[protocol]["metric"] == name
    assert list(scores.extractor_weights) == ["classifier"]
    assert len(scores.extractor_weights["classifier"]) == 64


def test_a_row_has_a_value_or_says_why_not(scores):
    missing = scores.table[scores.table["value"].isna()]
    assert (missing["note"] != "").all()
    assert set(missing["scope"]) == {"many@count"}
    few = scores.table[scores.table["scope"] == "class"]
    assert few["label"].notna().all()
    assert set(few["class_name"]) == {"class 0", "class 1", "class 2"}


def test_downstream_rows_name_their_training_set_and_network(scores):
    rows = scores.table[scores.table["metric"].str.startswith("downstream")]
    assert set(rows["train_data"]) == {"real-lt", "synthetic", "real-lt+synthetic"}
    assert set(rows["extractor"]) == {"cnn-8x8"}
    assert len(rows) == 3 * (7 + 3)


def test_the_order_of_all_images_changes_nothing(scores, samples, tiny_dataset, shared_cache, tmp_path):
    rng = np.random.default_rng(0)

    def shuffled(images):
        return images.take(rng.permutation(len(images)))

    dataset = replace(tiny_dataset, reference=shuffled(tiny_dataset.reference), test=shuffled(tiny_dataset.test))
    again = evaluate(shuffled(samples), dataset, configured(downstream=False), RunContext(cache=shared_cache))
    expected = scores.table[~scores.table["metric"].str.startswith("downstream")]
    columns = [name for name in COLUMNS if name != "protocol"]  # the fingerprint knows the order of the data set
    pd.testing.assert_frame_equal(again.table[columns], expected[columns], check_exact=True)


@pytest.mark.slow
def test_an_evaluation_interrupted_in_its_second_classifier_ends_with_the_same_bits(
        scores, samples, tiny_dataset, tmp_path, monkeypatch):
    real, trained = downstream.train_classifier, []

    def stopping(images, labels, *args, **kwargs):
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(len(labels))
        return real(images, labels, *args, **kwargs)

    folders = RunContext(cache=tmp_path / "cache"), Origin(work=tmp_path / "work")
    monkeypatch.setattr(downstream, "train_classifier", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluate(samples, tiny_dataset, configured(), *folders)
    monkeypatch.setattr(downstream, "train_classifier", real)
    again = evaluate(samples, tiny_dataset, configured(), *folders)
    pd.testing.assert_frame_equal(again.table, scores.table, check_exact=True)
    assert again.protocols == scores.protocols
    monkeypatch.setattr(downstream, "train_classifier", stopping)  # and now nothing is trained at all
    evaluate(samples, tiny_dataset, configured(), *folders)


def test_saved_scores_come_back_whole(scores, tmp_path):
    scores.save(tmp_path / "scores.csv")
    again = Scores.load(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(again.table, scores.table, check_exact=True)
    assert again.protocols == scores.protocols


def test_global_random_states_are_left_as_they_were(samples, tiny_dataset, tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    evaluate(samples, tiny_dataset, configured(), RunContext(cache=tmp_path))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_only_what_is_asked_for_is_measured(samples, tiny_dataset, shared_cache):
    found = evaluate(samples, tiny_dataset, configured(metrics=["recall", "fid"], downstream=False),
                     RunContext(cache=shared_cache))
    assert list(found.table["metric"].unique()) == ["recall", "fid"]
    assert len(found.protocols) == 2


def test_the_test_set_can_be_the_reference(samples, tiny_dataset, shared_cache):
    found = evaluate(samples, tiny_dataset, configured(metrics=["fid"], reference="test"), RunContext(cache=shared_cache))
    assert found.protocols[found.table["protocol"][0]]["reference"] == "test"
    assert math.isnan(found.table["floor_test"][0]), "nothing is held out from it"
    assert math.isfinite(found.table["floor_half"][0])


def test_unbalanced_samples_are_measured_and_their_protocol_says_so(make_images, tiny_dataset, shared_cache):
    found = evaluate(make_images((12, 5, 3)), tiny_dataset, configured(metrics=["kid"]), RunContext(cache=shared_cache))
    (described,) = found.protocols.values()
    assert described["labels"] == "unbalanced, 3 to 12 images a class"
    assert "images_per_class" not in described


def test_the_selection_of_omega_enters_the_protocol(samples, tiny_dataset, shared_cache):
    found = evaluate(samples, tiny_dataset, configured(metrics=["fid"], selection="selected-on-half"),
                     RunContext(cache=shared_cache))
    (described,) = found.protocols.values()
    assert described["selection"] == "selected-on-half"
    assert "omega" not in described


def test_an_extractor_without_logits_gives_an_inception_score_that_is_not_available(
        samples, tiny_dataset, shared_cache, counting_extractor, monkeypatch):
    plain = type(counting_extractor).__call__
    monkeypatch.setattr(type(counting_extractor), "__call__", lambda self, images: plain(self, images)._replace(logits=None))
    counting_extractor.has_logits = counting_extractor.class_logits = False
    kind = type("Kind", (), {"build": staticmethod(lambda *args, **kwargs: counting_extractor)})
    monkeypatch.setitem(EXTRACTORS._entries, "inception", kind)
    found = evaluate(samples, tiny_dataset, configured(extractors=["inception"], downstream=False),
                     RunContext(cache=shared_cache))
    score = found.table[(found.table["metric"] == "is") & (found.table["scope"] == "all")].iloc[0]
    assert math.isnan(score["value"])
    assert score["note"] == "not available: this weights file has no logits"
    assert "label_accuracy" not in set(found.table["metric"])
    assert found.table[found.table["metric"] == "fid"]["value"].notna().any()


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: ImageSet(s.images[:, :, :4], s.labels), "images of 1 x 4 x 8 .* of tiny are 1 x 8 x 8"),
    (lambda s: ImageSet(s.images, s.labels + 1), "labels 0 to 2"),
    (lambda s: ImageSet(s.images, s.labels - 1), "the label -1"),
    (lambda s: s.take(s.labels != 1), "no image of class class 1"),
    (lambda s: s.take(s.labels > 9), "0, class 1, class 2")])
def test_samples_that_cannot_be_judged_are_refused(samples, tiny_dataset, shared_cache, change, message):
    with pytest.raises(UserError, match=message):
        evaluate(change(samples), tiny_dataset, configured(), RunContext(cache=shared_cache))


@pytest.mark.parametrize(("config", "message"), [
    ({"metrics": ["fidd"]}, r"'fidd'. Did you mean 'fid'"),
    ({"extractors": ["inceptoin"]}, r"'inceptoin'. Did you mean 'inception'")])
def test_names_that_are_not_known_are_refused_before_any_work(samples, tiny_dataset, tmp_path, config, message):
    with pytest.raises(UserError, match=message):
        evaluate(samples, tiny_dataset, configured(**config), RunContext(cache=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("weights", "message"), [
    ({"incepton": "a.pth"}, "unknown extractor 'incepton'"), ({"inception": "a.pth"}, "extractor 'inception' is not used")])
def test_weights_of_an_extractor_that_is_not_used_are_refused(weights, message):
    with pytest.raises(UserError, match=message):
        check_weights([configured()], {name: Path(path) for name, path in weights.items()})


def test_every_stage_comes_to_its_end(samples, tiny_dataset, tmp_path, told):
    evaluate(samples, tiny_dataset, configured(), RunContext(cache=tmp_path, progress=told))
    assert [stage["name"] for stage in told.stages] == ["copies", "classifier", "features", "metrics", "downstream"]
    assert all(stage["done"] == stage["total"] for stage in told.stages)
