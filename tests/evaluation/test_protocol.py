import subprocess
import sys

import pytest
from pydantic import ValidationError

from ltgen_bench.config import EvaluateConfig
from ltgen_bench.evaluation.evaluate import downstream_protocol, extractor_protocol
from ltgen_bench.evaluation.metrics import METRICS, Settings
from ltgen_bench.evaluation.protocol import Protocol, label_policy
from ltgen_bench.evaluation.recipes import downstream_recipe

COMMON = {"data": "0123456789abcdef", "images_per_class": 100, "labels": "exactly balanced",
          "groups": ("thirds", "count"), "sample_dtype": "uint8", "selection": "recipe"}
LITERALS = {
    "fid": "9ca33e81", "is": "20099f34", "kid": "9241f715", "precision": "35e5ca03", "recall": "a349e183",
    "density": "59017427", "coverage": "675ef5ec", "label_accuracy": "5a2497ee", "downstream_accuracy": "4e90b311",
    "downstream_recall": "ce8880d7"}


def protocols(counting_extractor, common=None, steps=None, **config):
    settings = EvaluateConfig.model_validate(config)
    recipe = downstream_recipe((1, 8, 8), False, 441, steps)
    found = {}
    for name in METRICS:
        metric = METRICS[name]
        found[name] = (downstream_protocol(metric, recipe, common or COMMON) if "training" in metric.needs else
                       extractor_protocol(metric, counting_extractor, settings,
                                          Settings(k=settings.k, kid_subset_size=500), common or COMMON))
    return found


def changed(before, after):
    return {name for name in before if before[name].id != after[name].id}


def test_the_ids_are_these(counting_extractor):
    """A change here makes every published number incomparable with new ones: raise a revision, do not edit lightly."""
    assert {name: protocol.id for name, protocol in protocols(counting_extractor).items()} == LITERALS


def test_another_k_touches_the_nearest_neighbour_metrics_alone(counting_extractor):
    before, after = protocols(counting_extractor), protocols(counting_extractor, k=3)
    assert changed(before, after) == {"precision", "recall", "density", "coverage"}


def test_another_reference_touches_what_is_compared_with_it(counting_extractor):
    before, after = protocols(counting_extractor), protocols(counting_extractor, reference="test")
    assert changed(before, after) == {"fid", "kid", "precision", "recall", "density", "coverage"}


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


def test_a_description_read_back_has_the_same_id(counting_extractor):
    for protocol in protocols(counting_extractor).values():
        assert Protocol.model_validate(protocol.describe()).id == protocol.id


def test_the_words_are_one_sentence(counting_extractor):
    words = protocols(counting_extractor)["recall"].words
    assert "100 images a class, exactly balanced" in words
    assert "k 5, edge <=" in words
    assert words.endswith("data 0123456789abcdef.")
    assert "\n" not in words


def test_a_protocol_is_frozen_and_knows_no_entry(counting_extractor):
    fid = protocols(counting_extractor)["fid"]
    with pytest.raises(ValidationError):
        fid.revision = 3
    for entry in ("sampler", "steps_of_sampler", "omega", "budget_images", "method"):
        with pytest.raises(ValidationError):
            Protocol.model_validate({**fid.describe(), entry: 1})


@pytest.mark.parametrize(("counts", "policy"), [
    ([5, 5, 5], (5, "exactly balanced")), ([5, 3, 9], (None, "unbalanced, 3 to 9 images a class"))])
def test_labels_are_balanced_or_said_not_to_be(counts, policy):
    assert label_policy(counts) == policy


def test_protocols_scores_and_descriptions_need_no_torch():
    modules = "protocol, scores, description, metrics, extractors, recipes, evaluate"
    code = f"import sys; from ltgen_bench.evaluation import {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
