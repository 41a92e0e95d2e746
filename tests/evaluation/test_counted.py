"""Which generated and real images enter: a wanted number, labels at random, halves, the long-tailed reference."""

import numpy as np
import pytest

from ltgen_bench.config.schema import EvaluateConfig, SampleConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.evaluation.evaluator import Origin, evaluate, select_generated, with_available_reference
from ltgen_bench.evaluation.subsets import at_most, canonical, shares
from ltgen_bench.runtime.context import RunContext

pytestmark = pytest.mark.usefixtures("quick_recipes")
UNIFORM = SampleConfig(labels="uniform")


def counts_of(images, num_classes=3):
    return np.bincount(images.labels, minlength=num_classes).tolist()


def configured(**values):
    return EvaluateConfig(**{"metrics": ("fid",), "downstream": False, **values})


def every(scores, metric):
    table = scores.table
    return table[(table["metric"] == metric) & (table["scope"] == "all")].iloc[0]


@pytest.mark.parametrize(("total", "expected"), [(12, [4, 4, 4]), (13, [5, 4, 4]), (14, [5, 5, 4]), (2, [1, 1, 0])])
def test_shares_are_equal_but_for_what_is_left_over(total, expected):
    assert shares(total, 3) == expected


def test_a_quota_takes_no_image_twice_and_smaller_classes_whole(make_images):
    images = make_images((20, 9, 4))
    cut = at_most(images, [6, 6, 6], np.random.default_rng(0))
    assert counts_of(cut) == [6, 6, 4]
    assert len({image.tobytes() for image in cut.images}) == 16
    kept = {image.tobytes() for image in images.images}
    assert all(image.tobytes() in kept for image in cut.images)


class TestImages:
    @pytest.mark.parametrize(("asked", "counts", "fields"), [
        (30, [10, 10, 10], {"images_per_class": 10, "labels": "exactly balanced"}),
        (31, [11, 10, 10], {"images_per_class": None, "images": 31, "labels": "equal shares"}),
        (99, [12, 12, 12], {"images_per_class": 12, "labels": "exactly balanced"}),
        (None, [12, 12, 12], {"images_per_class": 12, "labels": "exactly balanced"}),
        ("train", [12, 9, 4], {"images_per_class": None, "labels": "unbalanced, 4 to 12 images a class"})])
    def test_a_wanted_number_is_drawn_in_equal_shares(self, make_images, tiny_dataset, asked, counts, fields):
        """The training set has 20, 9 and 4 images; of 12 generated ones of class 0 all count."""
        samples = canonical(make_images((12, 12, 12)))
        generated, labels = select_generated(samples, tiny_dataset, EvaluateConfig(images=asked), False)
        assert counts_of(generated) == counts
        assert labels == fields

    def test_as_many_as_the_training_set_has(self, make_images, tiny_dataset):
        samples = canonical(make_images((25, 25, 25)))
        generated, labels = select_generated(samples, tiny_dataset, EvaluateConfig(images="train"), False)
        assert counts_of(generated) == tiny_dataset.class_counts == [20, 9, 4]
        assert labels == {"images_per_class": None, "labels": "counts of the training set"}

    def test_the_order_of_the_images_changes_nothing(self, make_images, tiny_dataset):
        images = make_images((12, 12, 12))
        shuffled = images.take(np.random.default_rng(1).permutation(36))
        one, other = (select_generated(canonical(part), tiny_dataset, EvaluateConfig(images=20), False)[0]
                      for part in (images, shuffled))
        assert one.content_hash() == other.content_hash()

    def test_more_images_cut_to_a_number_are_the_same_measurement_as_that_number(self, make_images, tiny_dataset, shared_cache):
        cut = evaluate(make_images((12, 12, 12), seed=7), tiny_dataset, configured(images=30), RunContext(cache=shared_cache))
        whole = evaluate(make_images((10, 10, 10), seed=8), tiny_dataset, configured(), RunContext(cache=shared_cache))
        assert set(cut.protocols) == set(whole.protocols)
        assert every(cut, "fid")["n_generated"] == 30

    def test_without_a_preset_too_few_images_are_said_aloud(self, make_images, tiny_dataset, shared_cache, told):
        samples = make_images((12, 12, 12), seed=7)
        evaluate(samples, tiny_dataset, configured(images=99), RunContext(cache=shared_cache, progress=told))
        assert any("36 generated images count" in message for message in told.messages)
        told.messages.clear()
        evaluate(samples, tiny_dataset, configured(images=36), RunContext(cache=shared_cache, progress=told))
        assert not told.messages


