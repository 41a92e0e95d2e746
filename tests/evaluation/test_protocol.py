import subprocess
import sys

import pytest
from pydantic import ValidationError

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.evaluation.classifiers.classifier_recipe import downstream_recipe
from ltgen_bench.evaluation.evaluator import downstream_protocol, extractor_protocol
from ltgen_bench.evaluation.measure import Configured
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.protocol import Protocol, label_fields

COMMON = {"data": "0123456789abcdef", "images_per_class": 100, "labels": "exactly balanced",
          "groups": ("thirds", "count"), "sample_dtype": "uint8", "selection": "recipe"}
LITERALS = {
    "fid": "9ca33e81", "fid_excess": "f208d34b", "is": "20099f34", "kid": "9241f715", "cmmd": "ababaa6b",
    "precision": "35e5ca03", "recall": "a349e183", "density": "59017427", "coverage": "675ef5ec",
    "prd_f8": "8918b6be", "prd_f1_8": "27fe1dc2", "diversity": "cd6bee06", "vendi": "a7ab302b",
    "memorised": "dbf74a87", "near_copies": "c16f1ce5", "label_accuracy": "5a2497ee",
    "downstream_accuracy": "4e90b311", "downstream_recall": "ce8880d7"}


AGAINST_REFERENCE = {"fid", "fid_excess", "kid", "cmmd", "precision", "recall", "density", "coverage", "prd_f8", "prd_f1_8"}


def protocols(counting_extractor, common=None, steps=None, **config):
    settings = EvaluateConfig.model_validate(config)
    recipe = downstream_recipe((1, 8, 8), False, 441, steps)
    found = {}
    for name in METRICS:
        metric = METRICS[name]
        found[name] = (downstream_protocol(metric, recipe, common or COMMON) if metric.is_downstream else
                       extractor_protocol(Configured(metric, metric.settings_of(settings).fitted(1000, 1000)), counting_extractor,
                                          settings, common or COMMON))
    return found


def changed(before, after):
    return {name for name in before if before[name].id != after[name].id}


def test_the_ids_are_these(counting_extractor):
    """A change here makes every published number incomparable with new ones: raise a revision, do not edit lightly."""
    found = {name: protocol.id for name, protocol in protocols(counting_extractor).items()}
    assert found == LITERALS


def test_another_k_touches_the_nearest_neighbour_metrics_alone(counting_extractor):
    before, after = protocols(counting_extractor), protocols(counting_extractor, k=3)
    assert changed(before, after) == {"precision", "recall", "density", "coverage"}


def test_another_edge_touches_the_nearest_neighbour_metrics_alone(counting_extractor):
    before, after = protocols(counting_extractor), protocols(counting_extractor, edge="<")
    assert changed(before, after) == {"precision", "recall", "density", "coverage"}
    assert "edge <," in after["recall"].words


def test_half_of_the_reference_touches_what_is_compared_with_it(counting_extractor):
    before, after = protocols(counting_extractor), protocols(counting_extractor, half="report")
    assert changed(before, after) == AGAINST_REFERENCE | {"memorised", "near_copies"}  # half of the held-out images, too
    assert "balanced training set" in after["fid"].words


def test_another_reference_touches_what_is_compared_with_it(counting_extractor):
    before, after = protocols(counting_extractor), protocols(counting_extractor, reference="test")
    assert changed(before, after) == AGAINST_REFERENCE


def test_other_downstream_steps_touch_the_downstream_metrics_alone(counting_extractor):
    before, after = protocols(counting_extractor), protocols(counting_extractor, steps=7)
    assert changed(before, after) == {"downstream_accuracy", "downstream_recall"}


@pytest.mark.parametrize("other", [{"data": "f" * 16}, {"images_per_class": 50}, {"selection": "fixed"}])
def test_other_data_counts_or_selection_touch_everything(counting_extractor, other):
    assert changed(protocols(counting_extractor), protocols(counting_extractor, {**COMMON, **other})) == set(METRICS)


def test_other_weights_touch_every_metric_of_the_extractor(counting_extractor):
    before = protocols(counting_extractor)
    counting_extractor.weights_id = counting_extractor.logits_id = "counting-2"
    assert changed(before, protocols(counting_extractor)) == {name for name in METRICS if "downstream" not in name}


