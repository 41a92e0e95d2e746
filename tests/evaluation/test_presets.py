"""The papers' rules: what each asks for, what stays the preset's own result, and what is said when it does not."""

from dataclasses import replace

import pytest

from ltgen_bench.config.schema import EvaluateConfig, SampleConfig
from ltgen_bench.core.errors import UserError
from ltgen_bench.data.dataset import LongTailDataset
from ltgen_bench.evaluation.evaluator import Origin, evaluate, extractor_protocol
from ltgen_bench.evaluation.extractors import EXTRACTORS
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.evaluation.measure import Configured
from ltgen_bench.evaluation.metrics import METRICS
from ltgen_bench.evaluation.presets import PRESETS, departures, resolved, sampling_departures
from ltgen_bench.evaluation.protocol import Protocol, label_fields
from ltgen_bench.evaluation.scores import Scores
from ltgen_bench.runtime.context import RunContext

PUBLISHED_INCEPTION = {"inception": "6726825d" + 56 * "0"}
# Of the presets' own measurements on CIFAR-10-LT-like data of the fingerprint below: as the published ids of METRICS, these
# are what a number is quoted by.
LITERALS = {
    "standard": {"fid train": "647379a5", "is train": "c4a8a7ad", "kid train": "e5584e60", "precision train": "38f0e911",
                 "recall train": "13d5030f", "density train": "5d0a1cc0", "coverage train": "df07b57c"},
    "cbdm-paper": {"fid train": "e4bbb89a", "is train": "12e28135", "precision train": "6ef60ad9", "recall train": "6bebe33b"},
    "oc-paper": {"fid train": "e4bbb89a", "is train": "12e28135"},
    "cm-paper": {"fid train": "647379a5", "kid train": "e5584e60"},
    "coral-paper": {"fid train": "e4bbb89a", "is train": "12e28135"},
    "ccua-paper": {"fid train": "1606541f", "kid train": "42b4ccc2", "precision train": "bbbaf242", "recall train": "60721efa",
                   "fid test": "a429daf7", "kid test": "d9576004"},
    "dlpm-paper": {"fid longtail": "c15b59a1", "precision longtail": "c4c7ff70", "recall longtail": "dd1573a4",
                   "density longtail": "10069be7", "coverage longtail": "8e875e46"}}
COUNTS_OF_TRAIN = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


class Inception:
    """As the real one describes itself."""

    name, resize, weights_id, logits_id, sha256 = "inception", "to 299 pixels", "0123456789abcdef", "fedcba9876543210", ""
    precision, feature_dim, has_logits, class_logits, batch_size = "float32", 2048, True, False, 64

    def __call__(self, images):
        raise AssertionError("nothing is measured here")


