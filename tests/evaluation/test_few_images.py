"""Few images and large ones: marks at values, baseline scores of another n, and classifiers that fit the data."""

from dataclasses import replace

import numpy as np
import pytest

from ltgen_bench.config.schema import EvaluateConfig
from ltgen_bench.core.progress import SILENT
from ltgen_bench.evaluation import baseline_scores
from ltgen_bench.evaluation.classifiers.classifier_recipe import ClassifierRecipe, extractor_recipe, fitted_to
from ltgen_bench.evaluation.classifiers.classifier_training import predict, reduced, seen_size, train_classifier
from ltgen_bench.evaluation.measure import Configured, FeatureSets, Scope, measure
from ltgen_bench.evaluation.metrics import METRICS, FeatureSet
from ltgen_bench.evaluation.metrics.fid import frechet_distance
from ltgen_bench.evaluation.metrics.metric import SEED

WIDTH = 6


def side(count, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(2), [count - count // 2, count // 2]).astype(np.int64)
    votes = rng.standard_normal((count, 2)).astype(np.float32)
    return FeatureSet((rng.standard_normal((count, WIDTH)) + shift).astype(np.float32), labels, votes)


def rows_of(names, generated, real, held_out, train=None):
    sides = FeatureSets(side(generated, 0), side(real, 1), side(held_out, 2), None if train is None else side(train, 3))
    with SILENT.stage("metrics", 1, "scopes") as stage:
        metrics = [Configured(METRICS[name], METRICS[name].settings_of(EvaluateConfig(settings={"kid": {"subsets": 5}})))
                   for name in names]
        rows = measure(metrics, sides, [Scope("all", "all", (0, 1))], stage)
    return {row["metric"]: row for row in rows}, sides


class TestFloors:
    def test_a_floor_of_another_n_brings_the_score_at_that_n(self, monkeypatch):
        monkeypatch.setattr(baseline_scores, "WIDE", 1)
        monkeypatch.setattr(baseline_scores, "BASELINE_IMAGES", 40)
        rows, sides = rows_of(["fid", "precision"], 400, 400, 60)
        row = rows["fid"]
        assert (row["half_n"], row["test_n"]) == (40, 60)
        assert row["floor_half"] > 2 * row["value"], "of few images"
        assert row["at_half"] == pytest.approx(row["floor_half"], rel=0.5)
        chosen = baseline_scores.stratified_take(sides.generated.labels, 60, np.random.default_rng(SEED))
        assert row["at_test"] == frechet_distance(sides.generated.features[chosen], sides.real.features)
        assert rows["precision"]["at_half"] >= 0

    def test_a_floor_of_the_same_n_and_a_metric_without_bias_need_no_second_score(self):
        rows, _ = rows_of(["fid", "kid", "diversity", "label_accuracy"], 100, 100, 100)
        assert np.isnan(rows["fid"]["at_test"])
        assert np.isfinite(rows["fid"]["at_half"]), "halves are smaller than the reference"
        assert all(np.isnan(rows[name].get("at_half", np.nan)) for name in ("kid", "diversity", "label_accuracy"))

    def test_generated_images_fewer_than_the_reference_have_a_floor_of_another_n_too(self):
        rows, _ = rows_of(["fid", "recall"], 30, 400, 30)
        assert rows["fid"]["half_n"] == 30
        assert np.isfinite(rows["fid"]["at_half"]), "30 against 400 is not 30 against 30"
        assert np.isnan(rows["recall"]["at_half"]), "which compares equally many anyway"

    def test_without_held_out_images_diversity_stands_beside_those_of_the_reference(self):
        rows, _ = rows_of(["diversity", "label_accuracy"], 60, 60, 0)
        assert np.isfinite(rows["diversity"]["floor_test"])
        assert "reference" in rows["diversity"]["note"]
        assert np.isnan(rows["label_accuracy"]["floor_test"])


class TestMarks:
    def test_ten_images_mark_every_score_and_enough_none(self):
        names = ["fid", "is", "kid", "precision", "recall", "density", "coverage", "diversity", "label_accuracy"]
        few, _ = rows_of(names, 10, 500, 500)
        assert {name: row["few"] for name, row in few.items() if name != "fid"} == dict.fromkeys(names[1:], "10 generated")
        assert few["fid"]["few"] == "", "more than the 6 features"
        enough, _ = rows_of(names, 500, 500, 500)
        assert {row["few"] for row in enough.values()} == {""}

    def test_the_real_side_counts_where_it_plays_a_part(self):
        rows, _ = rows_of(["fid", "precision", "is", "near_copies"], 500, 6, 40, train=20)
        assert {name: row["few"] for name, row in rows.items()} == {
            "fid": "6 real", "precision": "6 real", "is": "", "near_copies": "40 held-out"}

    @pytest.mark.parametrize(("metric", "classes", "width", "settings", "wanted"), [
        ("fid", 10, 2048, {}, 2049), ("fid_excess", 1, 64, {}, 65), ("is", 10, 64, {}, 1000),
        ("is", 3, 64, {"splits": 5}, 150), ("recall", 1, 64, {"k": 3}, 100),
        ("recall", 1, 64, {"k": 10}, 200), ("kid", 100, 64, {}, 50), ("prd_f8", 10, 64, {}, 2000),
        ("downstream_accuracy", 10, 64, {}, 100), ("diversity", 10, 64, {}, 200), ("vendi", 1, 64, {}, 100)])
    def test_how_many_are_enough(self, metric, classes, width, settings, wanted):
        assert METRICS[metric].wanted(classes, width, METRICS[metric].settings(**settings)) == wanted


class TestClassifiers:
    @pytest.mark.parametrize(("shape", "images", "steps"), [
        ((3, 32, 32), 79, 100), ((3, 64, 64), 1000, 782), ((3, 32, 32), 2560, 2000), ((3, 32, 32), 50_000, 2000),
        ((1, 8, 8), 1347, 600), ((1, 8, 8), 79, 100)])
    def test_few_images_take_fewer_steps_and_the_shipped_data_sets_theirs(self, shape, images, steps):
        assert fitted_to(extractor_recipe(shape, False), images).steps == steps

    def test_recipes_up_to_64_pixels_keep_their_digests(self):
        assert extractor_recipe((3, 64, 64), True) == ClassifierRecipe("resnet-32", steps=2000, flip=True, padding=4)
        assert extractor_recipe((3, 65, 64), True).revision == 2
        assert "reduced" in extractor_recipe((3, 65, 64), True).words

    @pytest.mark.parametrize("shape", [(3, 1, 1), (1, 1, 12), (3, 1, 40), (1, 17, 33), (3, 300, 150)])
    def test_images_of_any_size_train_it(self, shape):
        images = np.random.default_rng(0).integers(0, 256, (6, *shape)).astype(np.uint8)
        labels = np.arange(6) % 2
        recipe = replace(extractor_recipe(shape, False, 2), batch_size=4)
        with SILENT.stage("classifier", 2, "steps") as stage:
            net = train_classifier(images, labels, 2, recipe, device="cpu", stage=stage)
        assert np.isfinite(predict(net, images, device="cpu")[0]).all()

    def test_large_images_are_means_over_areas(self):
        image = np.zeros((1, 1, 128, 256), np.uint8)
        image[:, :, :2, :4] = 200
        small = reduced(image)
        assert small.shape == (1, 1, 32, 64)
        assert small[0, 0, 0, 0] == 100
        assert seen_size(1000, 3) == (64, 2)
        assert reduced(small) is small
