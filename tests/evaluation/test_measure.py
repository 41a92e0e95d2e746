"""The contract of every registered metric, on made-up features: a new entry is tested by existing."""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.core.progress import SILENT
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.measure import NO_CLASSES, NO_LOGITS, NO_TRAINING, Configured, FeatureSets, measure, scopes_of
from ltgen_bench.evaluation.metrics import METRICS, FeatureSet
from ltgen_bench.evaluation.metrics.balls import neighbour_scores
from ltgen_bench.evaluation.metrics.fid import frechet_distance
from ltgen_bench.evaluation.metrics.kid import unbiased_mmd2
from ltgen_bench.evaluation.metrics.metric import Need
from ltgen_bench.evaluation.protocol import Protocol

COMPUTED = [name for name in METRICS if METRICS[name].compute is not None]
WORDS = get_args(Need)


def side(counts, seed, *, shift=0.0, width=12, logits=True):
    """Features baselines a centre a class; logits that mostly know the class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    centres = np.random.default_rng(99).standard_normal((len(counts), width))
    features = (centres[labels] + rng.standard_normal((len(labels), width)) + shift).astype(np.float32)
    votes = rng.standard_normal((len(labels), len(counts))) + 3 * np.eye(len(counts))[labels]
    return FeatureSet(features, labels, votes.astype(np.float32) if logits else None)


def rows_of(names, sides, dataset, **settings):
    """Rows of the metrics `names`; `settings` are those of each metric that has such settings."""
    stated = {"subsets": 10, **settings}
    metrics = [Configured(metric, metric.settings(**{key: value for key, value in stated.items()
                                                     if key in metric.settings.model_fields}))
               for metric in (METRICS[name] for name in names)]
    with SILENT.stage("metrics", 1, "scopes") as stage:
        return measure(metrics, sides, scopes_of(dataset), stage)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_states_its_facts(name):
    metric = METRICS[name]
    assert metric.name == name
    assert metric.title
    assert metric.summary
    assert metric.source
    assert metric.direction in ("lower", "higher", "nearest")
    assert metric.target is None or metric.direction == "nearest"
    assert metric.bounds[0] < metric.bounds[1]
    assert metric.revision >= 1
    assert metric.scale > 0
    assert metric.min_images >= 1
    assert set(metric.needs) <= set(WORDS), "say what it needs in the words of base.Metric"
    assert metric.needs
    assert set(metric.scopes) <= {"all", "group", "class"}
    assert metric.scopes
    assert metric.settings() == metric.settings_of(EvaluateConfig()), "its defaults are those of the configuration"
    assert not metric.settings.described().keys() & Protocol.model_fields.keys(), "no setting takes the name of another field"
    assert (metric.compute is None) == (metric.is_downstream or metric.against_training is not None)
    assert (metric.against_training is not None) == ("held-out images" in metric.needs)


@pytest.mark.parametrize(("name", "num_classes"), [
    (name, classes) for name in COMPUTED for classes in ((2,) if METRICS[name].on_request else (2, 3, 25))])
def test_values_lie_within_the_bounds_in_every_scope(name, num_classes, make_dataset):
    each = max(8, METRICS[name].min_per_class)
    counts = [each] * num_classes
    dataset = make_dataset(tuple(range(2 + num_classes, 2, -1)))
    sides = FeatureSets(side(counts, 0, shift=0.2), side([each + 1] * num_classes, 1), side(counts, 2))
    metric, rows = METRICS[name], rows_of([name], sides, dataset)
    kinds = {"all": 1, "group": 6, "class": num_classes}
    assert len(rows) == sum(kinds[kind] for kind in metric.scopes)
    assert any(math.isfinite(row.get("value", math.nan)) for row in rows)
    for row in rows:
        if row["note"] == NO_CLASSES or row["note"].startswith("not available"):
            assert "value" not in row
            continue
        for column in ("value", "floor_half", "floor_test"):
            value = row[column]
            assert math.isnan(value) or metric.bounds[0] - 1e-9 <= value <= metric.bounds[1] + 1e-9
        assert math.isfinite(row["value"])
        assert (row["n_real"] is None) == ("reference" not in metric.needs)
        assert row["n_generated"] > 0


@pytest.mark.parametrize("name", COMPUTED)
def test_a_class_of_one_image_has_a_value_or_a_reason(name, tiny_dataset):
    rows = rows_of([name], FeatureSets(side([9, 9, 1], 0), side([9, 9, 1], 1), side([9, 9, 1], 2)), tiny_dataset)
    for row in rows:
        assert math.isfinite(row.get("value", math.nan)) != row["note"].startswith(("not available", NO_CLASSES)), row


@pytest.mark.parametrize("name", COMPUTED)
def test_real_images_in_the_place_of_generated_ones_score_no_worse_than_shifted_ones(name, tiny_dataset):
    metric = METRICS[name]
    real = side([60] * 3, 1)
    good, bad = (rows_of([name], FeatureSets(generated, real, side([60] * 3, 2)), tiny_dataset)[0]["value"]
                 for generated in (side([60] * 3, 0), side([60] * 3, 0, shift=4.0)))
    if "features" in metric.needs:
        assert good < bad if metric.direction == "lower" else good > bad
    else:
        assert good == bad


class TestUnseen:
    """Metrics that meet the training images and the held-out ones."""

    names = tuple(name for name in METRICS if METRICS[name].against_training is not None)

    def sides(self, generated, held_out=(40, 40, 40)):
        train = side([20, 9, 4], 7)
        return FeatureSets(generated(train), side([40] * 3, 1), side(held_out, 2), train)

    def test_a_copying_generator_is_exposed_and_an_honest_one_is_not(self, tiny_dataset):
        copies = rows_of(self.names, self.sides(lambda train: train), tiny_dataset)
        assert {row["value"] for row in copies if "value" in row} == {1.0}
        fresh = rows_of(self.names, self.sides(lambda train: side([60] * 3, 5)), tiny_dataset)
        honest = {row["metric"]: row["value"] for row in fresh if row["scope"] == "all"}
        assert abs(honest["memorised"]) < 0.25
        assert honest["near_copies"] < 0.2

    def test_they_have_every_scope_and_count_the_training_images(self, tiny_dataset):
        rows = rows_of(self.names, self.sides(lambda train: side([5] * 3, 5)), tiny_dataset)
        assert len(rows) == 2 * (1 + 6 + 3)
        few = next(row for row in rows if row["scope"] == "few@thirds")
        assert (few["n_real"], few["n_generated"]) == (4, 5)

    def test_without_training_or_held_out_images_there_is_a_reason(self, tiny_dataset):
        whole = self.sides(lambda train: side([5] * 3, 5))
        for sides in (FeatureSets(whole.generated, whole.real, whole.held_out), replace(whole, held_out=side([0] * 3, 2))):
            notes = {row["note"] for row in rows_of(self.names, sides, tiny_dataset)}
            assert notes == {NO_TRAINING, NO_CLASSES}

    def test_a_class_with_few_held_out_images_says_how_many_it_needs(self, tiny_dataset):
        rows = rows_of(["memorised"], self.sides(lambda train: side([5] * 3, 5), held_out=[40, 19, 40]), tiny_dataset)
        notes = {(row["scope"], row["label"]): row.get("note", "") for row in rows}
        assert notes["class", 1] == notes["all", None] == "not available: needs n >= 20 held-out images of each class, has 19"
        assert notes["class", 0] == ""


class TestSpread:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["fid", "precision", "diversity", "label_accuracy"])
    def test_the_uncertainty_is_how_far_fresh_samples_move_the_score(self, name, tiny_dataset):
        """Against the deviation over 40 independent draws, within what 4 halvings can tell."""
        real = side([200] * 3, 1)
        values, spreads = [], []
        for seed in range(40):
            row = rows_of([name], FeatureSets(side([60] * 3, 100 + seed, shift=0.3), real, side([0] * 3, 2)), tiny_dataset)[0]
            values.append(row["value"])
            spreads.append(row["uncertainty"])
        assert np.sqrt(np.mean(np.square(spreads))) == pytest.approx(np.std(values, ddof=1), rel=0.5)

    def test_a_metric_with_an_error_of_its_own_keeps_it(self, tiny_dataset):
        sides = FeatureSets(side([60] * 3, 0), side([60] * 3, 1), side([60] * 3, 2))
        row = next(row for row in rows_of(["kid"], sides, tiny_dataset) if row["scope"] == "class")
        inside = [part.take(part.labels == row["label"]) for part in (sides.generated, sides.real)]
        assert row["uncertainty"] == unbiased_mmd2(inside[0].features, inside[1].features)[1]

    def test_too_few_images_for_halves_leave_it_empty(self, tiny_dataset):
        row = rows_of(["recall"], FeatureSets(side([3] * 3, 0), side([9] * 3, 1), side([9] * 3, 2)), tiny_dataset)[0]
        assert math.isfinite(row["value"])
        assert math.isnan(row["uncertainty"])


def test_a_held_out_class_of_one_image_leaves_the_floor_of_diversity_empty(tiny_dataset):
    sides = FeatureSets(side([9] * 3, 0), side([9] * 3, 1), side([9, 9, 1], 2))
    rows = {row["scope"]: row for row in rows_of(["diversity"], sides, tiny_dataset) if row["scope"] != "class"}
    assert math.isfinite(rows["all"]["value"])
    assert math.isnan(rows["all"]["floor_test"])


def test_coverage_says_what_equal_distributions_would_have(tiny_dataset):
    row = rows_of(["coverage"], FeatureSets(side([30] * 3, 0), side([40] * 3, 1), side([40] * 3, 2)), tiny_dataset)[0]
    chance = 1 - np.prod([(89 - i) / (179 - i) for i in range(5)])
    assert row["note"] == f"expected value of a perfect generator ({chance:.3f})"


def test_a_class_has_a_fid_only_above_its_floor(tiny_dataset):
    real = side([60] * 3, 1)
    held_out = side([40] * 3, 2)
    honest, far = ([row["value"] for row in rows_of(["fid_excess"], FeatureSets(generated, real, held_out), tiny_dataset)]
                   for generated in (side([40] * 3, 0), side([40] * 3, 0, shift=3.0)))
    assert len(honest) == 3
    assert abs(np.mean(honest)) < 3 < np.mean(far)
    assert "class" not in METRICS["fid"].scopes


def test_an_empty_group_and_missing_logits_have_their_reasons(tiny_dataset):
    sides = FeatureSets(*(side([20] * 3, seed, logits=False) for seed in range(3)))
    rows = rows_of(["fid", "is"], sides, tiny_dataset)
    assert {row["note"] for row in rows if row["scope"] == "many@count"} == {NO_CLASSES}
    scores = [row for row in rows if row["metric"] == "is" and row["scope"] != "many@count"]
    assert scores
    assert all(row["note"] == NO_LOGITS and "value" not in row for row in scores)


def test_too_few_images_say_how_many_are_needed(tiny_dataset):
    rows = rows_of(["recall"], FeatureSets(side([4] * 3, 0), side([9] * 3, 1), side([9] * 3, 2)), tiny_dataset)
    notes = {row["scope"]: row["note"] for row in rows}
    assert notes["class"] == "not available: needs n >= 6 images, has 4 generated"
    assert notes["all"] == ""


def test_scopes_hold_their_own_classes_only(tiny_dataset):
    generated, real, held_out = (side([30, 20, 25], seed) for seed in range(3))
    rows = rows_of(["fid", "recall"], FeatureSets(generated, real, held_out), tiny_dataset)
    (few,) = (row for row in rows if row["metric"] == "fid" and row["scope"] == "few@thirds")
    inside = [np.isin(part.labels, tiny_dataset.groups["few@thirds"]) for part in (generated, real)]
    assert few["value"] == frechet_distance(generated.features[inside[0]], real.features[inside[1]])
    (middle,) = (row for row in rows if row["scope"] == "class" and row["label"] == 1)
    expected = neighbour_scores(generated.features[generated.labels == 1], real.features[real.labels == 1], 5).recall
    assert middle["value"] == expected
    assert middle["class_name"] == "class 1"


def test_fid_of_few_images_says_so_and_gives_its_value_at_the_floors_size(tiny_dataset):
    same = FeatureSets(side([30] * 3, 0), side([40] * 3, 1), side([30] * 3, 2))
    row = rows_of(["fid"], same, tiny_dataset)[0]
    assert row["note"].startswith("mostly small-sample bias: fewer than 2,048 images (")
    assert row["note"].endswith("with the 60 of the baseline score)")
    assert row["floor_half"] > 0.5 * row["value"]
    far = rows_of(["fid"], FeatureSets(side([30] * 3, 0, shift=9.0), same.real, same.held_out), tiny_dataset)[0]
    assert far["note"].startswith("partly small-sample bias: fewer than 2,048 images")


def test_the_floors_are_the_score_of_real_images(tiny_dataset):
    sides = FeatureSets(side([30] * 3, 0, shift=3.0), side([40] * 3, 1), side([30] * 3, 2))
    row = rows_of(["fid"], sides, tiny_dataset)[0]
    assert row["floor_test"] == frechet_distance(sides.held_out.features, sides.real.features)
    assert row["floor_half"] < 0.2 * row["value"]
    assert 0 < row["half_sd"] < row["floor_half"], "three halvings of the same images"
    accuracy = rows_of(["label_accuracy"], sides, tiny_dataset)[0]
    assert math.isnan(accuracy["floor_half"])
    assert "half_sd" not in accuracy
    assert accuracy["floor_test"] > 0.9


def test_listings_describe_everything_that_is_registered():
    assert all((METRICS[name].title, METRICS[name].summary, METRICS[name].source, METRICS[name].enough.why) for name in METRICS)
    assert all((EXTRACTORS[name].title, EXTRACTORS[name].summary, EXTRACTORS[name].source) for name in EXTRACTORS)


@pytest.fixture
def torch_threads():
    """Sets torch's number of threads, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.slow