def wanted_labels(name, rule):
    """What the protocol says of exactly the images that a preset asks for, in 10 classes."""
    if rule.images == "train":
        return label_fields(COUNTS_OF_TRAIN, asked="train", train_counts=COUNTS_OF_TRAIN)
    return label_fields([rule.images // 10] * 10, uniform=PRESETS[name].labels == "uniform", asked=rule.images)


def ids(name):
    found = {}
    for rule in resolved(EvaluateConfig(preset=name)):
        common = {**wanted_labels(name, rule), "data": "0123456789abcdef", "groups": ("thirds", "count"),
                  "sample_dtype": "uint8", "selection": "recipe"}
        for metric in rule.metrics:
            if rule.extractors == ("inception",):
                configured = Configured(METRICS[metric], METRICS[metric].settings_of(rule))
                protocol = extractor_protocol(configured, Inception(), rule, common)
                found[f"{metric} {rule.reference}"] = protocol.id
    return found


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_ids_of_a_presets_measurements_are_these(name):
    """A metric that was lacking when this was written adds ids, and changes none."""
    assert LITERALS[name].items() <= ids(name).items()


def test_the_same_model_has_other_ids_under_other_papers_rules():
    """But for OC and CORAL, whose FID and IS are those of CBDM's code, and CM and `standard`."""
    fids = {name: ids(name)["fid longtail" if name == "dlpm-paper" else "fid train"] for name in PRESETS}
    assert fids["cbdm-paper"] == fids["oc-paper"] == fids["coral-paper"]
    assert fids["standard"] == fids["cm-paper"]
    assert len(set(fids.values())) == 4
    assert ids("cbdm-paper")["recall train"] != ids("standard")["recall train"], "the edge is another"


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_says_where_it_comes_from_and_what_it_expects(name):
    preset = PRESETS[name]
    assert preset.name == name
    assert "\n" not in preset.summary
    words = dict(preset.lines())
    assert {"preset", "summary", "source", "sampling"} <= words.keys()
    assert name == "standard" or "read in" in words["source"], "the evidence stands beside the source"
    assert all(text for _, text in preset.lines())
    assert all(rule.metrics and rule.images for rule in preset.settings)


@pytest.mark.parametrize("name", list(PRESETS))
def test_measurements_are_fields_of_a_protocol_with_the_rules_values(name):
    for key, fields in PRESETS[name].measurements().items():
        assert set(fields) <= {*Protocol.model_fields, *METRICS[fields["metric"]].settings.described()}
        assert key.startswith(f"{fields['metric']}:{fields['extractor']}")
    if name == "ccua-paper":
        assert PRESETS[name].measurements()["fid:inception@test"]["reference"] == "test"
        assert PRESETS[name].measurements()["recall:inception"]["k"] == 3
    if name == "cbdm-paper":
        assert PRESETS[name].measurements()["recall:inception"] | {"revision": 1} == {
            "metric": "recall", "revision": 1, "k": 5, "edge": "<", "seed": 2020, "counts": "equal, drawn by class",
            "reference": "train", "images": 50_000, "labels": "i.i.d. uniform", "sample_dtype": "uint8", "extractor": "inception"}


class TestRules:
    def test_without_a_preset_a_configuration_is_its_own_rule(self):
        config = EvaluateConfig(k=3)
        assert resolved(config) == [config]

    def test_a_preset_brings_its_values_and_stated_ones_win(self):
        (rule,) = resolved(EvaluateConfig(preset="cbdm-paper"))
        assert (rule.extractors, rule.k, rule.edge, rule.images, rule.preset) == (("inception",), 5, "<", 50_000, "cbdm-paper")
        (rule,) = resolved(EvaluateConfig(preset="cbdm-paper", k=3, extractors=("classifier",), metrics=("recall", "density")))
        assert (rule.k, rule.edge, rule.extractors, rule.metrics) == (3, "<", ("classifier",), ("recall", "density"))

    @pytest.mark.parametrize("name", list(PRESETS))
    def test_a_rule_given_again_is_itself_also_from_a_record(self, name):
        for rule in resolved(EvaluateConfig(preset=name)):
            assert resolved(rule) == [rule]
            stored = EvaluateConfig.model_validate_json(rule.model_dump_json())
            assert resolved(stored) == [rule]

    def test_metrics_stay_with_their_own_rule(self):
        both = resolved(EvaluateConfig(preset="ccua-paper", metrics=("fid", "recall")))
        assert [(rule.reference, rule.metrics) for rule in both] == [("train", ("fid", "recall")), ("test", ("fid",))]
        (one,) = resolved(EvaluateConfig(preset="ccua-paper", metrics=("recall",)))
        assert (one.reference, one.k) == ("train", 3)

    @pytest.mark.parametrize(("config", "sentence"), [
        ({"preset": "cbdm"}, r"'cbdm'. Did you mean 'cbdm-paper'"),
        ({"preset": "standard", "metrics": ("fidd",)}, "unknown metric 'fidd'"),
        ({"extractors": ("inceptoin",)}, "unknown extractor 'inceptoin'")])
    def test_what_is_not_known_is_refused(self, config, sentence):
        with pytest.raises(UserError, match=sentence):
            resolved(EvaluateConfig(**config))

    def test_nothing_to_measure_is_refused(self):
        with pytest.raises(ValueError, match="at least 1 item"):
            EvaluateConfig(metrics=())


class TestDepartures:
    def sentences(self, name, rule=None, *, labels=None, images=None, weights=PUBLISHED_INCEPTION, **config):
        asked = resolved(EvaluateConfig(preset=name, **config))[rule or 0]
        wanted = labels or wanted_labels(name, PRESETS[name].settings[rule or 0])
        total = images or (sum(COUNTS_OF_TRAIN) if asked.images == "train" else asked.images)
        return departures(asked, wanted, total, weights)

    @pytest.mark.parametrize("name", list(PRESETS))
    def test_what_is_asked_for_departs_nowhere(self, name):
        for place, _ in enumerate(PRESETS[name].settings):
            assert self.sentences(name, place) == []

    def test_fewer_images_are_not_that_protocol(self):
        assert self.sentences("cbdm-paper", images=1000) == ["1,000 images where cbdm-paper asks for 50,000"]
        assert self.sentences("cbdm-paper", images=60_000) == ["60,000 images where cbdm-paper asks for 50,000"]

    def test_another_label_policy_departs_and_equal_shares_are_balanced(self):
        balanced, shared = label_fields([500] * 10), label_fields([7, 7, 6], asked=20)
        assert self.sentences("cbdm-paper", labels=balanced) == [
            "labels exactly balanced where cbdm-paper asks for i.i.d. uniform"]
        assert self.sentences("standard", labels=shared) == []
        assert self.sentences("standard", labels=label_fields([3, 9, 9])) == [
            "labels unbalanced, 3 to 9 images a class where standard asks for exactly balanced"]
        assert self.sentences("ccua-paper", labels=label_fields([3, 9])) == [], "CCUA's labels are not stated"
        assert self.sentences("dlpm-paper", labels=balanced, images=5000) == [
            "5,000 images, exactly balanced, where dlpm-paper asks for as many of each class as the training set has"]

    @pytest.mark.parametrize(("config", "sentence"), [
        ({"reference": "test"}, "the held-out test set as the reference where standard asks for the balanced training set"),
        ({"k": 3}, "k 3 where standard asks for 5"),
        ({"edge": "<"}, "edge of a nearest-neighbour ball < where standard asks for <="),
        ({"half": "report"}, "the report half of the real images where standard takes all of them"),
        ({"reference_per_class": 20}, "20 real images a class where standard takes all of them"),
        ({"extractors": ("classifier",)}, "classifier features where standard asks for inception")])
    def test_a_rule_that_was_overridden_departs(self, config, sentence):
        assert self.sentences("standard", **config) == [sentence]

    def test_k_departs_only_where_neighbours_are_looked_at(self):
        assert self.sentences("standard", k=3, metrics=("fid",)) == []

    def test_weights_that_are_not_the_published_file_depart(self):
        assert self.sentences("standard", weights={"inception": "ab" * 32}) == [
            "inception weights abababab... where standard asks for the published file, 6726825d..."]
        assert PUBLISHED["inception"].sha256.startswith("6726825d")

    def test_without_a_preset_nothing_departs(self):
        assert departures(EvaluateConfig(), label_fields([1, 2]), 3, {}) == []


class TestSampling:
    def test_sampler_steps_omega_and_bits_are_the_entrys(self):
        drawn = SampleConfig(sampler="ddim", steps=50, omega=1.0, labels="uniform")
        assert sampling_departures(PRESETS["cbdm-paper"], drawn, "cbdm", "cifar100-lt") == [
            "sampler ddim 50 where cbdm-paper uses ddpm 1000", "omega 1 where cbdm-paper uses 1.6 for cbdm",
            "samples uint8 where cbdm-paper scores float32"]
        assert sampling_departures(PRESETS["cm-paper"], drawn.model_copy(update={"omega": 1.5}), "cbdm", "cifar10-lt") == []
        assert sampling_departures(PRESETS["standard"], drawn, "cbdm", "cifar10-lt") == []

    def test_an_omega_is_stated_for_a_method_on_a_data_set(self):
        cbdm, coral, oc = (PRESETS[f"{name}-paper"] for name in ("cbdm", "coral", "oc"))
        assert cbdm.omega_of("cbdm", "cifar100-lt") == 1.6
        assert cbdm.omega_of("cbdm", "cifar10-lt") is None
        assert coral.omega_of("cfg", "cifar10-lt-1000") == 1.0
        assert oc.omega_of("anything", "digits-lt") == 1.5

    def test_what_is_expected_can_be_drawn(self):
        wanted = PRESETS["cbdm-paper"].expected(SampleConfig(), "cbdm", "cifar100-lt", [500, 5] * 50)
        assert (wanted.sampler, wanted.steps, wanted.omega, wanted.labels, wanted.images_per_class) == (
            "ddpm", 1000, 1.6, "uniform", 500)
        assert PRESETS["standard"].expected(SampleConfig(), "cbdm", "x", [9] * 7).images_per_class == 7143, "rounded up"
        assert PRESETS["dlpm-paper"].expected(SampleConfig(), "cbdm", "x", COUNTS_OF_TRAIN).images_per_class == 5000


@pytest.fixture
def small_presets(monkeypatch, counting_extractor):
    """The presets with two images where they ask for 1,000, on features that are only counted."""
    counting_extractor.name, counting_extractor.sha256 = "inception", PUBLISHED_INCEPTION["inception"]
    kind = type("Kind", (), {"fetched": False, "build": staticmethod(lambda *args, **kwargs: counting_extractor)})
    monkeypatch.setitem(EXTRACTORS._entries, "inception", kind)
    for name in PRESETS:
        rules = tuple(rule if rule.images == "train" else rule.model_copy(update={"images": rule.images // 1000 * 2})
                      for rule in PRESETS[name].settings)
        monkeypatch.setitem(PRESETS._entries, name, replace(PRESETS[name], settings=rules))


class TestMeasured:
    @pytest.mark.parametrize("name", ["standard", "oc-paper", "cm-paper", "ccua-paper", "dlpm-paper"])
    def test_enough_images_are_cut_to_what_the_rule_asks_for(self, name, small_presets, make_images, tiny_dataset, tmp_path):
        """102 of each of 3 classes are more than the 100, 20 or 33 that any rule wants."""
        samples = make_images((102, 102, 102), seed=9)
        sampling = SampleConfig(labels=PRESETS[name].labels or "balanced")
        wanted = {"dlpm-paper": 33, "ccua-paper": 20}.get(name, 100)
        for rule in resolved(EvaluateConfig(preset=name)):
            scores = evaluate(samples, tiny_dataset, rule, RunContext(cache=tmp_path), Origin(sampling))
            assert scores.preset == name
            assert scores.departures == []
            every = scores.table[(scores.table["metric"] == "fid") & (scores.table["scope"] == "all")].iloc[0]
            assert every["n_generated"] == wanted
            described = scores.protocols[every["protocol"]]
            assert described["reference"] == rule.reference
            assert name == "ccua-paper" or described["labels"] == PRESETS[name].policy or described["labels"] == "equal shares"

    def test_fewer_are_all_used_and_marked(self, small_presets, make_images, tiny_dataset, tmp_path):
        (rule,) = resolved(EvaluateConfig(preset="standard"))
        scores = evaluate(make_images((12, 12, 12), seed=9), tiny_dataset, rule, RunContext(cache=tmp_path))
        assert scores.departures == ["36 images where standard asks for 100"]
        scores.save(tmp_path / "scores.csv")
        again = Scores.load(tmp_path / "scores.csv")
        assert (again.preset, again.departures) == ("standard", scores.departures)

    def test_a_reference_that_gives_way_departs(self, small_presets, make_images, tmp_path):
        tail = make_images((40, 20, 5))
        natural = LongTailDataset("own", tail, tail, make_images((9, 9, 9), seed=3), ("a", "b", "c"), False)
        (rule,) = resolved(EvaluateConfig(preset="standard"))
        scores = evaluate(make_images((40, 40, 40), seed=9), natural, rule, RunContext(cache=tmp_path))
        assert scores.departures == [
            "the held-out test set as the reference where standard asks for the balanced training set"]

    def test_a_measurement_that_two_rules_share_stands_there_once(self, small_presets, make_images, tiny_dataset, tmp_path):
        samples = make_images((10, 10, 10), seed=9)
        (rule,) = resolved(EvaluateConfig(preset="oc-paper"))
        one = evaluate(samples, tiny_dataset, rule, RunContext(cache=tmp_path))
        both = Scores.joined([one, one])
        assert len(both.table) == len(one.table)
        assert both.departures == one.departures


class TestSettingsOfMetrics:
    def test_they_change_the_protocol_of_their_metric_alone(self):
        (plain,), (stated,) = (resolved(EvaluateConfig(settings=settings)) for settings in (None, {"recall": {"k": 3}}))
        assert METRICS["recall"].settings_of(stated).k == 3
        assert METRICS["precision"].settings_of(stated) == METRICS["precision"].settings_of(plain)

    @pytest.mark.parametrize("config", [
        {"settings": {"kid": {"subsets": 100}}}, {"settings": {"kid": {}}}, {"settings": {}},
        {"k": 3, "settings": {"recall": {"k": 3}}}])
    def test_values_that_change_nothing_are_left_out(self, config):
        (found,) = resolved(EvaluateConfig(**config))
        assert found.settings is None

    def test_a_stated_value_wins_over_the_shared_one(self):
        (found,) = resolved(EvaluateConfig(k=3, settings={"recall": {"k": 5}}))
        assert found.settings == {"recall": {"k": 5}}
        assert METRICS["recall"].settings_of(found).k == 5

    @pytest.mark.parametrize(("settings", "words"), [
        ({"kidd": {"subsets": 5}}, "unknown metric 'kidd'. Did you mean 'kid'"),
        ({"kid": {"subset": 5}}, "evaluate.settings.kid.subset: unknown setting. Did you mean 'subsets'"),
        ({"kid": {"subsets": 0}}, "evaluate.settings.kid.subsets: 0 is not a number above 0"),
        ({"kid": {"subsets": "many"}}, "evaluate.settings.kid.subsets: 'many' is not a whole number"),
        ({"fid": {"k": 5}}, "evaluate.settings.fid.k: unknown setting")])
    def test_a_mistake_is_a_sentence(self, settings, words):
        with pytest.raises(UserError, match=words):
            resolved(EvaluateConfig(settings=settings))

    def test_they_are_laid_over_a_preset_and_depart_from_it(self):
        (found,) = resolved(EvaluateConfig(preset="standard", settings={"kid": {"subsets": 50}}))
        assert resolved(found) == [found]
        assert departures(found, wanted_labels("standard", found), 50_000, PUBLISHED_INCEPTION) == [
            "KID subsets 50 where standard asks for 100"]
