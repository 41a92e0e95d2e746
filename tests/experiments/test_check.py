"""The self-check finds nothing wrong here, and finds what is broken on purpose."""

import contextlib
import json
import os
import pickle
import shutil
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.shipped_files import make_features

import ltgen_bench.experiments.check as self_check
from ltgen_bench.cli import cli
from ltgen_bench.config.schema import DataConfig
from ltgen_bench.data import load_dataset
from ltgen_bench.evaluation.extractors import domain_classifier as domain
from ltgen_bench.evaluation.extractors.published_weights import PUBLISHED
from ltgen_bench.evaluation.features.reference_features import read_reference, reference_images
from ltgen_bench.evaluation.metrics import balls, fid
from ltgen_bench.experiments.check import evaluator_findings, run_checks, weights
from ltgen_bench.experiments.check import machine_findings as machine
from ltgen_bench.experiments.check.finding import Finding, Machine, at_least, at_most, near, note
from ltgen_bench.experiments.speed.evaluator_rates import untrained_inception
from ltgen_bench.runtime.context import RunContext


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DataConfig(name="digits-lt"))


@pytest.fixture(scope="module")
def here(digits, tmp_path_factory):
    return Machine(digits, RunContext(cache=tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def findings(here):
    return {finding.name: finding for finding in run_checks(here)}


def under(here, **context):
    """The same checks with another cache, or with weights files."""
    return replace(here, context=RunContext(**context))


def failed(found):
    return [finding.name for finding in found if finding.state == "FAILED"]


@pytest.mark.slow
def test_nothing_fails_here(findings):
    assert failed(findings.values()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    "versions", "required packages", "device", "convolutions in float32", "cache folder", "free disk there",
    "FID of known moments, more images than features", "FID of known moments, fewer images than features",
    "precision of identical sets", "coverage of identical sets", "digits classifier, stored features", "the number of threads",
    "weights of inception"])
def test_every_line_of_the_self_check_is_there(findings, name):
    assert name in findings
    assert findings[name].figure


def test_a_finding_is_not_ok_for_what_is_no_number():
    nan = float("nan")
    assert [at_most("a", nan, 1.0).state, at_least("a", nan, 1.0).state, near("a", nan, 1.0, 1.0).state] == 3 * ["FAILED"]
    assert [at_most("a", 1.0, 1.0).state, at_least("a", 1.0, 1.0).state, near("a", 1.1, 1.0, 0.2).state] == 3 * ["ok"]


def after(monkeypatch, where, name, change):
    """`where.name` gives what `change` makes of it."""
    plain = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *arguments, **more: change(plain(*arguments, **more)))


@pytest.mark.parametrize(("where", "name", "change", "check", "lines"), [
    (fid, "frechet_distance", lambda value: value * (1 + 1e-7), evaluator_findings.frechet_of_known_moments, 2),
    (fid, "frechet_distance", lambda value: value + 1e-3, evaluator_findings.frechet_of_known_moments, 2),
    (fid, "frechet_distance", lambda value: float("nan"), evaluator_findings.frechet_of_known_moments, 2),
    (fid, "_trace_root_by_eigenvalues", lambda value: value * (1 + 1e-6), evaluator_findings.frechet_of_known_moments, 1),
    (balls, "neighbour_scores", lambda s: s._replace(density=s.density / 2), evaluator_findings.neighbours_of_known_sets, 1),
    (balls, "neighbour_scores", lambda s: s._replace(recall=0.9), evaluator_findings.neighbours_of_known_sets, 1),
])
def test_a_broken_metric_is_reported(here, monkeypatch, where, name, change, check, lines):
    assert failed(check(here)) == []
    after(monkeypatch, where, name, change)
    assert len(failed(check(here))) == lines


def test_neighbours_that_leave_the_edge_out_are_reported(here, monkeypatch):
    plain = balls.neighbour_scores
    monkeypatch.setattr(balls, "neighbour_scores", lambda generated, real, k, edge, device: plain(generated, real, k, "<"))
    assert "density of identical sets" in failed(evaluator_findings.neighbours_of_known_sets(here))


class TestWhatMustNotMatter:
    @pytest.mark.slow
    def test_threads_that_matter_are_reported(self, here, monkeypatch):
        limits = []

        def limited(threads, user_api):
            limits.append(threads)
            return contextlib.nullcontext()

        monkeypatch.setattr(evaluator_findings, "threadpool_limits", limited)
        after(monkeypatch, fid, "frechet_distance", lambda value: value + (1e-6 if limits == [1, None] else 0))
        assert failed(evaluator_findings.number_of_threads(here)) == ["the number of threads"]