def test_the_number_of_threads_changes_no_row(make_dataset, torch_threads):
    sides = FeatureSets(side([30] * 6, 0, shift=0.2, width=40), side([31] * 6, 1, width=40), side([30] * 6, 2, width=40),
                  side([9] * 6, 3, width=40))
    names = [name for name in METRICS if METRICS[name].compute or METRICS[name].against_training]
    found = []
    for threads in (1, 2, 7):
        torch_threads(threads)
        found.append(rows_of(names, sides, make_dataset((9, 8, 7, 6, 5, 4))))
    assert any(row["scope"] == "class" for row in found[0])
    assert [list(map(repr, row.values())) for row in found[1]] == [list(map(repr, row.values())) for row in found[0]]
    assert [list(map(repr, row.values())) for row in found[2]] == [list(map(repr, row.values())) for row in found[0]]


def test_an_interruption_within_one_class_ends_all(make_dataset, torch_threads):
    torch_threads(2)
    begun = []

    def stopped(generated, real, settings, kind):
        begun.append(kind)
        raise KeyboardInterrupt

    metric = replace(METRICS["kid"], compute=stopped, baselines=(), scopes=("class",))
    sides = FeatureSets(*(side([8] * 50, seed) for seed in range(3)))
    with pytest.raises(KeyboardInterrupt), SILENT.stage("metrics", 1, "scopes") as stage:
        measure([Configured(metric, metric.settings())], sides, scopes_of(make_dataset(tuple(range(52, 2, -1)))), stage)
    assert 1 <= len(begun) < 50
