"""Data without a test part: what needs held-out images is not available, and everything else is as it was."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.evaluator import evaluate
from ltgen_bench.evaluation.trivial_samples import real_test
from ltgen_bench.runtime.context import RunContext
from ltgen_bench.runtime.distributed import Ranks

pytestmark = pytest.mark.usefixtures("quick_recipes")
REFERENCE = ("fid", "kid", "precision", "recall", "density", "coverage")


class Idle(Ranks):
    """The main process of two, of which the other has no batch to look at."""

    def barrier(self):
        """The other one is always there."""

    def broadcast(self, value):
        return value

    def gather(self, value):
        return [value, []]

    def all_gather(self, value):
        return [value, value]


def configured(**values):
    return EvaluateConfig.model_validate_json(json.dumps(values))


def without_test(dataset):
    return replace(dataset, test=dataset.test.take(np.empty(0, np.int64)), test_part="none")


@pytest.fixture(scope="module")
def samples(make_images):
    return make_images((12, 12, 12), seed=7)


def of_all(scores):
    return scores.table[scores.table["scope"] == "all"].set_index("metric")


def test_scores_against_a_balanced_reference_stay_and_their_test_floor_goes(samples, tiny_dataset, shared_cache):
    rules = configured(metrics=["fid", "label_accuracy", "near_copies", "downstream_accuracy"])
    before = of_all(evaluate(samples, tiny_dataset, rules, RunContext(cache=shared_cache)))
    found = of_all(evaluate(samples, without_test(tiny_dataset), rules, RunContext(cache=shared_cache)))
    assert found.loc["fid", "value"] == before.loc["fid", "value"]
    assert found.loc["fid", "floor_half"] == before.loc["fid", "floor_half"]
    assert np.isnan(found.loc["fid", "floor_test"])
    assert found.loc["label_accuracy", "value"] == before.loc["label_accuracy", "value"]
    for metric in ("near_copies", "downstream_accuracy"):
        rows = found.loc[[metric]]
        assert rows["value"].isna().all()
        assert rows["note"].str.startswith("not available: needs").all()


def test_without_a_balanced_reference_all_scores_against_one_are_not_available(samples, make_dataset, make_images, shared_cache,
                                                                               tmp_path):
    dataset = without_test(make_dataset((20, 5, 1)))
    dataset = replace(dataset, reference=dataset.train)
    found = evaluate(samples, dataset, configured(downstream=False), RunContext(cache=shared_cache))
    rows = of_all(found)
    assert rows.loc[list(REFERENCE), "value"].isna().all()
    assert rows.loc[list(REFERENCE), "note"].str.contains("held-out images").all()
    assert rows.loc[["is", "label_accuracy"], "value"].notna().all()
    shared = evaluate(samples, dataset, configured(downstream=False), RunContext(cache=tmp_path, ranks=Idle(0, 2)))
    assert of_all(shared).loc["is", "value"] == rows.loc["is", "value"]
    asked = of_all(evaluate(samples, dataset, configured(metrics=["fid"], reference="longtail"), RunContext(cache=shared_cache)))
    assert np.isfinite(asked.loc["fid", "value"])


def test_halves_of_the_reference_need_no_test_images(tiny_dataset):
    half = without_test(tiny_dataset).half("report")
    assert (len(half.test), len(half.reference)) == (0, 30)


def test_held_out_images_as_samples_are_refused(tiny_dataset):
    with pytest.raises(UserError, match="no test part"):
        real_test(without_test(tiny_dataset), 3, 0)