def test_a_new_revision_changes_its_own_metric(counting_extractor):
    fid = protocols(counting_extractor)["fid"]
    assert fid.model_copy(update={"revision": 2}).id != fid.id


def test_fields_that_play_no_part_are_absent(counting_extractor):
    described = protocols(counting_extractor)["is"].describe()
    assert described["is_splits"] == 10
    assert not {"k", "edge", "kid_subsets", "reference", "training"} & set(described)
    assert None not in described.values()


@pytest.mark.parametrize("common", [COMMON, {**COMMON, "images_per_class": None, "images": 9, "labels": "i.i.d. uniform"}])
def test_a_description_read_back_has_the_same_id(counting_extractor, common):
    for protocol in protocols(counting_extractor, common).values():
        assert Protocol.model_validate(protocol.describe()).id == protocol.id


def test_the_words_are_one_sentence(counting_extractor):
    words = protocols(counting_extractor)["recall"].words
    assert "100 images a class, exactly" in words
    assert "k 5, edge <=" in words
    assert words.endswith("data 0123456789abcdef.")
    assert "\n" not in words


def test_the_words_name_every_field():
    """A field that is not in the words would let two measurements read alike that are not."""
    fields = {
        "metric": "M", "revision": 31, "data": "D", "images_per_class": None, "images": 32, "labels": "L", "groups": ("G1", "G2"),
        "sample_dtype": "T", "selection": "fixed", "reference": "longtail", "reference_half": "report", "reference_per_class": 33,
        "extractor": "E", "weights": "W", "resize": "Z", "counts": "C", "settings": {"k": 35}, "training": "N", "steps": 40}
    assert set(fields) == set(Protocol.model_fields), "a new field has its place in this test and in the words"
    others = {"metric": "M2", "data": "D2", "labels": "L2", "groups": ("G1",), "sample_dtype": "T2", "selection": "recipe",
              "reference": "test", "reference_half": "selection", "extractor": "E2", "weights": "W2", "resize": "Z2",
              "counts": "C2", "settings": {"k": 36}, "training": "N2", "images_per_class": 41}
    whole = Protocol.model_validate(fields)
    for name, value in fields.items():
        other = whole.model_copy(update={name: others.get(name, value + 1 if isinstance(value, int) else None)})
        assert other.words != whole.words, name
        assert other.id != whole.id, name


def test_a_protocol_is_frozen_and_knows_no_entry(counting_extractor):
    fid = protocols(counting_extractor)["fid"]
    with pytest.raises(ValidationError):
        fid.revision = 3
    for entry in ("sampler", "steps_of_sampler", "omega", "budget_images", "method"):
        with pytest.raises(ValidationError):
            Protocol.model_validate({**fid.describe(), entry: 1})


@pytest.mark.parametrize(("counts", "asked", "per_class", "images", "labels"), [
    ([5, 5, 5], {}, 5, None, "exactly balanced"),
    ([5, 5, 5], {"asked": 15}, 5, None, "exactly balanced"),
    ([5, 3, 9], {}, None, None, "unbalanced, 3 to 9 images a class"),
    ([5, 3, 9], {"uniform": True}, None, 17, "i.i.d. uniform"),
    ([4, 6, 7], {"uniform": True}, None, 17, "i.i.d. uniform"),
    ([6, 6, 5], {"asked": 17}, None, 17, "equal shares"),
    ([6, 6, 5], {"asked": 18}, None, None, "unbalanced, 5 to 6 images a class"),
    ([9, 4, 2], {"asked": "train", "train_counts": [9, 4, 2]}, None, None, "counts of the training set"),
    ([4, 4, 4], {"asked": "train", "train_counts": [4, 4, 4]}, None, None, "counts of the training set"),
    ([9, 4, 1], {"asked": "train", "train_counts": [9, 4, 2]}, None, None, "unbalanced, 1 to 9 images a class")])
def test_labels_are_balanced_or_said_not_to_be(counts, asked, per_class, images, labels):
    fields = label_fields(counts, **asked)
    assert (fields["images_per_class"], fields.get("images"), fields["labels"]) == (per_class, images, labels)


def test_protocols_scores_and_descriptions_need_no_torch():
    modules = "protocol, scores, metrics, extractors, preset, presets, evaluator"
    code = f"import sys; from ltgen_bench.evaluation import {modules}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