class TestShippedFeatures:
    def test_the_stored_features_are_the_classifiers(self, here, digits):
        reference, images = read_reference(), reference_images(digits)
        assert np.bincount(images.labels).tolist() == 10 * [2]
        assert reference.content == images.content_hash()
        assert reference.features["classifier"].shape == (20, 64)
        assert reference.features["inception"].shape == (4, 2048)

    def test_a_classifier_that_sees_something_else_is_reported(self, here, monkeypatch):
        after(monkeypatch, domain, "predict", lambda found: (found[0] * np.float32(1.001), found[1]))
        assert failed(evaluator_findings.shipped_features(here)) == ["digits classifier, stored features"]

    def test_a_classifier_that_knows_fewer_digits_is_reported(self, here, monkeypatch):
        after(monkeypatch, domain, "predict", lambda found: (found[0], np.roll(found[1], 1, axis=1)))
        wrong = ["digits classifier, stored logits", "digits classifier, accuracy"]
        assert failed(evaluator_findings.shipped_features(here)) == wrong

    def test_other_digits_are_told_from_other_features(self, here, digits):
        pixels = digits.test.images.copy()
        pixels ^= 1
        other = replace(here, dataset=replace(digits, test=replace(digits.test, images=pixels)))
        assert failed(evaluator_findings.shipped_features(other)) == ["digits of scikit-learn"]

    def test_other_weights_are_told_from_other_features(self, here, monkeypatch):
        reference = read_reference()
        monkeypatch.setattr(evaluator_findings, "read_reference", lambda: replace(reference, weights={"classifier": "shipped-0"}))
        assert failed(evaluator_findings.shipped_features(here)) == ["weights of the digits classifier"]

    def test_the_reference_can_be_made_again(self, tmp_path, whole):
        make_features(tmp_path / "again.safetensors", whole, slow_images=1)
        again, shipped = read_reference(tmp_path / "again.safetensors"), read_reference()
        assert again.content == shipped.content
        assert again.weights["classifier"] == shipped.weights["classifier"]
        assert shipped.difference("classifier", again.features["classifier"]) < 1e-5
        assert again.features["inception"].shape == (1, 2048)