class TestLabelsAtRandom:
    def test_the_id_does_not_depend_on_the_random_counts(self, make_images, tiny_dataset, shared_cache):
        one, other, counted_out = (
            evaluate(make_images(counts, seed=7), tiny_dataset, configured(), RunContext(cache=shared_cache), Origin(sampling))
            for counts, sampling in (((9, 14, 13), UNIFORM), ((15, 11, 10), UNIFORM), ((9, 14, 13), None)))
        assert set(one.protocols) == set(other.protocols)
        assert not set(one.protocols) & set(counted_out.protocols)
        described = one.protocols[every(one, "fid")["protocol"]]
        assert (described["labels"], described["images"]) == ("i.i.d. uniform", 36)
        assert "images_per_class" not in described
        assert "36 images in all, i.i.d. uniform" in words_of(described)

    def test_a_smaller_number_is_drawn_at_random_and_stays_so(self, make_images, tiny_dataset):
        images = canonical(make_images((40, 50, 60)))
        generated, labels = select_generated(images, tiny_dataset, EvaluateConfig(images=60), True)
        assert len(generated) == 60
        assert len(set(counts_of(generated))) > 1, "not in equal shares"
        assert labels == {"images_per_class": None, "images": 60, "labels": "i.i.d. uniform"}

    def test_a_class_that_chance_left_out_is_not_available_and_the_rest_is(self, make_images, tiny_dataset, shared_cache):
        samples = make_images((12, 0, 12), seed=7)
        with pytest.raises(UserError, match="no image of class class 1"):
            evaluate(samples, tiny_dataset, configured(), RunContext(cache=shared_cache))
        scores = evaluate(samples, tiny_dataset, configured(metrics=("fid", "recall")), RunContext(cache=shared_cache),
                          Origin(UNIFORM))
        row = scores.table[(scores.table["metric"] == "recall") & (scores.table["label"] == 1)].iloc[0]
        assert np.isnan(row["value"])
        assert row["note"] == "not available: needs n >= 6 images, has 0 generated"
        assert every(scores, "fid")["value"] >= 0

    def test_no_image_at_all_is_refused(self, make_images, tiny_dataset, shared_cache):
        nothing = make_images((1, 1, 1)).take(np.zeros(0, np.int64))
        with pytest.raises(UserError, match="no image of class"):
            evaluate(nothing, tiny_dataset, configured(), RunContext(cache=shared_cache), Origin(UNIFORM))


class TestReference:
    def test_the_long_tailed_training_set_can_be_the_reference(self, make_images, tiny_dataset, shared_cache):
        scores = evaluate(make_images((12, 12, 12), seed=7), tiny_dataset, configured(reference="longtail"),
                          RunContext(cache=shared_cache))
        row = every(scores, "fid")
        assert row["n_real"] == len(tiny_dataset.train) == 33
        assert scores.protocols[row["protocol"]]["reference"] == "longtail"
        assert "against the long-tailed training set" in words_of(scores.protocols[row["protocol"]])
        assert np.isfinite(row["floor_test"])

    def test_its_own_images_score_perfectly_and_its_floor_has_its_shares(self, tiny_dataset, shared_cache):
        """Balanced held-out images would be far from a long tail by their shares alone."""
        config = configured(metrics=("fid", "recall"), reference="longtail", images="train")
        scores = evaluate(tiny_dataset.train, tiny_dataset, config, RunContext(cache=shared_cache))
        assert every(scores, "fid")["value"] == pytest.approx(0, abs=1e-6)
        assert every(scores, "recall")["value"] == 1
        balanced = evaluate(tiny_dataset.test, tiny_dataset, configured(reference="longtail"), RunContext(cache=shared_cache))
        assert every(scores, "fid")["floor_test"] < every(balanced, "fid")["value"]

    def test_it_does_not_give_way_where_the_training_images_are_not_balanced(self, make_images):
        from ltgen_bench.data.dataset import LongTailDataset

        tail = make_images((40, 20, 5))
        natural = LongTailDataset("own", tail, tail, make_images((9, 9, 9), seed=3), ("a", "b", "c"), False)
        assert with_available_reference(EvaluateConfig(), natural).reference == "test"
        assert with_available_reference(EvaluateConfig(reference="longtail"), natural).reference == "longtail"

    def test_the_edge_of_the_configuration_reaches_the_metric(self, tiny_dataset, shared_cache):
        """Of copies every k-th neighbour lies on an edge, so leaving it out lowers the density from 6 / 5 to 1."""
        found = {edge: evaluate(tiny_dataset.reference, tiny_dataset, configured(metrics=("density",), edge=edge),
                                RunContext(cache=shared_cache)) for edge in ("<=", "<")}
        assert every(found["<="], "density")["value"] == pytest.approx(6 / 5, abs=0.02)
        assert every(found["<"], "density")["value"] == pytest.approx(1, abs=0.02)
        assert not set(found["<="].protocols) & set(found["<"].protocols)


class TestHalves:
    def scores(self, tiny_dataset, make_images, cache, **config):
        return evaluate(make_images((12, 12, 12), seed=7), tiny_dataset, configured(**config), RunContext(cache=cache))

    def test_a_half_is_another_measurement_of_half_the_real_images(self, tiny_dataset, make_images, shared_cache):
        whole, first, second = (self.scores(tiny_dataset, make_images, shared_cache, half=half)
                                for half in (None, "selection", "report"))
        assert [every(part, "fid")["n_real"] for part in (whole, first, second)] == [60, 30, 30]
        ids = [every(part, "fid")["protocol"] for part in (whole, first, second)]
        assert len(set(ids)) == 3
        described = [part.protocols[one] for part, one in zip((whole, first, second), ids, strict=True)]
        assert len({one["data"] for one in described}) == 3
        assert [one.get("reference_half") for one in described] == [None, "selection", "report"]

    def test_the_halves_share_no_image(self, tiny_dataset):
        first, second = tiny_dataset.half("selection"), tiny_dataset.half("report")
        for part in ("reference", "test"):
            images = [{image.tobytes() for image in getattr(half, part).images} for half in (first, second)]
            assert not images[0] & images[1]
        assert first.train is tiny_dataset.train

    def test_the_extractor_is_that_of_the_whole_reference(self, tiny_dataset, make_images, shared_cache):
        whole, half = (self.scores(tiny_dataset, make_images, shared_cache, half=half) for half in (None, "report"))
        assert whole.extractor_weights == half.extractor_weights

    def test_the_long_tailed_training_set_has_no_halves(self, tiny_dataset, make_images, shared_cache):
        with pytest.raises(UserError, match="long-tailed training set"):
            self.scores(tiny_dataset, make_images, shared_cache, half="report", reference="longtail")


def words_of(described):
    from ltgen_bench.evaluation.protocol import Protocol

    return Protocol.model_validate(described).words