class TestMachine:
    def test_a_package_of_another_version_is_named(self, here, monkeypatch):
        stated = ["numpy<1", "no-such-package>=2", "torch", "rich>=99; extra == 'dev'"]
        monkeypatch.setattr(machine, "requires", lambda name: stated)
        (found,) = (finding for finding in machine.installed(here) if finding.state == "FAILED")
        assert found.figure == f"numpy {np.__version__}, no-such-package missing"

    def test_a_device_that_rounds_is_reported(self, here, monkeypatch):
        plain = torch.nn.functional.conv2d

        def rounded(images, weights):
            if images.dtype == torch.float64:
                return plain(images, weights)
            return plain(images.bfloat16().float(), weights.bfloat16().float())

        monkeypatch.setattr(torch.nn.functional, "conv2d", rounded)
        assert failed(machine.arithmetic(here)) == ["convolutions in float32"]

    def test_little_memory_and_little_disk_are_reported(self, here, monkeypatch):
        monkeypatch.setattr(machine, "free_memory", lambda: 10**8)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**12, 10**12, 10**7))
        assert failed(machine.memory_and_disk(here)) == ["free memory", "free disk there"]

    def test_a_cache_folder_that_cannot_be_written_is_reported_with_the_cure(self, here, tmp_path):
        (tmp_path / "file").write_text("in the way")
        (found,) = (item for item in machine.memory_and_disk(under(here, cache=tmp_path / "file")) if item.state == "FAILED")
        assert found.name == "cache folder"
        assert "LTGEN_BENCH_CACHE" in found.bound

    def test_a_damaged_download_is_reported_and_a_missing_one_says_how_to_bring_it(self, here, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
        (tmp_path / "features").mkdir()
        (tmp_path / "features" / PUBLISHED["inception"].file_name).write_bytes(b"half")
        found = {finding.name: finding for finding in weights.weights_at_hand(under(here, cache=tmp_path))}
        assert found["weights of inception"].state == "FAILED"
        assert "damaged" in found["weights of inception"].figure
        assert found["weights of vgg16"].state == "note"
        for part in (PUBLISHED["vgg16"].url, "--extractor-weights vgg16=FILE"):
            assert part in found["weights of vgg16"].figure


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A weights file of the right names and shapes, and of nobody's network."""
    path = tmp_path_factory.mktemp("weights") / "whole.pth"
    torch.save(untrained_inception().state_dict(), path)
    return path


class TestGivenWeights:
    @pytest.fixture(autouse=True)
    def one_image(self, monkeypatch):
        monkeypatch.setattr(weights, "SLOW_IMAGES", 1)

    def test_weights_that_are_not_the_published_ones_fail_by_their_checksum(self, here, whole):
        found = {finding.name: finding for finding in weights.given_weights(under(here, extractor_weights={"inception": whole}))}
        assert failed(found.values()) == ["inception, checksum"]
        assert found["inception, stored features"].state == "note"

    def test_the_tensors_of_the_stored_features_do_in_any_file_and_are_held_against_them(self, here, whole, monkeypatch):
        from ltgen_bench.evaluation.extractors.inception import inception

        extractor = inception(here.dataset, RunContext(extractor_weights={"inception": whole}), None)
        seen = extractor(reference_images(here.dataset).images[:weights.SLOW_IMAGES]).features
        reference = read_reference()
        given = under(here, extractor_weights={"inception": whole})
        for features, expected in ((seen, []), (seen * np.float32(1.001), ["inception, stored features"])):
            known = replace(reference, weights={"inception": extractor.weights_id},
                            features={**reference.features, "inception": features})
            monkeypatch.setattr(weights, "read_reference", lambda known=known: known)
            assert failed(weights.given_weights(given)) == expected

    def test_a_hostile_file_is_refused_and_not_run(self, here, tmp_path):
        target, path = tmp_path / "executed", tmp_path / "hostile.pth"

        class Hostile:
            def __reduce__(self):
                return os.mkdir, (str(target),)

        path.write_bytes(pickle.dumps({"fc.bias": Hostile()}))
        (found,) = weights.given_weights(under(here, extractor_weights={"inception": path}))
        assert found.state == "FAILED"
        assert "was refused" in found.figure
        assert not target.exists()


def test_a_check_that_stops_with_an_error_has_failed_and_the_next_goes_on(here, monkeypatch):
    def broken_thing(machine):
        yield note("before", "it broke")
        raise RuntimeError("the wheel came off\nsomewhere")

    monkeypatch.setattr(self_check, "CHECKS", (broken_thing, evaluator_findings.neighbours_of_known_sets))
    found = list(run_checks(here))
    assert [finding.state for finding in found] == ["note", "FAILED", *4 * ["ok"]]
    assert found[1] == Finding("broken thing", "FAILED", "RuntimeError: the wheel came off", "no error")


class TestCommand:
    @pytest.fixture
    def call(self, monkeypatch):
        monkeypatch.setattr(self_check, "CHECKS", (evaluator_findings.neighbours_of_known_sets,))
        return lambda *arguments: CliRunner().invoke(cli, ["check", *arguments])

    def test_a_line_for_each_finding_and_exit_code_0(self, call):
        answer = call()
        assert answer.exit_code == 0, answer.output
        lines = answer.output.splitlines()
        assert lines[0].split() == ["ok", "precision", "of", "identical", "sets", "1", "(1", "within", "1e-09)"]
        assert lines[-1].startswith("all 4 checks ok, in ")

    def test_one_that_fails_is_seen_and_makes_exit_code_1(self, call, monkeypatch):
        after(monkeypatch, balls, "neighbour_scores", lambda s: s._replace(precision=1 - 1e-8))
        answer = call()
        assert answer.exit_code == 1
        assert answer.output.splitlines()[0].startswith("FAILED precision of identical sets")
        assert answer.output.splitlines()[-1].startswith("1 of 4 checks FAILED, in ")

    def test_json_is_the_findings_and_nothing_else(self, call):
        answer = json.loads(call("--json").output)
        assert answer["failed"] == 0
        assert answer["findings"][1] == {"name": "recall of identical sets", "state": "ok", "figure": "1",
                                         "bound": "1 within 1e-09", "value": pytest.approx(1)}
        assert answer["machine"]["torch"] == version("torch")

    @pytest.mark.parametrize(("given", "sentence"), [
        ("inception", "write it as NAME=FILE"), ("inception=none.pth", "there is no file none.pth"),
        ("inceptoin=pyproject.toml", "'inceptoin'. Did you mean 'inception'?"),
        ("classifier=pyproject.toml", "classifier takes no weights file")])
    def test_weights_that_cannot_be_are_refused(self, call, given, sentence):
        answer = call("--extractor-weights", given)
        assert answer.exit_code != 0
        assert sentence in str(answer.exception)
